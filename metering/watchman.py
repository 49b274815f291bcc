"""Stands between a meter and its signature: judges each poll, remembers, and tells of what is odd.

One :class:`Watchman` per meter. It keeps the memory that :func:`metering.judge.judge` asks for, so
that a power loss costs nothing: all that has to be known is the last good reading in the spool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, runtime_checkable

from metering.event import MAX_TEXT, Event, EventSink, Finding, Kind
from metering.judge import Judgement, Memory, Nature, Sight, judge
from metering.lines import errors
from metering.profiles import Profile
from metering.quantities import Power, RegisterTotal
from metering.reading import Clock, Measurement, Reading
from metering.rotation import signer_at
from metering.spool import Signer

SERIAL_EVERY_MS: Final = 600_000
_LAST_POLLS: Final = 12
_CLASH_AT: Final = 4
_TROUBLES: Final[Mapping[type[errors.MeterError], Kind]] = {
    errors.MeterTimeoutError: Kind.TIME_OUT,
    errors.MeterUnreachableError: Kind.TIME_OUT,
    errors.MeterOfflineError: Kind.OFFLINE,
    errors.MeterBusyError: Kind.BUSY,
    errors.ReplyError: Kind.BAD_REPLY,
}


class Shown(Protocol):
    """What a poll brought (``metering.registers.MeterValues`` fits)."""

    @property
    def import_total(self) -> RegisterTotal | None:
        """Import counter, if there is one."""

    @property
    def export_total(self) -> RegisterTotal | None:
        """Export counter, if there is one."""

    @property
    def power(self) -> Power | None:
        """Active power, if shown."""

    @property
    def voltages_mv(self) -> tuple[int | None, int | None, int | None]:
        """Voltages of the phases."""

    @property
    def frequency_mhz(self) -> int | None:
        """The grid's frequency."""

    @property
    def resolution_wh(self) -> int:
        """Step of the coarser counter."""

    @property
    def raw_digest(self) -> bytes:
        """SHA-256 of all registers read."""

    @property
    def import_modulus_wh(self) -> int | None:
        """Where the import counter starts again at 0, if that is known."""

    @property
    def export_modulus_wh(self) -> int | None:
        """Where the export counter does."""


class Polled(Protocol):
    """One answer of a meter, with the request's window in UTC ms."""

    @property
    def asked_ms(self) -> int:
        """When the request went out."""

    @property
    def answered_ms(self) -> int:
        """When the reply was in."""

    @property
    def values(self) -> Shown:
        """What it showed."""

    @property
    def absent(self) -> tuple[str, ...]:
        """The profile's quantities for which this meter has no registers."""


@runtime_checkable
class ShowsSerial(Protocol):
    """A source that can read a meter's serial number, too."""

    async def serial(self, profile: Profile) -> str | None:
        """Return it; None where the meter's type shows none."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What to sign, and whether the meter is to be read once more first."""

    measurement: Measurement
    again: bool


@dataclass(slots=True)
class Watchman:
    """Judges one meter's polls; ``signer`` signs, in the epoch that holds now.

    Before the border at which ``signer`` begins, ``previous`` signs, if there is one.
    ``max_power_w`` is the most that can flow there (its fuse, or what its type can measure);
    ``None``: not known, so that neither spikes nor roll-overs can be told.
    """

    signer: Signer
    sink: EventSink
    max_power_w: int | None = None
    previous: Signer | None = None
    memory: Memory = field(default_factory=Memory)
    _failing: Kind | None = None
    _missed: int = 0
    _bad: deque[bool] = field(default_factory=lambda: deque(maxlen=_LAST_POLLS))
    _told_clash: bool = False
    _absent: frozenset[str] = frozenset()
    _look: bool = True
    _looked_ms: int = 0

    @classmethod
    def after(
        cls,
        signer: Signer,
        sink: EventSink,
        max_power_w: int | None,
        last: Reading | None,
        previous: Signer | None = None,
    ) -> Watchman:
        """Return one that goes on after ``last``, the last good reading that a key of it signed.

        That key's epoch is that of ``last`` where it lies beyond the enrolled one.
        """
        before = None if previous is None else _in_epoch_of(previous, last)
        return cls(_in_epoch_of(signer, last), sink, max_power_w, before, Memory.after(last))

    def signer_at(self, answered_ms: int) -> Signer:
        """Return who signs what was answered at a moment (UTC ms)."""
        if self.previous is None:
            return self.signer
        # Before all of its keys the first one signs, as it does where there is but one.
        begins = self.previous.enrolment.valid_from.start_ms
        return signer_at((self.previous, self.signer), max(answered_ms, begins))

    def wants_serial(self, now_ms: int) -> bool:
        """Tell whether the serial number is to be read with this poll."""
        return self._look or not 0 <= now_ms - self._looked_ms < SERIAL_EVERY_MS

    def judge(
        self, poll: Polled, clock: Clock, serial: str | None = None, *, second: bool = False
    ) -> Judged:
        """Judge one answer of the meter; ``serial`` is what it showed, if that was read."""
        if serial is not None:
            self._looked_ms = poll.answered_ms
        nature = Nature(self.signer.enrolment.serial, self.max_power_w)
        found = judge(self.memory, _sight(poll, serial), nature, second=second)
        if not found.again:
            self._keep(found, poll, clock)
        measurement = Measurement(
            asked_ms=poll.asked_ms, answered_ms=poll.answered_ms, clock=clock,
            import_wh=found.totals["import"], export_wh=found.totals["export"],
            resolution_wh=poll.values.resolution_wh,
            power_w=None if poll.values.power is None else poll.values.power.w,
            quality=found.quality, raw=poll.values.raw_digest.hex(),
        )  # fmt: skip
        return Judged(measurement, found.again)

    def failed(self, error: Exception, at_ms: int, clock: Clock) -> None:
        """Note that a poll brought no reading, and tell of it when that begins."""
        self._missed += 1
        kind = next((_TROUBLES[each] for each in type(error).__mro__ if each in _TROUBLES), None)
        self._bad.append(kind is Kind.BAD_REPLY)
        self._look = True  # whatever answers next may be another meter
        self._tell_clash(at_ms, clock)
        if isinstance(error, TimeoutError):
            kind = Kind.TIME_OUT
        if isinstance(error, errors.RegisterAbsentError):
            self._tell(Finding(Kind.ABSENT, {"quantity": "all"}), at_ms, clock)
        elif kind is not None and kind is not self._failing:
            text = "".join(each for each in str(error) if each.isprintable())[:MAX_TEXT]
            self._tell(Finding(kind, {"error": text}), at_ms, clock)
        self._failing = kind

    def absent(self, quantities: tuple[str, ...], at_ms: int, clock: Clock) -> None:
        """Tell once of each quantity for which the meter has no register (0x02)."""
        for quantity in quantities:
            if quantity not in self._absent:
                self._tell(Finding(Kind.ABSENT, {"quantity": quantity}), at_ms, clock)
        self._absent = frozenset(quantities)

    def _keep(self, found: Judgement, poll: Polled, clock: Clock) -> None:
        self.memory, self._look = found.memory, found.look
        if self._failing is not None:
            back = Finding(Kind.ANSWERS_AGAIN, {"missed_polls": self._missed})
            self._tell(back, poll.answered_ms, clock)
        self._failing, self._missed = None, 0
        self._bad.append(False)
        self._tell_clash(poll.answered_ms, clock)
        epochs = self._begin_epoch(poll.answered_ms) if found.new_epoch else {}
        for finding in found.findings:
            mine = epochs if finding.kind is Kind.RESET else {}
            told = replace(finding, detail={**finding.detail, **mine})
            self._tell(told, poll.answered_ms, clock)

    def _begin_epoch(self, answered_ms: int) -> dict[str, int]:
        """Begin the next epoch of the key that signs now: epochs are a key's own."""
        signer = self.signer_at(answered_ms)
        enrolment = signer.enrolment
        begun = Signer(replace(enrolment, epoch=enrolment.epoch + 1), signer.key)
        if signer is self.previous:
            self.previous = begun
        else:
            self.signer = begun
        return {"old_epoch": enrolment.epoch, "new_epoch": enrolment.epoch + 1}

    def _tell_clash(self, at_ms: int, clock: Clock) -> None:
        """Tell that good and senseless replies alternate: two devices answer one unit id."""
        bad = sum(self._bad)
        clash = bad >= _CLASH_AT and len(self._bad) - bad >= _CLASH_AT
        if clash and not self._told_clash:
            detail = {"enrolled": self.signer.enrolment.serial, "found": None, "bad_replies": bad}
            self._tell(Finding(Kind.UNIT_CLASH, detail), at_ms, clock)
        self._told_clash = clash

    def _tell(self, finding: Finding, at_ms: int, clock: Clock) -> None:
        self.sink.report(Event(finding, self.signer.enrolment.point, at_ms, clock))


def _in_epoch_of(signer: Signer, last: Reading | None) -> Signer:
    enrolment = signer.enrolment
    if last is None or last.key != enrolment.key.hex or last.epoch <= enrolment.epoch:
        return signer
    return Signer(replace(enrolment, epoch=last.epoch), signer.key)


def _sight(poll: Polled, serial: str | None) -> Sight:
    """Return a poll as it is judged; a phase that is not connected shows 0 V."""
    values = poll.values
    return Sight(
        asked_ms=poll.asked_ms, answered_ms=poll.answered_ms,
        shown={
            "import": None if values.import_total is None else values.import_total.wh,
            "export": None if values.export_total is None else values.export_total.wh,
        },
        power_w=None if values.power is None else values.power.w,
        resolution_wh=values.resolution_wh,
        moduli_wh={
            "import": values.import_modulus_wh,
            "export": values.export_modulus_wh,
        },
        serial=serial,
        voltage_mv=values.voltages_mv[0] or None,
        frequency_mhz=values.frequency_mhz,
    )  # fmt: skip
