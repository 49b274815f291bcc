"""What is due by the day and by the highest peaks: standing charges and capacity fees of a month.

``docs/money.md``, "Statements". Each is one line per point, supplier, version of the tariff and
component, rounded once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from market import journal
from market.money import round_half_up
from market.statement_parts import CAPACITY, STANDING, Charge
from market.tariffs import (
    PEAKS,
    Component,
    Part,
    Payee,
    TariffVersion,
    daily_charge,
    prices_of,
    values_of,
)


@dataclass(frozen=True, slots=True)
class Day:
    """On which version of a tariff a point was on a local day, and with which supplier."""

    supplier: str
    version: TariffVersion


def charges(
    point: str, days: Mapping[str, Day], peaks_wh: Mapping[str, int], days_of_month: int
) -> list[Charge]:
    """Return the charges of one point and participant over the local days that were theirs.

    Args:
        point: its GSRN.
        days: what held on each local day (YYYY-MM-DD) that counts for the participant.
        peaks_wh: the most that it drew in one quarter-hour of a local day, in Wh.
        days_of_month: how many days the local month has.
    """
    spans: dict[tuple[str, str], list[str]] = defaultdict(list)
    versions: dict[str, TariffVersion] = {}
    for day, held in sorted(days.items()):
        digest = held.version.digest
        versions[digest] = held.version
        spans[held.supplier, digest].append(day)
    highest = sorted(peaks_wh.items(), key=lambda item: (-item[1], item[0]))[:PEAKS]
    found: list[Charge] = []
    for (supplier, digest), its_days in spans.items():
        version, span = versions[digest], (len(its_days), days_of_month)
        found += [
            _standing(point, supplier, version, component, span)
            for component in version.of(Part.STANDING)
        ]
        if highest:
            found += [
                _capacity(point, supplier, version, component, span, tuple(highest))
                for component in version.of(Part.CAPACITY)
            ]
    return [charge for charge in found if charge.price_micro]


def _standing(
    point: str, supplier: str, version: TariffVersion, component: Component, span: tuple[int, int]
) -> Charge:
    return Charge(
        point=point,
        supplier=supplier,
        kind=STANDING,
        name=component.name,
        vat_ppm=version.vat_ppm,
        micro=-daily_charge(component, span[0]).micro,
        price_micro=_price(component),
        days=span[0],
        days_of_month=span[1],
        account=_account(component, supplier),
    )


def _capacity(
    point: str,
    supplier: str,
    version: TariffVersion,
    component: Component,
    span: tuple[int, int],
    highest: tuple[tuple[str, int], ...],
) -> Charge:
    """Return price per kW x the mean of the highest daily peaks x days / days of the month."""
    total_w = sum(4 * wh for _, wh in highest)  # Wh in a quarter of an hour
    price, (days, days_of_month) = _price(component), span
    owed = round_half_up(price * total_w * days, 1000 * len(highest) * days_of_month)
    return Charge(
        point=point,
        supplier=supplier,
        kind=CAPACITY,
        name=component.name,
        vat_ppm=version.vat_ppm,
        micro=-owed,
        price_micro=price,
        days=days,
        days_of_month=days_of_month,
        account=_account(component, supplier),
        peaks_w=tuple((day, 4 * wh) for day, wh in highest),
    )


def _price(component: Component) -> int:
    return prices_of(values_of(component.rate)[0])[0].micro_per_kwh


def _account(component: Component, supplier: str) -> str:
    if component.payee is Payee.GRID:
        return journal.GRID_OPERATOR
    return journal.supplier(supplier)
