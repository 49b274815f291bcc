"""Master data out to a folder of files and in from one: shown first, taken whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel, select

from app.files.exchange_master import SHEETS, Row, read_folder
from app.files.exchange_values import ExchangeFileError, Fault
from app.services.certificates import devices
from app.services.certificates.devices import NewDevice
from app.services.exchange.links import Links
from app.services.house import House
from app.services.registry.additions import MOST_POWER_W
from app.services.registry.wanted import (
    MOST_ADDRESS,
    MOST_LINES,
    MOST_NAME,
    Newcomer,
    check_id,
    read_begin,
)
from app.store import people
from app.tables import (
    BalancePartyRow,
    BuildingRow,
    DeviceRow,
    FeederRow,
    LinkRow,
    MeteringPointRow,
    ParticipantRow,
    SupplierRow,
)
from market.certificate import CertificateError
from market.registry import RegistryError

_TABLES: Final[Mapping[str, type[SQLModel]]] = {
    "suppliers": SupplierRow,
    "balance_parties": BalancePartyRow,
    "feeders": FeederRow,
    "buildings": BuildingRow,
    "participants": ParticipantRow,
    "points": MeteringPointRow,
    "links": LinkRow,
    "devices": DeviceRow,
}
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "buildings": ("feeder", "id"),
    "points": ("gsrn",),
    "links": ("point", "role", "valid_from"),
}
_FIXED: Final = ("purpose", "green")  # of a point: what was sealed rests on them
_WORDS: Final = {True: "yes", False: "no", None: ""}
_DIGITS: Final = 12  # of a whole number in a cell
_LINE: Final = " | "  # between lines of an address


class Changed(NamedTuple):
    """One thing that a file changes: in which sheet and row, and in words."""

    sheet: str
    row: int
    text: str


class _RefusedError(Exception):
    pass


def export(session: Session) -> Mapping[str, Sequence[Sequence[str]]]:
    """Return the rows of every sheet, in the order of their keys."""
    found = {}
    for sheet, table in _TABLES.items():
        rows = [_cells(sheet, row) for row in session.exec(select(table))]
        found[sheet] = sorted(rows, key=lambda cells: cells[:4] if sheet == "links" else cells)
    return found


def preview(house: House, folder: Path) -> Sequence[Changed]:
    """Return what a folder of files would change now; nothing is written.

    Raises:
        ExchangeFileError: as :func:`enter`.
    """
    return _run(house, folder, "preview", write=False)


def enter(house: House, folder: Path, entered_by: str) -> Sequence[Changed]:
    """Take a folder of files in, all of it or nothing; return what changed.

    Raises:
        ExchangeFileError: a file cannot be read, or some of its rows are refused.
    """
    return _run(house, folder, entered_by, write=True)


def _run(house: House, folder: Path, by: str, *, write: bool) -> Sequence[Changed]:
    sheets = read_folder(folder)
    with house.database.write() as session:
        people.district(session, lock=True)
        intake = _Intake(house, session, by)
        intake.take(sheets)
        if intake.faults:
            raise ExchangeFileError(intake.faults)
        if not write:
            session.rollback()
    return intake.changes


@dataclass(slots=True)
class _Intake:
    """One folder's way in: what it changes, and what is wrong with it."""

    house: House
    session: Session
    by: str
    changes: list[Changed] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    newcomers: dict[str, Newcomer] = field(default_factory=dict)
    points: dict[str, Row] = field(default_factory=dict)  # new ones, until they have links
    heads: list[Row] = field(default_factory=list)  # feeders whose head comes with the same files
    coming: frozenset[str] = frozenset()  # every point that the files name

    def take(self, sheets: Mapping[str, Sequence[Row]]) -> None:
        """Take all sheets in, in the order of :data:`SHEETS`."""
        steps: Mapping[str, Callable[[Row], None]] = {
            "suppliers": self._named,
            "balance_parties": self._named,
            "feeders": self._named,
            "buildings": self._named,
            "participants": self._participant,
            "points": self._point,
            "devices": self._device,
        }
        self.coming = frozenset(row.cells["point"] for row in sheets.get("points", ()))
        for sheet in SHEETS:
            if sheet == "links":
                self._links(sheets)
                self.coming = frozenset()
                for row in self.heads:
                    self._each(row, self._named)
                continue
            seen: dict[tuple[str, ...], int] = {}
            for row in sheets.get(sheet, ()):
                self._once(row, seen)
                self._each(row, steps[sheet])

    def _once(self, row: Row, seen: dict[tuple[str, ...], int]) -> None:
        key = tuple(row.cells[_column(name)] for name in _KEYS.get(row.sheet, ("id",)))
        first = seen.setdefault(key, row.number)
        if first != row.number:
            self.faults.append(row.fault(f"{'/'.join(key)} stands in row {first} already"))

    def _each(self, row: Row, step: Callable[[Row], None]) -> None:
        try:
            with self.session.begin_nested():
                step(row)
        except (_RefusedError, RegistryError, CertificateError) as error:
            self.faults.append(row.fault(error))
        except IntegrityError:
            self.faults.append(row.fault("it refers to something that there is not"))

    def _links(self, sheets: Mapping[str, Sequence[Row]]) -> None:
        """Take the links in, then what newcomers have beside their name."""
        coming = frozenset(self.newcomers)
        links = Links(self.house, self.session, self.newcomers, self.points, self.by)
        for found in links.take(sheets.get("links", ())):
            if isinstance(found, Fault):
                self.faults.append(found)
            else:
                self._tell(*found)
        for row in self.points.values():
            self.faults.append(
                row.fault("it is new: name its participant, tariff and feeder in links.csv")
            )
        for row in sheets.get("participants", ()):
            if row.cells["id"] in self.newcomers:
                self.faults.append(
                    row.fault("they are new: name their metering point in links.csv")
                )
            elif row.cells["id"] in coming:
                self._each(row, self._participant)

    def _tell(self, row: Row, text: str) -> None:
        self.changes.append(Changed(row.sheet, row.number, text))

    def _named(self, row: Row) -> None:
        """Take a supplier, a balance responsible party, a feeder or a building in."""
        _name(row)
        table, cells = _TABLES[row.sheet], row.cells
        key = tuple(cells[name] for name in _KEYS.get(row.sheet, ("id",)))
        head = cells.get("head")
        if head and head not in people.points(self.session):
            if head not in self.coming:
                raise _RefusedError(
                    f"head {head!r} is no metering point: write its GSRN, or nothing"
                )
            self.heads.append(row)
            cells = {**cells, "head": ""}
        if row.sheet == "buildings" and self.session.get(FeederRow, key[0]) is None:
            raise _RefusedError(f"there is no feeder {key[0]!r}: name it in feeders.csv")
        there = self.session.get(table, key if len(key) > 1 else key[0])
        if there is None:
            check_id(key[-1], "id")
            self.session.add(table(**{n: cell or None for n, cell in cells.items()}))
            self.session.flush()
            self._tell(row, f"new: {'/'.join(key)}, {row.cells['name']}")
        elif cells is row.cells:
            self._update(row, there)

    def _participant(self, row: Row) -> None:
        cells = row.cells
        if cells["vat_liable"] not in _WORDS.values():
            raise _RefusedError(
                f"vat_liable {cells['vat_liable']!r} is neither yes nor no nor empty"
            )
        if len(cells["postal_address"]) > MOST_ADDRESS:
            raise _RefusedError(f"postal_address has more than {MOST_ADDRESS} characters")
        if cells["postal_address"].count("|") >= MOST_LINES:
            raise _RefusedError(f"postal_address has more than {MOST_LINES} lines")
        _name(row)
        there = self.session.get(ParticipantRow, cells["id"])
        if there is None:
            address = cells["postal_address"].replace(_LINE, "\n")
            self.newcomers[cells["id"]] = Newcomer.of(cells["id"], cells["name"], address)
        else:
            self._update(row, there)

    def _point(self, row: Row) -> None:
        _name(row)
        power, green = row.cells["max_power_w"], row.cells["green"]
        whole = power.isascii() and power.isdecimal() and len(power) <= _DIGITS
        if not (whole and 0 < int(power) <= MOST_POWER_W):
            raise _RefusedError(f"max_power_w {power[:20]!r} is no whole number of watts above 0")
        there = self.session.get(MeteringPointRow, row.cells["point"])
        if there is None:
            if green not in _WORDS.values():
                raise _RefusedError(f"green {green[:20]!r} is neither yes nor no nor empty")
            self.points[row.cells["point"]] = row
            return
        told = dict(zip(SHEETS["points"], _cells("points", there), strict=True))
        if fixed := [name for name in _FIXED if told[name] != row.cells[name]]:
            raise _RefusedError(f"{', '.join(fixed)} cannot change by a file: seals rest on them")
        self._update(row, there)

    def _update(self, row: Row, there: SQLModel) -> None:
        """Bring a row of the database to that of the file, and tell what was different."""
        before = dict(zip(SHEETS[row.sheet], _cells(row.sheet, there), strict=True))
        changed = {n: cell for n, cell in row.cells.items() if before[n] != cell}
        for name, cell in changed.items():
            setattr(there, _attribute(row.sheet, name), _value(name, cell))
        if changed:
            self.session.add(there)
            self.session.flush()
            told = ", ".join(
                f"{n} {before[n] or 'none'} -> {c or 'none'}" for n, c in changed.items()
            )
            self._tell(row, f"{row.cells[SHEETS[row.sheet][0]]}: {told}")

    def _device(self, row: Row) -> None:
        cells, zone = row.cells, self.house.settings.tz
        there = self.session.get(DeviceRow, cells["id"])
        if there is None:
            device = _new_device(row)
            begin = read_begin(cells["valid_from"], zone) if cells["valid_from"] else None
            devices.add_within(self.house, self.session, device, begin)
            self._tell(row, f"new: {device.kind} {device.id} behind {device.point}")
            return
        before = dict(zip(SHEETS["devices"], _cells("devices", there), strict=True))
        changed = [name for name, cell in cells.items() if before[name] != cell]
        if changed == ["valid_to"] and cells["valid_to"]:
            at = read_begin(cells["valid_to"], zone)
            devices.end_within(self.house, self.session, there.id, at)
            self._tell(row, f"{there.id}: certified until {at}")
        elif changed:
            raise _RefusedError(
                f"{', '.join(changed)} of a device cannot change: end it, and add another one"
            )


def _new_device(row: Row) -> NewDevice:
    cells = dict(row.cells)
    numbers = {}
    for name in ("capacity_w", "efficiency_ppm", "emissions_mg_per_kwh"):
        text = cells.pop(name)
        if text and not (text.isascii() and text.isdecimal() and len(text) <= 12):
            raise _RefusedError(f"{name} {text[:20]!r} is no whole number")
        numbers[name] = int(text) if text else None
    return NewDevice(
        id=cells["id"],
        point=cells["point"],
        kind=cells["kind"],
        meter_point=cells["meter_point"] or None,
        output_register=cells["output_register"],
        name=cells["name"],
        technology=cells["technology"],
        source=cells["source"],
        capacity_w=numbers["capacity_w"] or 0,
        efficiency_ppm=numbers["efficiency_ppm"],
        emissions_mg_per_kwh=numbers["emissions_mg_per_kwh"] or 0,
    )


def _name(row: Row) -> None:
    """Refuse a name that is empty or too long.

    Raises:
        _RefusedError: it is.
    """
    if not 0 < len(row.cells["name"]) <= MOST_NAME:
        raise _RefusedError(f"a name has 1 to {MOST_NAME} characters")


def _attribute(sheet: str, column: str) -> str:
    return "gsrn" if sheet == "points" and column == "point" else column


def _column(attribute: str) -> str:
    return "point" if attribute == "gsrn" else attribute


def _value(column: str, cell: str) -> object:
    if column == "max_power_w":
        return int(cell)
    if column == "vat_liable":
        return {word: value for value, word in _WORDS.items()}[cell]
    if column == "postal_address":
        return cell.replace(_LINE, "\n") or None
    return cell if column in ("name", "kind") else cell or None


def _cells(sheet: str, row: SQLModel) -> list[str]:
    return [_cell(getattr(row, _attribute(sheet, name))) for name in SHEETS[sheet]]


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    return str(value).replace("\n", _LINE)


def lines_of(changes: Sequence[Changed]) -> Iterator[str]:
    """Yield each change as a line for people."""
    for each in changes:
        yield f"{each.sheet}.csv, row {each.row}: {each.text}"
