"""The sharing pages' view of the house: satisfies :class:`web.ports.sharing.Sharing`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta

from sqlmodel import Session

from app.services.house import House
from app.services.sharing import keys
from app.services.sharing.file import OPTIONAL, REQUIRED, SharingFileError, SharingInputError
from app.services.sharing.keys import Planned, Version
from app.store import people, registry
from app.store import sharing as store
from app.tables import MeteringPointRow
from market.money import PPM
from market.sharing import Key, Kind, Pair
from metering.interval import Interval
from metering.localtime import day_of, day_start
from web.ports.sharing import (
    KeyPreview,
    KeysRefusedError,
    KeyVersion,
    MemberLine,
    OwnRoof,
    OwnShare,
    OwnSharing,
    SharingPage,
    Today,
)

_LIVE = ("holds", "to-come")


@contextmanager
def _on_the_page() -> Iterator[None]:
    try:
        yield
    except SharingFileError as error:
        shown = [str(fault) for fault in error.faults[:20]]
        more = len(error.faults) - len(shown)
        raise KeysRefusedError(shown + ([f"and {more} more"] if more else [])) from error
    except SharingInputError as error:
        raise KeysRefusedError([str(error)]) from error


@dataclass(frozen=True, slots=True)
class _Day:
    """The local day and what was shared on it so far."""

    day: date
    surplus: Mapping[str, int]
    shared: Mapping[Pair, int]

    def of(self, roofs: Iterable[str]) -> Today:
        """Return the sums of some generating points."""
        own = set(roofs)
        return Today(
            self.day.isoformat(),
            sum(wh for point, wh in self.surplus.items() if point in own),
            sum(wh for pair, wh in self.shared.items() if pair.generator in own),
        )


class SharingDesk:
    """The sharing keys of one district, for its pages."""

    def __init__(self, house: House) -> None:
        self._house = house

    def page(self) -> SharingPage:
        """Return the manager's page."""
        with self._house.database.read() as session:
            day, points = self._day(session), people.points(session)
            found = keys.listed(session, self._house)
            shown = [self._version(each, points, day) for each in found]
            return SharingPage(self._active, day.of(day.surplus), shown)

    def own(self, participant: str) -> OwnSharing:
        """Return what a participant sees: others' roofs by letters, their own in sums."""
        with self._house.database.read() as session:
            day, points = self._day(session, participant), people.points(session)
            now = keys.begun(session, self._house).key
            mine = {point: points[point] for point in registry.of(session, participant, now)}
            live = [each for each in keys.listed(session, self._house) if each.state in _LIVE]
            names = _letters(each.row.point for each in live)
            shares = [
                self._own_share(each, names[each.row.point], mine[share.point], day)
                for each in live
                for share in each.shares
                if share.point in mine
            ]
            roofs = [self._own_roof(each, mine, day) for each in live if each.row.point in mine]
            return OwnSharing(self._active, day.day.isoformat(), shares, roofs)

    def today(self) -> Today:
        """Return the district's sums of the local day."""
        with self._house.database.read() as session:
            day = self._day(session)
        return day.of(day.surplus)

    def keys_csv(self) -> bytes:
        """Return the keys that hold as a file that is valid from tomorrow on."""
        with self._house.database.read() as session:
            found = keys.listed(session, self._house)
            tomorrow = self._today(session) + timedelta(days=1)
        out = io.StringIO(newline="")
        table = csv.DictWriter(out, (*REQUIRED, *OPTIONAL))
        table.writeheader()
        for each in found:
            if each.state == "holds":
                table.writerows(_file_rows(store.key_of(each.row, each.shares), tomorrow))
        return out.getvalue().encode()

    def preview(self, name: str, content: bytes) -> KeyPreview:
        """Read a file and say what it would change."""
        with _on_the_page():
            planned = keys.preview(self._house, content)
        with self._house.database.read() as session:
            points = people.points(session)
        return KeyPreview(name, content, [self._planned(each, points, name) for each in planned])

    def confirm(self, name: str, content: bytes) -> int:
        """Write the versions of a file that was shown."""
        with _on_the_page():
            return len(keys.take(self._house, name, content))

    def undo(self, number: int) -> int:
        """Withdraw a version and those of its file that do not hold yet."""
        with self._house.database.read() as session:
            found = keys.listed(session, self._house)
        chosen = {(e.row.source, e.row.imported_ms) for e in found if e.number == number}
        numbers = [
            each.number
            for each in found
            if (each.row.source, each.row.imported_ms) in chosen and each.state == "to-come"
        ]
        with _on_the_page():
            keys.withdraw(self._house, {number, *numbers})
        return len(numbers)

    @property
    def _active(self) -> bool:
        return self._house.settings.mode == "sharing"

    def _today(self, session: Session) -> date:
        now = keys.begun(session, self._house)
        return day_of(now.start, self._house.settings.tz)

    def _day(self, session: Session, participant: str | None = None) -> _Day:
        """Return the local day's sums: of all, or of what a participant had a part in."""
        day = self._today(session)
        first, after = (
            day_start(each, self._house.settings.tz).key for each in (day, day + timedelta(days=1))
        )
        return _Day(
            day,
            store.surplus_wh(session, first, after, participant),
            store.shared_wh(session, first, after, participant),
        )

    def _local_day(self, valid_from: str) -> str:
        return day_of(Interval.parse(valid_from).start, self._house.settings.tz).isoformat()

    def _version(
        self, each: Version, points: Mapping[str, MeteringPointRow], day: _Day
    ) -> KeyVersion:
        holds = each.state == "holds"
        key, start = store.key_of(each.row, each.shares), self._local_day(each.row.valid_from)
        return replace(
            _shown(key, points, start, day.shared if holds else {}),
            number=each.number,
            state=each.state,
            source=each.row.source,
            today=day.of([key.generator]) if holds else None,
        )

    def _planned(
        self, each: Planned, points: Mapping[str, MeteringPointRow], name: str
    ) -> KeyVersion:
        start = self._local_day(each.draft.start.key)
        return replace(
            _shown(each.draft.key, points, start, {}), source=name, replaces=each.replaces
        )

    def _own_share(self, each: Version, roof: str, point: MeteringPointRow, day: _Day) -> OwnShare:
        key = store.key_of(each.row, each.shares)
        holds = each.state == "holds"
        return OwnShare(
            roof=roof,
            point=point.name,
            kind=key.kind.value,
            again=key.redistribute,
            ppm=_ppm(key)[point.gsrn],
            price_micro_per_kwh=key.price.micro_per_kwh,
            day=self._local_day(each.row.valid_from),
            to_come=not holds,
            today_wh=day.shared.get(Pair(key.generator, point.gsrn), 0) if holds else 0,
        )

    def _own_roof(self, each: Version, mine: Mapping[str, MeteringPointRow], day: _Day) -> OwnRoof:
        key = store.key_of(each.row, each.shares)
        static = key.kind is Kind.STATIC
        return OwnRoof(
            name=mine[key.generator].name,
            kind=key.kind.value,
            members=len(key.shares),
            owned_ppm=sum(share.ppm for share in key.shares) if static else None,
            price_micro_per_kwh=key.price.micro_per_kwh,
            day=self._local_day(each.row.valid_from),
            to_come=each.state == "to-come",
            today=day.of([key.generator]) if each.state == "holds" else None,
        )


def _shown(
    key: Key, points: Mapping[str, MeteringPointRow], day: str, shared: Mapping[Pair, int]
) -> KeyVersion:
    """Return a key as a page shows it before it is stored."""
    ppm = _ppm(key)
    return KeyVersion(
        number=None,
        roof=points[key.generator].name,
        point=key.generator,
        day=day,
        kind=key.kind.value,
        again=key.redistribute,
        price_micro_per_kwh=key.price.micro_per_kwh,
        members=[
            MemberLine(
                points[share.point].name,
                share.point,
                ppm[share.point],
                shared.get(Pair(key.generator, share.point), 0),
            )
            for share in key.shares
        ],
        unowned_ppm=PPM - sum(share.ppm for share in key.shares) if key.kind is Kind.STATIC else 0,
        state="planned",
        source="",
    )


def _ppm(key: Key) -> Mapping[str, int | None]:
    """Return the share that each member of a key can count on, where there is one."""
    if key.kind is Kind.STATIC:
        return {share.point: share.ppm for share in key.shares}
    equal = PPM // len(key.shares) if key.kind is Kind.EQUAL and key.shares else None
    return {share.point: equal for share in key.shares}


def _letters(points: Iterable[str]) -> Mapping[str, str]:
    """Return a name for each roof that tells nobody whose it is: Roof A, Roof B, ... Roof 27."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return {
        point: f"Roof {letters[n] if n < len(letters) else n + 1}"
        for n, point in enumerate(sorted(set(points)))
    }


def _file_rows(key: Key, day: date) -> Sequence[dict[str, object]]:
    terms = {
        "generator": key.generator,
        "valid_from": day.isoformat(),
        "kind": key.kind.value,
        "unused": "again" if key.redistribute else "export",
        "price_micro_per_kwh": key.price.micro_per_kwh,
    }
    shares = [{"member": share.point, "share_ppm": share.ppm} for share in key.shares]
    return [terms | share for share in shares or [{"member": "", "share_ppm": ""}]]
