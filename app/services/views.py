"""What the pages show, read from the tables: satisfies :class:`web.ports.Views`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlmodel import Session, col, func, select
from sqlmodel.sql.expression import Select

from app.services import interval_view, participant_view, proofs, transparency
from app.services.checkpoints import CheckpointError, consistency_proof, public_keys
from app.services.house import House
from app.services.live import LiveBoard
from app.services.notices import notices
from app.services.registry.managed import ManagedPeople
from app.services.summary import corrected, energies, savings
from app.store import people, registry, tariffs
from app.tables import (
    CorrectionRow,
    IntervalRow,
    MeteringPointRow,
    SlotRow,
)
from ledger_client import verify
from market.tariff import Tariff
from metering.interval import Interval
from web.ports import (
    District,
    FlowsNow,
    IntervalPage,
    IntervalSummary,
    NotFoundError,
    ParticipantPage,
    PointNow,
    Role,
    VerdictPage,
    VerdictStep,
    Viewer,
)
from web.ports.transparency import TransparencyPage

_LIST = 12


class DatabaseViews:
    """The views of one district.

    ``managed`` are the participants whose pages a manager opens, and who follows at their points.
    """

    def __init__(
        self,
        house: House,
        board: LiveBoard,
        managed: frozenset[str],
        clock_speed: str,
        idle_devices: Sequence[str],
    ) -> None:
        self._house = house
        self._board = board
        self.managed = ManagedPeople(house, managed)
        self._clock_speed = clock_speed
        self._idle = idle_devices

    def district(self, viewer: Viewer) -> District:
        """Return the live page; the grid operator gets no prices and no savings."""
        with self._house.database.read() as session:
            row = people.district(session)
            tariff = _tariff_now(self._house, session)
            energy = energies(session)
            retail = tariff.energy + tariff.grid_fee + tariff.levy + tariff.tax
            all_in = retail.micro_per_kwh * (1_000_000 + tariff.vat_ppm) // 1_000_000
            shown = summaries(session, None, _LIST, viewer)
            return District(
                name=row.name,
                zone=row.zone,
                clock_ms=self._house.clock.now_ms(),
                clock_simulated=self._house.clock.simulated,
                clock_speed=self._clock_speed,
                flows=flows(self._powers(session)),
                points=self._points(session, viewer),
                intervals=shown,
                notices=notices(session, self._watched(session, viewer)),
                retail_micro_per_kwh=0 if _blind(viewer) else all_in,
                feed_in_micro_per_kwh=0 if _blind(viewer) else tariff.feed_in.micro_per_kwh,
                local_all_in_micro_per_kwh=_local_all_in(shown, tariff),
                local_share_ppm=energy.traded_wh * 1_000_000 // energy.import_wh
                if energy.import_wh
                else None,
                saving_micro=0 if _blind(viewer) else sum(savings(session).values()),
                idle_devices=self._idle,
                mode=self._house.settings.mode,
            )

    def participants(self, viewer: Viewer) -> Sequence[tuple[str, str]]:
        """Return (id, name) of the participants whose pages the viewer may open."""
        own = self._own(viewer)
        with self._house.database.read() as session:
            rows = people.participants(session).values()
            return [(row.id, row.name) for row in rows if row.id in own]

    def participant(self, viewer: Viewer, participant: str) -> ParticipantPage:
        """Return one participant's page, if it is the viewer's to see."""
        if participant not in self._own(viewer):
            raise NotFoundError(f"there is no participant {participant!r} among yours")
        with self._house.database.read() as session:
            return participant_view.page(self._house, session, participant)

    def intervals(
        self, viewer: Viewer, before: str | None, limit: int
    ) -> Sequence[IntervalSummary]:
        """Return intervals before a key, newest first."""
        with self._house.database.read() as session:
            return summaries(session, before, limit, viewer)

    def interval(self, viewer: Viewer, key: str) -> IntervalPage:
        """Return one interval as far as the viewer may see it."""
        with self._house.database.read() as session:
            row = session.get(IntervalRow, key)
            if row is None:
                raise NotFoundError(f"there is no interval {key!r}")
            summary = _summary(row, _slot_sums(session, [key]).get(key), viewer)
            return interval_view.page(
                self._house, session, row, summary, self._own(viewer), hide_prices=_blind(viewer)
            )

    def proof_file(self, viewer: Viewer, key: str, participant: str) -> bytes:
        """Return the proof file of one participant and interval."""
        if participant not in self._own(viewer):
            raise NotFoundError(f"there is no participant {participant!r} among yours")
        try:
            return proofs.settlement_proof(self._house, key, participant)
        except proofs.ProofError as error:
            raise NotFoundError(str(error)) from error

    def keys_file(self) -> bytes:
        """Return the district's public KEYS file."""
        return public_keys(self._house)

    def verify(self, proof: bytes) -> VerdictPage:
        """Judge a proof file with the district's own KEYS."""
        verdict = verify.verify_bytes(proof, self.keys_file())
        steps = [VerdictStep(step.name, step.ok, step.text) for step in verdict.steps]
        return VerdictPage(verdict.code, steps, verdict.remarks)

    def transparency(self, before: int | None, limit: int) -> TransparencyPage:
        """Return the log's checkpoints and the district's keys: for everybody."""
        return transparency.page(self._house, before, limit)

    def consistency_file(self, old: int, new: int) -> bytes:
        """Return the proof that the log only grew between two checkpoints."""
        try:
            return consistency_proof(self._house, old, new)
        except CheckpointError as error:
            raise NotFoundError(str(error)) from error

    def revision(self) -> int:
        """Return the district clock's second: the live values change with it."""
        return self._house.clock.now_ms() // 1000

    def _own(self, viewer: Viewer) -> frozenset[str]:
        if viewer.role is Role.MANAGER:
            return frozenset(self.managed)
        return frozenset({viewer.participant}) if viewer.participant else frozenset()

    def _watched(self, session: Session, viewer: Viewer) -> Sequence[registry.Stay] | None:
        """Return the stays whose notices concern the viewer: a prosumer's own, else all."""
        if viewer.role is not Role.PROSUMER:
            return None
        return registry.stays(session, self._own(viewer))

    def _powers(self, session: Session) -> Mapping[str, int]:
        """Return the power in W of every point that settles, as heard of now."""
        powers, alone = self._board.powers(self._house.clock.now_ms()), registry.alone(session)
        return {point: power_w for point, power_w in powers.items() if point not in alone}

    def _points(self, session: Session, viewer: Viewer) -> list[PointNow]:
        """Return every meter; what other people's meters show is private, but to the operator."""
        board = self._board.values()
        powers = self._board.powers(self._house.clock.now_ms())
        own = self._own(viewer)

        def private(point: MeteringPointRow) -> bool:
            return viewer.role is not Role.OPERATOR and point.participant not in own

        return [
            PointNow(
                point=point.gsrn,
                name=point.name,
                kind=point.kind,
                power_w=None if private(point) else powers.get(point.gsrn),
                at_ms=board[point.gsrn].at_ms if point.gsrn in board else None,
                online=point.gsrn in powers,
                private=private(point),
            )
            for point in people.points(session).values()
        ]


def flows(powers: Mapping[str, int]) -> FlowsNow:
    """Return the district's flows: what is fed in and drawn at once is shared locally."""
    exporting = -sum(power for power in powers.values() if power < 0)
    importing = sum(power for power in powers.values() if power > 0)
    shared = min(exporting, importing)
    return FlowsNow(exporting, importing, shared, importing - shared, exporting - shared)


def summaries(
    session: Session, before: str | None, limit: int, viewer: Viewer
) -> list[IntervalSummary]:
    """Return intervals before a key (all when None), newest first."""
    query = select(IntervalRow).order_by(col(IntervalRow.key).desc()).limit(limit)
    if before is not None:
        query = query.where(IntervalRow.key < before)
    rows = session.exec(query).all()
    sums = _slot_sums(session, [row.key for row in rows])
    return [_summary(row, sums.get(row.key), viewer) for row in rows]


def _tariff_now(house: House, session: Session) -> Tariff:
    """Return what most metering points are on now."""
    now = Interval.containing_ms(house.clock.now_ms())
    found = tariffs.shelf(session, house.settings.tz, [now.key])
    return found.at(tariffs.most_common(session, now.key), now)


def _local_all_in(shown: Sequence[IntervalSummary], tariff: Tariff) -> int | None:
    """Return what a neighbour's kWh of the newest priced interval costs its buyer, with VAT."""
    prices = (summary.price_micro_per_kwh for summary in shown)
    price = next((price for price in prices if price is not None), None)
    if price is None:
        return None
    levies = tariff.levy + tariff.tax
    net = price + tariff.local_grid_fee.micro_per_kwh + levies.micro_per_kwh
    return net * (1_000_000 + tariff.vat_ppm) // 1_000_000


def _blind(viewer: Viewer) -> bool:
    """The grid operator sees energy, never prices or balances."""
    return viewer.role is Role.OPERATOR


class _Sums(NamedTuple):
    """An interval's energies as now known, and how many points' slots were not measured at once."""

    import_wh: int = 0
    export_wh: int = 0
    estimated: int = 0
    corrected: int = 0


def _slot_sums(session: Session, keys: Sequence[str]) -> Mapping[str, _Sums]:
    """Return the sums over the points of each interval."""
    now_known = select(
        SlotRow.interval,
        func.sum(func.coalesce(CorrectionRow.import_wh, SlotRow.import_wh)),
        func.sum(func.coalesce(CorrectionRow.export_wh, SlotRow.export_wh)),
    )
    gaps = select(
        SlotRow.interval,
        func.count().filter(col(SlotRow.estimated), col(CorrectionRow.interval).is_(None)),
        func.count(col(CorrectionRow.interval)),
    )

    def of_keys(query: Select[str, int, int]) -> Mapping[str, tuple[int, int]]:
        joined = query.outerjoin(CorrectionRow, corrected())
        theirs = joined.where(col(SlotRow.interval).in_(keys), registry.settling(SlotRow.point))
        chosen = theirs.group_by(SlotRow.interval)
        return {key: (int(one), int(other)) for key, one, other in session.exec(chosen)}

    unmeasured = of_keys(gaps)
    return {key: _Sums(*sums, *unmeasured[key]) for key, sums in of_keys(now_known).items()}


def _summary(row: IntervalRow, sums: _Sums | None, viewer: Viewer) -> IntervalSummary:
    sums = sums or _Sums()
    return IntervalSummary(
        key=Interval.parse(row.key).key,
        state=row.state,
        payment=row.payment,
        anchor=row.anchor,
        price_micro_per_kwh=None if _blind(viewer) else row.price_micro_per_kwh,
        traded_wh=row.traded_wh,
        import_wh=sums.import_wh,
        export_wh=sums.export_wh,
        estimated_points=sums.estimated,
        corrected_points=sums.corrected,
    )
