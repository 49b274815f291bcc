"""Who may sign for a metering point: enrolments, each with its place in the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from app.audit.monthfile import SlotRecord
from ledger_client.verify import (
    ENROL_PREFIX,
    READING_PREFIX,
    ROTATE_PREFIX,
    ClaimError,
    EnrolEntry,
    Enrolment,
    Keys,
    LogEntry,
    Reading,
    RosterEntry,
    RotateEntry,
    SignedReading,
    UnjudgedError,
    enrolment_kind,
    entry_bytes,
    in_tree,
    key_is_sound,
    require,
    signature_holds,
)

_QUARTER: Final = timedelta(minutes=15)


class Meters:
    """Enrolments by their place in the log, and by key."""

    def __init__(
        self,
        entries: Iterable[LogEntry],
        district: str,
        tree: tuple[int, bytes],
        keys: Keys | None,
    ) -> None:
        """Check enrolments against a log of ``tree`` (size, root), and with KEYS whose they are.

        Raises:
            RefusedError: one is not in the log, of another district, or not signed by meter and
                registry; or a key has two.
        """
        self._district, self._keys = district, keys
        self._by_place: dict[int, Enrolment] = {}
        self._by_key: dict[bytes, Enrolment] = {}
        for item in entries:
            kind = enrolment_kind(item.entry)
            held = in_tree(entry_bytes(kind, item.entry), item.index, tree[0], item.path, tree[1])
            require(held, f"the enrolment at {item.index} is not in the log of the note")
            if kind == "rotate":
                found = self._rotation(RotateEntry.read(item.entry))
            else:
                found = self._enrolment(EnrolEntry.read(item.entry))
            require(found.key not in self._by_key, f"the key of {found.point} is enrolled twice")
            self._by_place[item.index] = self._by_key[found.key] = found

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_key)

    def _rotation(self, entry: RotateEntry) -> Enrolment:
        """Return a new key's enrolment that the old key, enrolled for the same meter, signed."""
        found = self._enrolment(entry)
        whose, old = f"the rotation of meter {found.serial}", self._by_key.get(entry.old)
        if old is None:
            raise ClaimError(f"{whose} names an old key that was not enrolled before")
        same = (old.point, old.serial, old.epoch) == (found.point, found.serial, found.epoch)
        require(same, f"{whose} changes more than the key")
        message = ROTATE_PREFIX + entry.enrolment.encode()
        handed = signature_holds(entry.old, message, entry.handover)
        require(handed, f"{whose} is not signed by the old key")
        return found

    def _enrolment(self, entry: EnrolEntry | RotateEntry) -> Enrolment:
        found, message = Enrolment.read(entry.enrolment), ENROL_PREFIX + entry.enrolment.encode()
        whose = f"the enrolment of meter {found.serial}"
        require(found.district == self._district, f"{whose} is of {found.district}")
        require(key_is_sound(found.key), f"{whose} is of no sound Ed25519 key")
        owned = signature_holds(found.key, message, entry.possession)
        require(owned, f"{whose} is not signed by its own key")
        if self._keys is not None:
            pinned = self._keys
            others = (*pinned.log, *pinned.receipts, *pinned.registry)
            require(found.key not in others, f"{whose} is of one of the district's own keys")
            granted = any(signature_holds(k, message, entry.registry) for k in pinned.registry)
            require(granted, f"{whose} is not signed by a pinned registry key")
        return found

    def of(self, slot: SlotRecord, interval: str) -> Enrolment:
        """Return whose readings count for a slot.

        Raises:
            RefusedError: the enrolment that it names is of another point, or not valid yet.
            UnjudgedError: the file does not hold it.
        """
        found = self._by_place.get(slot.enrolment)
        if found is None:
            raise UnjudgedError(
                f"it lacks the enrolment of {slot.point}, entry {slot.enrolment} of the log: "
                "export the month again once the interval is sealed"
            )
        require(found.point == slot.point, f"the enrolment of {slot.point} is of another point")
        require(found.valid_from <= interval, f"the enrolment of {slot.point} is not valid yet")
        return found

    def roster(self, slots: Sequence[SlotRecord]) -> list[RosterEntry]:
        """Return what the roster's leaves say, of slots in its order."""
        return [
            RosterEntry(
                enrolment=slot.enrolment,
                epoch=one.epoch,
                key=one.key,
                point=one.point,
                slot=number,
                valid_from=one.valid_from,
            )
            for number, slot in enumerate(slots)
            for one in (self._by_place[slot.enrolment],)
        ]

    def read(self, item: SignedReading) -> Reading:
        """Return a reading that the meter enrolled for its point signed.

        Raises:
            RefusedError: it did not, or the key is enrolled for nobody.
        """
        found = Reading.read(item.payload)
        where = f"the reading {found.seq} of {found.point}"
        one = self._by_key.get(found.key)
        if one is None:
            raise ClaimError(f"{where} is signed by a key that is not enrolled")
        says = (found.district, found.point, found.meter, found.epoch)
        due = (one.district, one.point, one.serial, one.epoch)
        require(says == due, f"{where} is not of the meter that is enrolled with its key")
        sound = signature_holds(found.key, READING_PREFIX + item.payload.encode(), item.signature)
        require(sound, f"{where}: its signature does not hold")
        return found

    def closes(self, reading: Reading, enrolled: Enrolment, interval: str) -> bool:
        """Tell whether a reading may close a slot: by the slot's key, or by the one after it."""
        after = datetime.fromisoformat(interval).astimezone(UTC) + _QUARTER
        begins = self._by_key[reading.key].valid_from == f"{after:%Y-%m-%dT%H:%M:%SZ}"
        return reading.key == enrolled.key or begins
