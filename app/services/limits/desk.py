"""The page of standing limits: satisfies :class:`web.ports.limits.Limits`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlmodel import Session

from app.services.forecasts.prices import expected_price
from app.services.house import House
from app.services.limits import history, instructions
from app.services.typed import MICRO_OF_CENT, TypedError, scaled, written
from app.store import agents, people, registry, tariffs
from app.tables import InstructionRow, MeteringPointRow
from market.agents import (
    Instruction,
    InstructionError,
    Limit,
    Strategy,
    all_in_of,
    bid_limit,
    check,
    offer_limit,
)
from market.money import Price
from market.place import Level, Product, Wish
from market.tariff import Tariff
from web.ports import RefusedError
from web.ports.limits import (
    AskedLimits,
    LimitsPage,
    LimitsView,
    LimitView,
    PointLimits,
    VersionLine,
)

_LEVELS: Final = {level.label: level for level in Level}


@contextmanager
def _on_the_page() -> Iterator[None]:
    try:
        yield
    except InstructionError as error:
        raise RefusedError(str(error), error.field) from error


class LimitsDesk:
    """Standing limits of one district, for their page."""

    def __init__(self, house: House) -> None:
        self._house = house

    def limits(self, participant: str) -> LimitsPage:
        """Return a participant's page."""
        house, key = self._house, instructions.next_interval(self._house).key
        with house.database.read() as session:
            expected = expected_price(session, key)
            rows, own = people.points(session), registry.of(session, participant, key)
            return LimitsPage(
                participant=participant,
                name=people.participants(session)[participant].name,
                zone=people.district(session).zone,
                mode=house.settings.mode,
                rule=house.settings.rule,
                tick_micro_per_kwh=house.settings.price_tick_micro_per_kwh,
                expected_micro_per_kwh=expected.micro_per_kwh if expected is not None else None,
                next_key=key,
                points=[
                    self._point(session, held, rows[point], key, expected)
                    for point, held in own.items()
                ],
            )

    def preview(self, participant: str, point: str, asked: AskedLimits) -> LimitsView:
        """Say what limits would come out, and what they would have let through yesterday."""
        key = instructions.next_interval(self._house).key
        with _on_the_page(), self._house.database.read() as session:
            held = registry.of(session, participant, key).get(point)
            if held is None:
                raise InstructionError("there is no such metering point among yours", "point")
            instruction = to_instruction(asked)
            check(instruction, held.place, instructions.tick(self._house))
            return self._view(session, held, instruction, expected_price(session, key))

    def enter(self, participant: str, point: str, asked: AskedLimits, role: str) -> bool:
        """Enter limits; return whether they are others than those that hold already."""
        with _on_the_page():
            instruction = to_instruction(asked)
            return (
                instructions.enter(self._house, participant, point, instruction, role) is not None
            )

    def repeat(self, participant: str, point: str, version: int, role: str) -> bool:
        """Enter an earlier version once more; return whether that changes anything."""
        with _on_the_page():
            return instructions.repeat(self._house, participant, point, version, role) is not None

    def _point(
        self,
        session: Session,
        held: registry.Standing,
        row: MeteringPointRow,
        key: str,
        expected: Price | None,
    ) -> PointLimits:
        tariff = self._tariff(session, row.gsrn)
        standing = agents.holding(session, key)[row.gsrn]
        return PointLimits(
            point=row.gsrn,
            name=row.name,
            place=str(held.place),
            has_building=bool(held.building),
            green=bool(row.green),
            ceiling_micro_per_kwh=tariff.ceiling.micro_per_kwh,
            floor_micro_per_kwh=tariff.floor.micro_per_kwh,
            retail_all_in_micro_per_kwh=all_in_of(tariff.ceiling, tariff).micro_per_kwh,
            now=self._view(session, held, standing.standing.instruction, expected),
            versions=_versions(agents.versions(session, row.gsrn, key), standing.version, key),
        )

    def _tariff(self, session: Session, point: str) -> Tariff:
        """Return what a point is on in the next interval."""
        key = instructions.next_interval(self._house).key
        return tariffs.holding(session, key, self._house.settings.tz)[point]

    def _view(
        self,
        session: Session,
        held: registry.Standing,
        instruction: Instruction,
        expected: Price | None,
    ) -> LimitsView:
        tariff = self._tariff(session, held.point)
        given = (instruction, tariff, expected, instructions.tick(self._house))
        bid, offer = bid_limit(*given), offer_limit(*given)
        premium = instruction.wish.premium
        return LimitsView(
            asked=to_asked(instruction),
            share_ppm=instruction.share_ppm,
            premium_micro_per_kwh=premium.micro_per_kwh,
            buy=_limit_view(bid, tariff),
            buy_green=_limit_view(bid, tariff, premium) if premium != Price(0) else None,
            sell=_limit_view(offer, None),
            outcomes=history.outcomes(session, held, tariff, bid.net, offer.net, premium),
        )


def to_instruction(asked: AskedLimits) -> Instruction:
    """Return what a form asks for; what its choice does not take is left aside.

    Raises:
        InstructionError: a number that is none, or a choice that there is not.
    """
    try:
        strategy, level = Strategy(asked.strategy), _LEVELS[asked.level]
    except (ValueError, KeyError) as error:
        raise InstructionError(f"{error} is no choice of this form", "strategy") from error
    own = strategy is Strategy.OWN_LIMITS
    return Instruction(
        strategy=strategy,
        share_ppm=_share_ppm(asked.share) if strategy.takes_share else 0,
        buy_all_in=_price(asked.buy, "buy") if own else None,
        sell=_price(asked.sell, "sell") if own else None,
        wish=_wish(asked, level),
    )


def to_asked(instruction: Instruction) -> AskedLimits:
    """Return an instruction as a form shows it."""
    wish = instruction.wish
    green = "only" if wish.only else "premium" if wish.product is Product.GREEN else "any"
    share = written(instruction.share_ppm, MICRO_OF_CENT)
    return AskedLimits(
        strategy=instruction.strategy.value,
        share=share if instruction.strategy.takes_share else "",
        buy=_price_text(instruction.buy_all_in),
        sell=_price_text(instruction.sell),
        green=green,
        premium=_price_text(wish.premium) if green == "premium" else "",
        local_first="yes" if wish.local_first else "",
        level=wish.level.label,
    )


def _wish(asked: AskedLimits, level: Level) -> Wish:
    local_first = asked.local_first == "yes"
    if asked.green == "any":
        return Wish(local_first=local_first, level=level)
    if asked.green == "only":
        return Wish(Product.GREEN, only=True, local_first=local_first, level=level)
    if asked.green != "premium":
        raise InstructionError(f"{asked.green!r} is no choice of this form", "green")
    premium = _price(asked.premium, "premium")
    if premium is None or premium < Price(0):
        raise InstructionError("say what green energy is worth to you on top: 0 or more", "premium")
    return Wish(Product.GREEN, premium, local_first=local_first, level=level)


def _price(text: str, field: str) -> Price | None:
    """Return ct/kWh as typed; None for nothing."""
    return Price(_number(text, field, "24.5 ct/kWh")) if text.strip() else None


def _share_ppm(text: str) -> int:
    if not text.strip():
        raise InstructionError("say how many per cent, such as 20", "share")
    return _number(text, "share", "20 %")


def _number(text: str, field: str, example: str) -> int:
    """Return micro-euros of ct, or ppm of per cent."""
    try:
        return scaled(text, MICRO_OF_CENT, example)
    except TypedError as error:
        raise InstructionError(str(error), field) from error


def _price_text(price: Price | None) -> str:
    return "" if price is None else written(price.micro_per_kwh, MICRO_OF_CENT)


def _limit_view(limit: Limit, tariff: Tariff | None, premium: Price = Price(0)) -> LimitView:
    """Return a limit's view; of a bid (with its tariff) also what it comes to all-in."""
    net = limit.net + premium
    return LimitView(
        net_micro_per_kwh=net.micro_per_kwh,
        wanted_micro_per_kwh=limit.wanted.micro_per_kwh,
        all_in_micro_per_kwh=all_in_of(net, tariff).micro_per_kwh if tariff else None,
        reason=limit.reason.value,
        capped=limit.capped,
    )


def _versions(rows: Sequence[InstructionRow], holds: int | None, key: str) -> list[VersionLine]:
    """Return the versions, newest first, and last the default."""
    current = holds or 0

    def state(row: InstructionRow) -> str:
        if row.valid_from > key:
            return "planned"
        return "holds" if row.version == current else "past"

    lines = [
        VersionLine(
            version=row.version,
            valid_from=row.valid_from,
            at_ms=row.known_ms,
            entered_by=row.entered_by,
            repeats=row.repeats,
            asked=to_asked(agents.to_instruction(row)),
            state=state(row),
        )
        for row in rows
    ]
    default = to_asked(Instruction())
    return [*lines, VersionLine(0, "", None, "", None, default, "past" if current else "holds")]
