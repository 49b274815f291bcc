"""Issues an interval's certificates at settlement, and again whenever a correction changes it.

Both are one step: what shall stand is worked out from the readings known now and compared with
what stands, so that doing it twice changes nothing and the order of corrections does not matter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlmodel import Session

from app.services.certificates import storages
from app.services.certificates.entries import Entries
from app.services.certificates.scene import Scene, load
from app.services.house import House
from app.store import certificates, intervals
from app.tables import CertificateDebtRow, CertifiedRow, DeviceRow
from market.certificate import Lot, Plan, Status, allot, expiry_of, plan
from market.certificate_bundle import Bundle, Change, take_back
from metering.interval import Interval


def issue(house: House, session: Session, key: str, point: str | None = None) -> None:
    """Bring a settled interval's certificates to what its readings give now.

    ``point``: only what a correction of this metering point can have changed.
    """
    session.flush()
    devices = concerned(certificates.devices_at(session, key), point)
    if not devices:
        return
    ids = frozenset(device.id for device in devices)
    standing = [
        each for each in certificates.of_interval(session, key, lock=True) if each.device in ids
    ]
    entries = Entries(house, session)
    scene = load(session, key, devices)
    discharged = storages.discharge(session, entries, scene)
    borders = scene.borders(discharged)
    wanted = allot(borders, scene.charging())
    issuer = _Issuer(session, entries, scene, final=intervals.get(session, key).state == "final")
    for device in devices:
        own = {lot: wh for lot, wh in wanted.items() if lot.device == device.id}
        issuer.bring(device, own, [each for each in standing if each.device == device.id])
    entries.write()
    session.flush()
    storages.record(session, scene, discharged)
    _release(house, session, devices)


def concerned(devices: Sequence[DeviceRow], point: str | None) -> Sequence[DeviceRow]:
    """Return the devices that a reading of ``point`` has to do with (None: all).

    Where there are storages, that is all of them: what is charged may come from any.
    """
    if point is None:
        return devices
    behind = {device.point for device in devices if point in (device.point, device.meter_point)}
    rooms = {device.point for device in devices if device.kind == "storage"}
    if rooms and behind:
        return devices
    return [device for device in devices if device.point in behind]


def _release(house: House, session: Session, devices: Iterable[DeviceRow]) -> None:
    """Issue what was deducted for a debt that there is not any more, the newest first."""
    owing = certificates.debts(session)
    for device in devices:
        row = owing.get(device.id)
        while row is not None and row.wh < 0:
            over_wh = row.wh
            key = certificates.last_deducted(session, device.id)
            if key is not None:
                issue(house, session, key, device.point)
                session.refresh(row)
            if row.wh == over_wh:
                break  # nothing was deducted in an interval in which the device still counts


class _Issuer:
    """Brings one device after the other to what it shall be."""

    def __init__(self, session: Session, entries: Entries, scene: Scene, *, final: bool) -> None:
        self._session = session
        self._entries = entries
        self._scene = scene
        self._final = final
        self._rests_on = certificates.certified(session, scene.key)
        self._debts = certificates.debts(session)

    def bring(self, device: DeviceRow, wanted: Mapping[Lot, int], stands: Sequence[Bundle]) -> None:
        """Issue what is missing of a device's certificates, and withdraw what is too much."""
        row = self._rests_on.get(device.id)
        if row is None:
            if not wanted:
                return
            owner = self._scene.owners[device.id]
            row = CertifiedRow(
                interval=self._scene.key,
                device_id=device.id,
                account_id=owner,
                measured_wh=0,
                self_used_wh=0,
            )
        used_wh = sum(wh for lot, wh in wanted.items() if lot.status is Status.CLAIMED)
        claim_wh = max(0, used_wh - row.self_used_wh)
        planned, open_ = self._plan(row, wanted, stands)
        self._write_row(row, planned, sum(wanted.values()), used_wh)
        pieces = self._adjust(row.account_id, planned.open, open_)
        if self._final:
            pieces = _claim_first(row.account_id, pieces, claim_wh)
        if pieces:
            row.issues += 1
            self._issue(device, row, pieces)
        self._session.add(row)

    def _plan(
        self, row: CertifiedRow, wanted: Mapping[Lot, int], stands: Sequence[Bundle]
    ) -> tuple[Plan, Mapping[Lot, Sequence[Bundle]]]:
        """Return what shall be open, and what is, by lot.

        Once an interval is final, its certificates may be anywhere: only their number counts.
        """
        owner = row.account_id
        open_: dict[Lot, list[Bundle]] = defaultdict(list)
        if self._final:
            lot = Lot(row.device_id, owner, Status.ACTIVE, "")
            open_[lot] = active = [each for each in stands if each.status is Status.ACTIVE]
            held_wh = row.measured_wh + row.shortfall_wh - row.deducted_wh
            fixed = {lot: held_wh - sum(each.wh for each in active)}
            wanted = {lot: sum(wanted.values())}
        else:
            counted: Counter[Lot] = Counter()
            for each in stands:
                if each.status in (Status.RESERVED, Status.LOCKED):
                    open_[lot_of(each)].append(each)
                elif each.status in (Status.CLAIMED, Status.CANCELLED):
                    counted[lot_of(each)] += each.wh
            fixed = dict(counted)
        return plan(owner, wanted, fixed, self._owed_elsewhere(row)), open_

    def _owed_elsewhere(self, row: CertifiedRow) -> int:
        debt = self._debts.get(row.device_id)
        return (debt.wh if debt else 0) - row.shortfall_wh + row.deducted_wh

    def _write_row(
        self, row: CertifiedRow, planned: Plan, measured_wh: int, self_used_wh: int
    ) -> None:
        """Write what the certificates rest on, and the device's debt."""
        debt_wh = self._owed_elsewhere(row) + planned.shortfall_wh - planned.deducted_wh
        row.shortfall_wh, row.deducted_wh = planned.shortfall_wh, planned.deducted_wh
        row.measured_wh = measured_wh
        row.self_used_wh = max(row.self_used_wh, self_used_wh)  # what was claimed stays claimed
        debt = self._debts.get(row.device_id)
        if debt is None and debt_wh:
            debt = self._debts[row.device_id] = CertificateDebtRow(device_id=row.device_id, wh=0)
        if debt is not None:
            debt.wh = debt_wh
            self._session.add(debt)

    def _adjust(
        self, owner: str, wanted: Mapping[Lot, int], open_: Mapping[Lot, Sequence[Bundle]]
    ) -> list[tuple[Lot, int]]:
        """Withdraw what is open beyond what shall be; return what is to be issued."""
        missing = []
        for lot in sorted({*wanted, *open_}):
            there = open_.get(lot, ())
            more_wh = wanted.get(lot, 0) - sum(each.wh for each in there)
            if more_wh > 0:
                missing.append((lot, more_wh))
            elif more_wh < 0:
                self._withdraw(owner, there, -more_wh)
        return missing

    def _withdraw(self, owner: str, there: Sequence[Bundle], wh: int) -> None:
        """Withdraw certificates, the owner's first, and what was passed on after them."""
        own = [each for each in there if each.account == owner]
        for group in (own, [each for each in there if each.account != owner]):
            part_wh = min(wh, sum(each.wh for each in group))
            wh -= part_wh
            for part, rest in take_back(group, part_wh):
                gone = replace(part, status=Status.WITHDRAWN)
                self._entries.change(Change(part, gone, rest))
                self._entries.tell("withdraw", part, part.account, None, "correction")
                self._count(owner, part, -part.wh)

    def _issue(
        self, device: DeviceRow, row: CertifiedRow, pieces: Sequence[tuple[Lot, int]]
    ) -> None:
        key, owner = self._scene.key, row.account_id
        first, total_wh = 1, sum(wh for _, wh in pieces)
        produced = Interval.parse(key).start.date()
        whole = Bundle(
            issuance=f"{device.id}/{key}/{row.issues}",
            device=device.id,
            interval=key,
            account=owner,
            status=Status.ACTIVE if self._final else Status.RESERVED,
            first=1,
            last=total_wh,
            expires=expiry_of(produced).isoformat(),
            is_storage=device.kind == "storage",
        )
        self._entries.tell("issue" if self._final else "reserve", whole, None, owner)
        for lot, wh in pieces:
            part = replace(
                whole,
                account=lot.account,
                status=lot.status,
                beneficiary=lot.beneficiary,
                first=first,
                last=first + wh - 1,
            )
            first += wh
            self._entries.add(part)
            self._tell(owner, part)
            self._count(owner, part, wh)

    def _tell(self, owner: str, part: Bundle) -> None:
        if part.account != owner:
            self._entries.tell("transfer", part, owner, part.account, "trade")
        if part.status is Status.CLAIMED:
            self._entries.tell("claim", part, owner, owner, "self-used")
            self._entries.claimed(part)
        elif part.status is Status.LOCKED:
            self._entries.tell("lock", part, part.account, part.account, part.beneficiary)

    def _count(self, owner: str, part: Bundle, wh: int) -> None:
        """Add to the sums what was issued (< 0: withdrawn) and what went along with a trade."""
        key = part.interval
        self._entries.count(owner, key, issued_wh=wh)
        if part.account != owner and part.status in (Status.RESERVED, Status.LOCKED):
            self._entries.count(owner, key, sent_wh=wh)
            self._entries.count(part.account, key, received_wh=wh)
        if part.status is Status.CLAIMED:
            self._entries.count(owner, key, self_used_wh=wh, matched_wh=wh)
        elif part.status is Status.RESERVED and part.beneficiary:
            self._entries.count(part.account, key, matched_wh=wh)


def lot_of(bundle: Bundle) -> Lot:
    """Return the lot to which a bundle belongs; what a storage used up was locked for it."""
    used_up = bundle.status is Status.CANCELLED
    status = Status.LOCKED if used_up else bundle.status
    return Lot(bundle.device, bundle.account, status, bundle.beneficiary)


def _claim_first(
    owner: str, pieces: Sequence[tuple[Lot, int]], self_used_wh: int
) -> list[tuple[Lot, int]]:
    """Split a late issue (one lot) into what turned out to be self-used and the rest."""
    found = []
    for lot, wh in pieces:
        claim_wh = min(wh, self_used_wh)
        parts = [(lot._replace(status=Status.CLAIMED, beneficiary=owner), claim_wh)]
        found += [(each, n) for each, n in [*parts, (lot, wh - claim_wh)] if n]
    return found
