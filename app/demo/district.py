"""Reads ``lindenhof.toml``: who lives there, what stands behind each meter, and the story."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import cache
from importlib import resources

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.services.founding import Founding, NewParticipant, NewPoint
from market.tariff_text import written
from market.tariffs import TariffVersion
from metering.interval import Interval, to_ms
from metering.loadcurves import NetCurve, Part, fleet, load, roof, yearly_load
from metering.profiles import load_profile
from metering.simulator import Outage, SimulatedMeter

FIRST_UNIT = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Tariff(_Strict):
    id: str
    component: list[dict[str, object]]


class _Part(_Strict):
    profile: str
    yearly_kwh: int | None = None
    rated_w: int | None = None
    cars: int | None = None
    peak_w: int | None = None

    def parts(self) -> list[Part]:
        """Return the load, the fleet or the roof that this line means."""
        if self.yearly_kwh is not None:
            return [yearly_load(self.profile, annual_kwh=self.yearly_kwh)]
        if self.peak_w is not None:
            return [roof(self.profile, peak_w=self.peak_w)]
        if self.cars is not None:
            return fleet(self.profile, rated_w=self.rated_w or 0, cars=self.cars)
        return [load(self.profile, rated_w=self.rated_w or 0)]


class _Meter(_Strict):
    profile: str
    serial: str


class _Participant(_Strict):
    id: str
    name: str
    point: str
    kind: str
    max_power_w: int
    top_up_micro: int
    building: str | None = None
    green: bool = False
    address: str
    tax_number: str | None = None
    vat_liable: bool = False
    tariff: str = ""
    supplier: str = ""  # the one who balances it has the same id
    meter: _Meter
    parts: list[_Part]


class _Outage(_Strict):
    serial: str
    start: AwareDatetime = Field(alias="from")
    to: AwareDatetime


class Lindenhof(_Strict):
    """The demo district as its file says."""

    start: AwareDatetime
    feeder: str
    treasury_units: int
    manager: list[str]
    prosumer: str
    idle: list[str]
    vat_percent: int
    component: list[dict[str, object]]
    tariff: list[_Tariff]
    suppliers: dict[str, str]
    balance_parties: dict[str, str]
    feeders: dict[str, str]
    outage: list[_Outage]
    participant: list[_Participant]

    @property
    def first_interval(self) -> Interval:
        """The interval with which the story starts."""
        return Interval.containing(self.start)

    def founding(self, seed: int) -> Founding:
        """Return what the district begins with."""
        return Founding(
            tariffs=self.tariffs(),
            participants=self.participants(),
            first=self.first_interval,
            simulated=True,
            seed=seed,
            suppliers=self.suppliers,
            balance_parties=self.balance_parties,
            feeders=self.feeders,
        )

    def tariffs(self) -> dict[str, TariffVersion]:
        """Return the first version of each tariff: its own components, then those of all."""
        return {
            each.id: written(
                {
                    "vat_percent": self.vat_percent,
                    "component": [*each.component, *self.component],
                }
            )
            for each in self.tariff
        }

    def participants(self) -> list[NewParticipant]:
        """Return everybody with their metering point and their first top-up."""
        return [
            NewParticipant(
                id=person.id,
                name=person.name,
                top_up_micro=person.top_up_micro,
                postal_address=person.address,
                tax_number=person.tax_number,
                vat_liable=person.vat_liable,
                points=(
                    NewPoint(
                        gsrn=person.point,
                        name=person.name,
                        kind=person.kind,
                        feeder=self.feeder,
                        max_power_w=person.max_power_w,
                        serial=person.meter.serial,
                        profile=person.meter.profile,
                        building=person.building,
                        green=person.green,
                        tariff=person.tariff,
                        supplier=person.supplier,
                        balance_party=person.supplier,
                    ),
                ),
            )
            for person in self.participant
        ]

    def units(self) -> dict[str, int]:
        """Return each meter's Modbus unit id by its serial."""
        return {person.meter.serial: n for n, person in enumerate(self.participant, FIRST_UNIT)}

    def meters(self, now_ms: Callable[[], int], seed: int) -> list[SimulatedMeter]:
        """Return the simulated meters in the participants' order.

        Seed 1 takes the profiles as they are; each further one, those of a week later.
        """
        return [
            SimulatedMeter(
                profile=load_profile(person.meter.profile),
                unit=self.units()[person.meter.serial],
                serial=person.meter.serial,
                curve=NetCurve(
                    [_later(part, seed - 1) for line in person.parts for part in line.parts()],
                    serial=person.meter.serial,
                ),
                now_ms=now_ms,
                outages=[
                    Outage(to_ms(outage.start), to_ms(outage.to))
                    for outage in self.outage
                    if outage.serial == person.meter.serial
                ],
            )
            for person in self.participant
        ]


def _later(part: Part, weeks: int) -> Part:
    return replace(part, weeks_later=part.weeks_later + weeks)


@cache
def lindenhof() -> Lindenhof:
    """Return the demo district."""
    text = resources.files("app.demo").joinpath("lindenhof.toml").read_text("utf-8")
    return Lindenhof.model_validate(tomllib.loads(text, parse_float=Decimal))
