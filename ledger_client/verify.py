"""Checks Wattloom's proofs offline: this one file, the standard library and PyNaCl.

KEYS that pin an ML-DSA key need the package cryptography, too; nothing else does.

    python verify.py PROOF.json --keys KEYS.json
    python verify.py --receipt RECEIPT.json --seal LEAVES.json --keys KEYS.json

Exit code 0: the proof holds. 1: it does not, and the step that fails is named. 2: it could
not be judged (no KEYS, say). 3: a receipt's promise was broken, and that is proven. Trust
starts at the pinned keys in KEYS and walks down: milestone, anchored block, checkpoint, log,
seal, slot, reading, statement, payment; a value is printed only after its step has
authenticated it. docs/protocol.md gives the formats, docs/proof.md
the layout of both files.
"""

import argparse
import json
import re
import sys
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import (
    Annotated,
    Final,
    Literal,
    Self,
    TypeAlias,
    get_args,
    get_origin,
)

try:
    from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
    from nacl.exceptions import CryptoError
except ImportError:
    print("PyNaCl is missing, nothing could be judged: pip install pynacl", file=sys.stderr)
    raise SystemExit(2) from None

Json: TypeAlias = "int | str | list[Json] | dict[str, Json] | None"

HASH_SIZE: Final = 32
NO_LEAF: Final = bytes(HASH_SIZE)
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_PATH: Final = 64
MAX_INT: Final = 2**53
INTERVAL_MS: Final = 900_000
BORDER_LATE_MS: Final = 10_000
BEACON_EARLY_MS: Final = 10_000
"""A meter's clock may be up to 9 s behind, and a milestone's second begins up to 1 s before it."""
ANCHOR_DEADLINE_S: Final = (5 + 15) * 60
"""Grace plus seal time, at most: a real interval has to be on the ledger by then."""
GROUP_PARTIES: Final = 60
MAX_NOTE_LINES: Final = 64
NEEDS_MLDSA: Final = "its signatures need ML-DSA-44: pip install 'cryptography>=50'"
ED25519: Final = b"\1"
COSIGNATURE: Final = b"\4"
MLDSA: Final = b"\6"
"""Signature types of a note's keys (C2SP signed-note); 6 is the ML-DSA-44 of tlog-cosignature."""

ENROL_PREFIX: Final = b"wattloom-enrol-v1\0"
ROTATE_PREFIX: Final = b"wattloom-rotate-v1\0"
EPOCH_PREFIX: Final = b"wattloom-epoch-v1\0"
READING_PREFIX: Final = b"wattloom-reading-v1\0"
RECEIPT_PREFIX: Final = b"wattloom-receipt-v1\0"
READING_LEAF: Final = b"wattloom-leaf-reading-v1\0"
SLOT_LEAF: Final = b"wattloom-leaf-slot-v1\0"
MISSING_LEAF: Final = b"wattloom-leaf-missing-v1\0"
ROSTER_LEAF: Final = b"wattloom-leaf-roster-v1\0"
ORDER_LEAF: Final = b"wattloom-leaf-order-v1\0"
STATEMENT_LEAF: Final = b"wattloom-leaf-statement-v1\0"
TARIFF_LEAF: Final = b"wattloom-leaf-tariff-v1\0"
RECEIPT_LEAF: Final = b"wattloom-leaf-receipt-v1\0"
VALUE_LEAF: Final = b"wattloom-leaf-value-v1\0"
PAY_TAG: Final = b"wattloom-pay-v1"
LEFT_OUT_EMPTY: Final = frozenset(
    {
        "agreed",
        "alone",
        "beacon",
        "cosignatures",
        "epochs",
        "fallback",
        "file",
        "hub_prices",
        "mode",
        "place",
        "tariff_version",
        "tax_micro_per_kwh",
        "wish",
    }
)
"""Fields that are absent rather than empty, as in proofs from before there were such things."""
LEFT_OUT_NULL: Final = frozenset(
    {
        "imbalance_micro_per_kwh",
        "local_fee_building_micro_per_kwh",
        "local_fee_feeder_micro_per_kwh",
    }
)
"""Fields that are absent rather than null; 0 means 0."""
HEX_PATTERN: Final = re.compile(r"(?:[0-9a-f]{2})*")
ORIGIN_PATTERN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


class VerifyError(ValueError):
    """Root of what a check can end in."""


class RefusedError(VerifyError):
    """The data does not hold: reject it for good (exit code 1)."""


class CanonicalError(RefusedError):
    """The bytes are not canonical JSON: reject; write them anew with :func:`canonical`."""


class LayoutError(RefusedError):
    """A field is missing, unknown or of the wrong kind: reject."""


class PathError(RefusedError):
    """An audit path cannot belong to the tree it is said to be of: reject."""


class NoteError(RefusedError):
    """A checkpoint note is malformed or not signed by a pinned key: reject."""


class BlockError(RefusedError):
    """Bytes are not the ledger object they are said to be: reject."""


class ClaimError(RefusedError):
    """What the proof claims is not what its authenticated parts say: reject."""


class UnjudgedError(VerifyError):
    """The means are missing: get the right KEYS or PyNaCl, then ask again (exit code 2)."""


def require(condition: object, otherwise: str) -> None:
    """Refuse with the sentence ``otherwise`` unless the condition holds."""
    if not condition:
        raise ClaimError(otherwise)


# --- Canonical JSON (RFC 8785 without floats and booleans) --------------------------------------


def plain(value: object) -> Json:
    """Return the JSON shape of records, bytes (hex), tuples, mappings, integers and strings."""
    if value is None or type(value) is str:
        return value
    if type(value) is int and abs(value) < MAX_INT:
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        held = {item.name: getattr(value, item.name) for item in fields(value)}
        return {key: plain(held[key]) for key in held if not is_left_out(key, held[key])}
    if isinstance(value, dict) and all(type(key) is str and key.isascii() for key in value):
        return {key: plain(item) for key, item in value.items()}
    raise CanonicalError(
        f"{value!r:.60} cannot stand in canonical JSON: use text, integers below 2^53, null, "
        "arrays and objects with ASCII keys"
    )


def is_left_out(name: str, value: object) -> bool:
    """Tell whether a record's field is absent, since what it says goes without saying."""
    return (name in LEFT_OUT_EMPTY and not value) or (name in LEFT_OUT_NULL and value is None)


def canonical(value: object) -> bytes:
    """Return the canonical JSON of a value (bytes become lowercase hex)."""
    try:
        text = json.dumps(plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return text.encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise CanonicalError(f"not canonical JSON: {error}") from error


def parse(data: bytes) -> Json:
    """Return the value of canonical JSON bytes; anything that encodes otherwise is refused."""
    value = parse_json(data)
    if canonical(value) != data:
        raise CanonicalError("not canonical JSON: keys unsorted, surplus space or odd escapes")
    return value


def parse_json(data: bytes) -> Json:
    """Return the value of any JSON text without duplicate keys and floats."""
    try:
        value: Json = json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_refuse,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError) as error:
        raise CanonicalError(f"not JSON that this format allows: {error}") from error
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CanonicalError("an object has the same key twice")
    return found


def _whole(number: str) -> int:
    if number == "-0":
        _refuse(number)
    return int(number)


def _refuse(number: str) -> None:
    raise CanonicalError(f"the number {number} is not an integer")


# --- Layout: the records below are the format; one loader reads them all ------------------------

Hash = Annotated[bytes, HASH_SIZE]
Key = Annotated[bytes, 32]
MldsaKey = Annotated[bytes, 1312]
KeyName = Annotated[str, re.compile(r"[!-*,-~]{1,255}")]
Signature = Annotated[bytes, 64]
Natural = Annotated[int, range(MAX_INT)]
Positive = Annotated[int, range(1, MAX_INT)]
Uint32 = Annotated[int, range(2**32)]
Point = Annotated[str, re.compile(r"[0-9]{18}")]
IntervalKey = Annotated[
    str, re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:(?:00|15|30|45):00Z")
]
Origin = Annotated[str, ORIGIN_PATTERN]
Direction = Literal["import", "export"]
LEVELS: Final = ("building", "feeder", "district")
SHARING_RULE: Final = "sharing"
"""What a seal in sharing mode says as its rule, and no other seal."""
Place = Annotated[str, re.compile(r"[^/\x00-\x1f\x7f]{1,64}(?:/[^/\x00-\x1f\x7f]{1,64})?")]
WISH: Final = re.compile(
    r"(?P<green>green(?:(?P<only>-only)|\+(?P<premium>[1-9][0-9]{0,8}))?)?"
    r"(?:(?:^|(?<=.) )local-first)?(?:(?:^|(?<=.) )max-(?P<level>building|feeder))?"
)
Wish = Annotated[str, WISH]
AuditPath = tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A record whose annotations say what its canonical JSON has to look like."""

    @classmethod
    def load(cls, value: object, where: str = "") -> Self:
        """Return the record of a parsed JSON value.

        Raises:
            LayoutError: naming the field that is missing, unknown or of the wrong kind.
        """
        where = where or cls.__name__
        kinds = {item.name: item.type for item in fields(cls)}
        if not isinstance(value, dict):
            raise LayoutError(f"{where} has to be an object")
        absent = kinds.keys() - value.keys() - LEFT_OUT_EMPTY - LEFT_OUT_NULL
        empty = {name for name in value if is_left_out(name, value[name])}
        if odd := absent | empty | (value.keys() - kinds.keys()):
            names = ", ".join(sorted(odd))
            raise LayoutError(f"{where} has missing or unknown fields, or needless ones: {names}")
        return cls(**{name: _load(kinds[name], value[name], f"{where}.{name}") for name in value})

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """Return the record of its canonical JSON."""
        return cls.load(parse(text.encode() if isinstance(text, str) else text))

    @property
    def text(self) -> str:
        """The canonical JSON text."""
        return canonical(self).decode()


def _load(kind: object, value: object, where: str) -> object:
    origin, args = get_origin(kind), get_args(kind)
    if NoneType in args:
        other = next(arg for arg in args if arg is not NoneType)
        return None if value is None else _load(other, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise LayoutError(f"{where} has to be an array")
        return tuple(_load(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Literal:
        if type(value) not in (str, int) or value not in args:
            raise LayoutError(f"{where} has to be one of {', '.join(map(str, args))}")
        return value
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.load(value, where)
    base, limit = args if origin is Annotated else (kind, None)
    return _load_atom(base, limit, value, where)


def _load_atom(base: type, limit: object, value: object, where: str) -> object:
    if base is int and type(value) is int:
        if not isinstance(limit, range) or value in limit:
            return value
    elif isinstance(value, str):
        if base is str and (not isinstance(limit, re.Pattern) or limit.fullmatch(value)):
            return value
        if base is bytes and limit in (None, len(value) / 2) and HEX_PATTERN.fullmatch(value):
            return bytes.fromhex(value)
    name = {int: "an integer", str: "text", bytes: "lowercase hex"}[base]
    shape = limit.pattern if isinstance(limit, re.Pattern) else limit
    raise LayoutError(f"{where} has to be {name}" + (f" ({shape})" if shape is not None else ""))


@dataclass(frozen=True, slots=True)
class Enrolment(Record):
    """Who may sign for a point from when on; signed by the meter's and the registry's key."""

    district: Origin
    epoch: Positive
    key: Key
    point: Point
    profile: str
    serial: str
    valid_from: IntervalKey


@dataclass(frozen=True, slots=True)
class EnrolEntry(Record):
    """The log entry ``enrol``: an enrolment's text with both signatures."""

    enrolment: str
    possession: Signature
    registry: Signature


@dataclass(frozen=True, slots=True)
class RotateEntry(Record):
    """The log entry ``rotate``: the new key's enrolment, handed over by the old key as well."""

    enrolment: str
    handover: Signature
    old: Key
    possession: Signature
    registry: Signature


@dataclass(frozen=True, slots=True)
class EpochSide(Record):
    """A chain of readings at one end of a change: whose key, which epoch, which meter."""

    epoch: Positive
    key: Key
    serial: str


@dataclass(frozen=True, slots=True)
class EpochChange(Record):
    """A point's counters that began anew; ``values`` is the hash of what both ends showed."""

    district: Origin
    from_ms: Natural
    new: EpochSide
    old: EpochSide
    point: Point
    values: Hash


@dataclass(frozen=True, slots=True)
class EpochEntry(Record):
    """The log entry ``epoch``: a change that a person approved, signed by the registry."""

    change: str
    registry: Signature


@dataclass(frozen=True, slots=True)
class RosterEntry(Record):
    """What a roster leaf says: which enrolment speaks for a point in an interval."""

    enrolment: Natural
    epoch: Positive
    key: Key
    point: Point
    slot: Natural
    valid_from: IntervalKey


@dataclass(frozen=True, slots=True)
class Reading(Record):
    """What a meter signed; registers in Wh, power in W, times in UTC milliseconds.

    ``beacon`` is the digest of a milestone that the gateway had seen, or left out.
    """

    answered_ms: Natural
    asked_ms: Natural
    clock: Literal["S", "I", "U", "R"]
    district: Origin
    epoch: Positive
    export_wh: Natural | None
    import_wh: Natural | None
    key: Key
    meter: str
    point: Point
    power_w: int | None
    prev: Hash
    quality: Literal[
        "measured", "estimated", "substituted", "edited", "questionable", "invalid", "missing"
    ]
    raw: Hash
    resolution_wh: Natural
    seq: Positive
    beacon: Hash = b""


@dataclass(frozen=True, slots=True)
class Agreed(Record):
    """What a bilateral contract lets an order trade, beside its limit and before the book."""

    cap_wh: Positive
    contract: str
    price_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class Order(Record):
    """What an order leaf says."""

    district: Origin
    interval: IntervalKey
    limit_micro_per_kwh: int
    order_id: str
    point: Point
    side: Literal["bid", "offer"]
    wh: Positive
    place: Place = ""
    wish: Wish = ""
    agreed: tuple[Agreed, ...] = ()


@dataclass(frozen=True, slots=True)
class Tariff(Record):
    """What a tariff leaf says of a point: net prices, and VAT in millionths.

    ``tariff_version`` is the SHA-256 of what was agreed upon. Where ``imbalance`` is there, the
    residual costs and earns it in place of energy and feed-in. Without local fees by level there
    is one for all local energy.
    """

    energy_micro_per_kwh: int
    feed_in_micro_per_kwh: int
    grid_fee_micro_per_kwh: Natural
    levy_micro_per_kwh: Natural
    local_grid_fee_micro_per_kwh: Natural
    vat_ppm: Annotated[int, range(1_000_001)]
    imbalance_micro_per_kwh: int | None = None
    local_fee_building_micro_per_kwh: Natural | None = None
    local_fee_feeder_micro_per_kwh: Natural | None = None
    tariff_version: Annotated[str, re.compile(r"[0-9a-f]{64}")] = ""
    tax_micro_per_kwh: Natural = 0

    @property
    def local_fees(self) -> tuple[int, int, int]:
        """The fee on local energy by how far it comes: from building, feeder, district."""
        near = (self.local_fee_building_micro_per_kwh, self.local_fee_feeder_micro_per_kwh)
        far = self.local_grid_fee_micro_per_kwh
        building, feeder = (far if fee is None else fee for fee in near)
        return building, feeder, far

    @property
    def by_level(self) -> bool:
        """Whether lines tell how far local energy came."""
        near = (self.local_fee_building_micro_per_kwh, self.local_fee_feeder_micro_per_kwh)
        return near != (None, None)

    def nearer(self, level: str) -> int:
        """Return how much less the fee of a level is than that of the district."""
        fees = self.local_fees
        return fees[2] - fees[LEVELS.index(level)]


@dataclass(frozen=True, slots=True)
class Metered(Record):
    """A point's energy in one direction: local + own + residual = metered."""

    direction: Direction
    estimated: Literal[0, 1]
    local_wh: Natural
    own_wh: Natural
    point: Point
    residual_wh: Natural
    wh: Natural


LineKind = Literal[
    "local-buy",
    "local-sell",
    "residual-import",
    "residual-export",
    "local-fee",
    "local-fee-feeder",
    "local-fee-building",
    "grid-fee",
    "levy",
    "tax",
    "vat",
]
LOCAL: Final = ("local-buy", "local-sell")
NEARER: Final = ("local-fee-feeder", "local-fee-building")


@dataclass(frozen=True, slots=True)
class Line(Record):
    """One line of a statement, or of a correction's difference; micro > 0 is earned."""

    kind: LineKind
    micro: int
    point: Point
    price_micro_per_kwh: int
    wh: int


@dataclass(frozen=True, slots=True)
class Transfer(Record):
    """What one ledger address gains (or pays, < 0) in an interval."""

    address: Hash
    micro: int


@dataclass(frozen=True, slots=True)
class Statement(Record):
    """A participant's account of one interval."""

    closing_carry_micro: int
    district: Origin
    interval: IntervalKey
    lines: tuple[Line, ...]
    memo_micro: int
    metered: tuple[Metered, ...]
    opening_carry_micro: int
    participant: str
    sum_micro: int
    transfers: tuple[Transfer, ...]


@dataclass(frozen=True, slots=True)
class Delta(Record):
    """What a version of a correction makes of a point: its energies, and the lines' difference.

    ``file`` is the SHA-256 of the file of authorised values that it rests on; left out where it
    rests on readings.
    """

    district: Origin
    export_wh: Natural
    import_wh: Natural
    interval: IntervalKey
    lines: tuple[Line, ...]
    point: Point
    version: Positive
    file: Hash = b""


@dataclass(frozen=True, slots=True)
class Value(Record):
    """What the leaf of an authorised value says; it stands where a slot as sealed stood."""

    district: Origin
    export_wh: Natural
    file: Hash
    import_wh: Natural
    interval: IntervalKey
    point: Point
    version: Positive


@dataclass(frozen=True, slots=True)
class CorrectionEntry(Record):
    """The log entry ``correction``; ``delta_root`` is the hash of the delta's leaf."""

    delta_root: Hash
    district: Origin
    interval: IntervalKey
    new_leaf: Hash
    old_leaf: Hash
    reason: str
    slot: Natural


@dataclass(frozen=True, slots=True)
class Counts(Record):
    """How many of each stand behind a seal."""

    estimated: Natural
    missing: Natural
    orders: Natural
    readings: Natural
    statements: Natural
    trades: Natural


@dataclass(frozen=True, slots=True)
class HubPrice(Record):
    """What energy of one product cost at one place, where an interval has several prices."""

    level: Literal["building", "feeder", "district"]
    price_micro_per_kwh: int
    product: Literal["any", "green"]
    place: Place = ""

    def holds(self, place: str) -> bool:
        """Tell whether a place is the hub's own, or below it."""
        return not self.place or f"{place}/".startswith(f"{self.place}/")


@dataclass(frozen=True, slots=True)
class Seal(Record):
    """The log entry ``seal``: everything of one interval in a few hashes.

    ``hub_prices`` are all prices of an interval in which places or products mattered; ``price``
    is null where they differ. ``fallback`` marks an interval that mid-market closed, since its
    own rule gave no answer. ``mode`` is left out in the metered market.
    """

    clock: Literal["real", "simulated"]
    counts: Counts
    district: Origin
    engine_version: str
    interval: IntervalKey
    late_root: Hash
    order_root: Hash
    price: int | None
    roster_root: Hash
    roster_size: Natural
    rule: str
    settlement_root: Hash
    tariff_hash: Hash
    tree_root: Hash
    fallback: Literal[0, 1] = 0
    hub_prices: tuple[HubPrice, ...] = ()
    mode: Literal["", "forward", "sharing"] = ""

    @property
    def pays_as_bid(self) -> bool:
        """Whether each buyer pays their own limit: where neither a session nor mid-market did."""
        return self.rule == "pay-as-bid" and not (self.fallback or self.mode)


@dataclass(frozen=True, slots=True)
class Head(Record):
    """Size and root of a log."""

    root: Hash
    size: Natural


@dataclass(frozen=True, slots=True)
class AnchorData(Record):
    """The data of an anchoring block."""

    note: str
    previous: Head | None


@dataclass(frozen=True, slots=True)
class Sibling(Record):
    """One step of a ledger path, bottom up: the neighbour's hash and its side."""

    hash: Hash
    side: Literal["l", "r"]


LedgerPath = tuple[Sibling, ...]


@dataclass(frozen=True, slots=True)
class Anchor(Record):
    """The block with the checkpoint, the milestone payload that refers to it, and the path.

    ``cosignatures`` are signature lines beside the anchored note, sorted: of witnesses, and the
    log's own by ML-DSA-44.
    """

    block: bytes
    milestone: bytes
    path: LedgerPath
    cosignatures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Payment(Record):
    """A transaction's block, what it consumed (in input order), and its applied milestone."""

    block: bytes
    consumed: tuple[bytes, ...]
    milestone: bytes
    path: LedgerPath


@dataclass(frozen=True, slots=True)
class LogEntry(Record):
    """The canonical text of a log entry and its place in the log."""

    entry: str
    index: Natural
    path: AuditPath


@dataclass(frozen=True, slots=True)
class RosterLeaf(Record):
    """The text of a leaf in a tree in roster order: its place is the point's slot."""

    leaf: str
    path: AuditPath


@dataclass(frozen=True, slots=True)
class SaltedLeaf(Record):
    """An order's or statement's text, salt and place in its tree."""

    index: Natural
    leaf: str
    path: AuditPath
    salt: Hash


@dataclass(frozen=True, slots=True)
class Borders(Record):
    """What a slot leaf holds; an absent border is 32 zero bytes."""

    closing: Hash
    count: Uint32
    opening: Hash
    root: Hash


@dataclass(frozen=True, slots=True)
class Slot(Record):
    """A slot of the interval tree; ``borders`` is null for a point that was missing."""

    borders: Borders | None
    path: AuditPath
    salt: Hash


@dataclass(frozen=True, slots=True)
class SignedReading(Record):
    """A reading as it was signed, and the salt of its leaf."""

    payload: str
    salt: Hash
    signature: Signature


@dataclass(frozen=True, slots=True)
class PointProof(Record):
    """All about a point; a second enrolment is that of a closing after a rotation.

    ``epochs`` are the changes that began the border readings' epochs, or left out.
    """

    closing: SignedReading | None
    enrolments: tuple[LogEntry, ...]
    opening: SignedReading | None
    orders: tuple[SaltedLeaf, ...]
    roster: RosterLeaf
    slot: Slot
    tariff: RosterLeaf
    epochs: tuple[LogEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction(Record):
    """A version of one point's correction: its log entry, its delta's text and salt."""

    delta: str
    entry: LogEntry
    salt: Hash


@dataclass(frozen=True, slots=True)
class Corrections(Record):
    """Corrections under a later checkpoint of the log: by point, each from version 1 on."""

    anchor: Anchor
    items: tuple[Correction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementProof(Record):
    """One participant and interval, from the signed readings to the payment."""

    anchor: Anchor
    corrections: Corrections | None = None
    kind: Literal["settlement"] = "settlement"
    payments: tuple[Payment, ...]
    points: tuple[PointProof, ...]
    seal: LogEntry
    statement: SaltedLeaf
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingProof(Record):
    """One reading, from its signature to the ledger.

    ``beacon`` is the payload of the milestone that the reading names, ``epochs`` the change that
    began its epoch; each may be left out.
    """

    anchor: Anchor
    enrolment: LogEntry
    index: Natural
    kind: Literal["reading"] = "reading"
    path: AuditPath
    reading: SignedReading
    roster: RosterLeaf
    seal: LogEntry
    slot: Slot
    version: Literal[1] = 1
    beacon: bytes = b""
    epochs: tuple[LogEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class BareReading(Record):
    """A reading as it was signed, without the salt of a leaf."""

    payload: str
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterEquivocation(Record):
    """Two readings of one number that one meter's key signed; ``entry`` enrols the key."""

    entry: str
    first: BareReading
    kind: Literal["meter-equivocation"] = "meter-equivocation"
    second: BareReading
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedLeaves(Record):
    """All that a seal holds of one point: its slot's reading leaves, and everybody's late ones.

    ``roster`` is the point's own leaf. Without a ``slot`` it is the one or two leaves beside the
    place where the point's would stand, since the roster is sorted by point.
    """

    anchor: Anchor
    kind: Literal["leaves"] = "leaves"
    late: tuple[Hash, ...]
    leaves: tuple[Hash, ...]
    point: Point
    roster: tuple[RosterLeaf, ...]
    seal: LogEntry
    slot: Slot | None
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class LogText(Record):
    """A log entry's kind and canonical text."""

    entry: str
    kind: Annotated[str, re.compile(r"[a-z]{1,32}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsealed(Record):
    """All that the log took in between two anchors: ``entries`` follow on the earlier one.

    ``frontier`` are the hashes of the complete subtrees that the earlier log consists of, the
    largest first.
    """

    after: Anchor
    before: Anchor
    entries: tuple[LogText, ...]
    frontier: tuple[Hash, ...]
    kind: Literal["unsealed"] = "unsealed"
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof(Record):
    """Two signed notes of one log, and the path that shows that the new one only appended."""

    kind: Literal["consistency"] = "consistency"
    new: str
    old: str
    path: AuditPath
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivocation(Record):
    """Two signed notes that cannot be of one log.

    The path shows that ``root`` is what the new note's log had at the old note's size; the old
    note says otherwise. For notes of one size the path is empty and ``root`` the new note's.
    """

    kind: Literal["equivocation"] = "equivocation"
    new: str
    old: str
    path: AuditPath
    root: Hash
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneEquivocation(Record):
    """The payloads (TIP-29, signatures included) of two milestones that have one index."""

    first: bytes
    kind: Literal["milestone-equivocation"] = "milestone-equivocation"
    second: bytes
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Receipt(Record):
    """The promise, given for a reading, that a seal will hold it."""

    index: Natural
    item: str
    key: Key
    path: AuditPath
    root: Hash
    salt: Hash
    signature: Signature
    size: Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptFile(Record):
    """A receipt together with the reading that it was given for, as a gateway keeps them."""

    kind: Literal["receipt"] = "receipt"
    reading: BareReading
    receipt: Receipt
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class ReceiptItem(Record):
    """What is promised: this leaf, in the seal of that interval, by the deadline (UTC ms)."""

    deadline: Natural
    district: Origin
    leaf: Hash
    seal_interval: IntervalKey


@dataclass(frozen=True, slots=True)
class MilestoneKey(Record):
    """A key that may sign milestones of these indexes (``to_index`` null: without end)."""

    from_index: Natural
    key: Key
    to_index: Natural | None

    def holds_for(self, index: int) -> bool:
        """Tell whether the key may sign the milestone of this index."""
        return self.from_index <= index and (self.to_index is None or index <= self.to_index)


@dataclass(frozen=True, slots=True)
class Milestones(Record):
    """How many distinct pinned keys have to sign a milestone."""

    keys: tuple[MilestoneKey, ...]
    threshold: Positive


@dataclass(frozen=True, slots=True)
class Witness(Record):
    """A witness: its key, and the name by which a signature line calls it."""

    key: Key
    name: KeyName


@dataclass(frozen=True, slots=True)
class Witnesses(Record):
    """How many distinct witnesses have to cosign a checkpoint."""

    keys: tuple[Witness, ...]
    threshold: Natural


@dataclass(frozen=True, slots=True)
class Keys(Record):
    """KEYS: what the reader of a proof trusts, pinned beforehand."""

    log: tuple[Key, ...]
    milestones: Milestones
    mldsa: tuple[MldsaKey, ...]
    origin: Origin
    receipts: tuple[Key, ...]
    registry: tuple[Key, ...]
    version: Literal[1]
    witnesses: Witnesses


@dataclass(frozen=True, slots=True)
class LedgerKeys(Record):
    """KEYS of milestones only: enough to judge a raw proof of inclusion."""

    milestones: Milestones
    version: Literal[1]


# --- Hashes, leaves, signatures -----------------------------------------------------------------


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162 section 2.1.1)."""
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 9162 section 2.1.1)."""
    return sha256(b"\1" + left + right).digest()


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that an audit path leads to from a leaf hash (RFC 9162 section 2.1.3.2).

    Raises:
        PathError: the path's length does not fit, or a hash is not 32 bytes.
    """
    if not 0 <= index < size:
        raise PathError(f"there is no leaf {index} in a tree of {size}")
    if len(path) > MAX_PATH or any(len(item) != HASH_SIZE for item in (leaf, *path)):
        raise PathError("the path is too long, or one of its hashes is not 32 bytes")
    first, last, found = index, size - 1, leaf
    for item in path:
        if last == 0:
            raise PathError(f"the path is too long for a tree of {size}")
        if first & 1 or first == last:
            found = node_hash(item, found)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            found = node_hash(found, item)
        first, last = first >> 1, last >> 1
    if last:
        raise PathError(f"the path is too short for a tree of {size}")
    return found


def verify_consistency(
    old_size: int, size: int, path: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """Tell whether the tree of ``old_size`` is a prefix of that of ``size`` (section 2.1.4.2).

    Equal sizes need equal roots and an empty path; size 0 proves nothing and is refused.
    """
    if any(len(item) != HASH_SIZE for item in (old_root, new_root, *path)):
        return False
    if not 1 <= old_size <= size:
        return False
    if old_size == size:
        return not path and old_root == new_root
    # A complete old tree is a node of the new one, and then the path leaves it out.
    steps = list(path) if old_size & (old_size - 1) else [old_root, *path]
    return bool(steps) and _both_roots(old_size, size, steps) == (old_root, new_root)


def _both_roots(old_size: int, size: int, steps: list[bytes]) -> tuple[bytes, bytes] | None:
    """Return the two roots that a consistency path leads to; None when its length is wrong."""
    first, last = old_size - 1, size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if first & 1 or first == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            new = node_hash(new, step)
        first, last = first >> 1, last >> 1
    return (old, new) if last == 0 else None


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes (RFC 9162 section 2.1.1); that of no leaves is H("")."""
    return _fold(_grown([], leaves)) if leaves else sha256(b"").digest()


def _grown(peaks: list[tuple[int, bytes]], leaves: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Return the complete subtrees (size, hash) of a tree once leaf hashes are appended."""
    for leaf in leaves:
        peaks.append((1, leaf))
        while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
            (size, right), (_, left) = peaks.pop(), peaks.pop()
            peaks.append((2 * size, node_hash(left, right)))
    return peaks


def _fold(peaks: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the root over complete subtrees, the largest first."""
    *rest, (_, found) = peaks
    for _, left in reversed(rest):
        found = node_hash(left, found)
    return found


def in_tree(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a leaf's bytes stand at a place under a root; a misfit path is refused."""
    return root_from_path(leaf_hash(leaf), index, size, path) == root


def entry_bytes(kind: str, text: str) -> bytes:
    """Return a log entry: its kind's prefix and its canonical text."""
    return f"wattloom-entry-{kind}-v1\0{text}".encode()


def reading_leaf(reading: SignedReading) -> bytes:
    """Return the leaf of a signed reading."""
    return READING_LEAF + reading.salt + reading.payload.encode() + reading.signature


def roster_leaf(text: str) -> bytes:
    """Return the leaf of a roster entry."""
    return ROSTER_LEAF + text.encode()


def order_leaf(salt: bytes, text: str) -> bytes:
    """Return the leaf of an order."""
    return ORDER_LEAF + salt + text.encode()


def statement_leaf(salt: bytes, text: str) -> bytes:
    """Return the leaf of a statement."""
    return STATEMENT_LEAF + salt + text.encode()


def tariff_leaf(point: str, salt: bytes, text: str) -> bytes:
    """Return the leaf of a point's tariff, salted as its slot."""
    return TARIFF_LEAF + salt + point.encode() + text.encode()


def receipt_leaf(item: str) -> bytes:
    """Return the leaf of a receipt's item."""
    return RECEIPT_LEAF + item.encode()


def value_leaf(salt: bytes, text: str) -> bytes:
    """Return the leaf of an authorised value, salted as the slot that it corrects."""
    return VALUE_LEAF + salt + text.encode()


def slot_leaf(point: str, interval: str, salt: bytes, borders: Borders | None) -> bytes:
    """Return the leaf of a point's slot; without borders that of a missing point."""
    named = salt + point.encode() + interval.encode()
    if borders is None:
        return MISSING_LEAF + named
    count = borders.count.to_bytes(4, "big")
    return SLOT_LEAF + named + borders.opening + borders.closing + count + borders.root


def signature_holds(key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a strict Ed25519 signature (libsodium's rules) of 64 bytes is valid."""
    if len(signature) != 64:
        return False  # else the border to the message would be the sender's to move
    try:
        crypto_sign_open(signature + message, key)
    except CryptoError:
        return False
    return True


def mldsa_holds(key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether an ML-DSA-44 signature (FIPS 204, empty context) is valid.

    Raises:
        UnjudgedError: the package cryptography is missing, or too old to know ML-DSA.
    """
    try:
        errors = import_module("cryptography.exceptions")
        means = import_module("cryptography.hazmat.primitives.asymmetric.mldsa")
        known = means.MLDSA44PublicKey
    except (ImportError, AttributeError) as error:
        raise UnjudgedError(f"KEYS pin an ML-DSA key: {NEEDS_MLDSA}") from error
    try:
        known.from_public_bytes(key).verify(signature, message)
    except errors.InvalidSignature:
        return False
    except errors.UnsupportedAlgorithm as error:
        raise UnjudgedError(f"KEYS pin an ML-DSA key: {NEEDS_MLDSA}") from error
    return True


def key_is_sound(key: bytes) -> bool:
    """Tell whether a public key is a canonical point of the main group, not of small order."""
    return crypto_core_ed25519_is_valid_point(key)


# --- The checkpoint note (C2SP signed-note) and its anchor --------------------------------------


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's origin, size and root."""

    origin: str
    size: int
    root: bytes


def note_body(checkpoint: Checkpoint) -> str:
    """Return the text that a note's signatures cover."""
    root = b64encode(checkpoint.root).decode()
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"


def key_id(name: str, key: bytes, kind: bytes = ED25519) -> bytes:
    """Return the four bytes by which a signature line names its key."""
    return sha256(name.encode() + b"\n" + kind + key).digest()[:4]


def anchor_tag(origin: str) -> bytes:
    """Return the tag of the blocks that anchor an origin's checkpoints (41 bytes)."""
    return b"wattloom/" + sha256(origin.encode()).digest()


@dataclass(frozen=True, slots=True)
class NoteLine:
    """A signature line of a note: key name, key id and signature, none of them checked yet."""

    name: str
    key_id: bytes
    signature: bytes

    @classmethod
    def read(cls, text: str) -> Self:
        """Return a signature line given without its newline; NoteError when it is none."""
        match = _NOTE_LINE.fullmatch(text)
        if match is None:
            raise NoteError(f"{text!r:.60} is no signature line: a dash, a name and base64")
        blob = _base64(match[2])
        if len(blob) <= 4:
            raise NoteError(f"the signature line of {match[1]} is too short")
        return cls(match[1], blob[:4], blob[4:])

    def __str__(self) -> str:
        return f"\u2014 {self.name} {b64encode(self.key_id + self.signature).decode()}"

    def is_of(self, name: str, key: bytes, kind: bytes) -> bool:
        """Tell whether the line claims to be by this key."""
        return self.name == name and self.key_id == key_id(name, key, kind)


_NOTE_LINE: Final = re.compile(r"\u2014 ([^\s+\x00-\x1f\x7f]+) ([A-Za-z0-9+/=]+)")
_BODY: Final = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,15})\n([^\n]+)\n")


def split_note(text: str) -> tuple[str, tuple[NoteLine, ...]]:
    """Return a signed note's text and its signature lines (C2SP signed-note), not checked yet.

    Raises:
        NoteError: no signature line, too many of them, or control characters.
    """
    body, _, tail = text.rpartition("\n\n")
    lines = tail.removesuffix("\n").split("\n")
    if not body or not tail.endswith("\n") or len(lines) > MAX_NOTE_LINES:
        raise NoteError(f"a note has a text, an empty line and 1 to {MAX_NOTE_LINES} signatures")
    if any(character < " " and character != "\n" for character in body):
        raise NoteError("the note holds control characters")
    return body + "\n", tuple(map(NoteLine.read, lines))


def parse_body(body: str) -> Checkpoint:
    """Return the checkpoint that a note's text says (no extension lines); else NoteError."""
    match = _BODY.fullmatch(body)
    if match is None or not ORIGIN_PATTERN.fullmatch(match[1]):
        raise NoteError("the note's text is not a checkpoint: origin, size and root, a line each")
    return Checkpoint(match[1], int(match[2]), _base64(match[3], HASH_SIZE))


def parse_note(text: str) -> tuple[Checkpoint, bytes, bytes]:
    """Return a note's checkpoint, its key id and its signature, none of them checked yet.

    Raises:
        NoteError: not a checkpoint with exactly one signature line of the origin's name.
    """
    body, lines = split_note(text)
    checkpoint = parse_body(body)
    if [line.name for line in lines] != [checkpoint.origin] or len(lines[0].signature) != 64:
        raise NoteError("the note is not a checkpoint with one signature line of its origin")
    return checkpoint, lines[0].key_id, lines[0].signature


def open_note(text: str, origin: str, pinned: Sequence[bytes]) -> Checkpoint:
    """Return the checkpoint of a note of ``origin`` that one of the pinned log keys signed.

    Raises:
        NoteError: malformed, of another origin, or not signed by a pinned key.
    """
    checkpoint, name, signature = parse_note(text)
    if checkpoint.origin != origin:
        raise NoteError(f"the checkpoint is of {checkpoint.origin}, KEYS are of {origin}")
    body = note_body(checkpoint).encode()
    for key in pinned:
        if key_id(origin, key) == name and signature_holds(key, body, signature):
            return checkpoint
    raise NoteError("the checkpoint's signature is by no pinned log key, or is wrong")


def open_cosignature(
    text: str, checkpoint: Checkpoint, pinned: Sequence[Witness]
) -> tuple[Witness, int]:
    """Return which pinned witness made a signature line, and when it says so (UTC seconds).

    It says that no larger log of this origin was shown to the witness by then, and that all that
    were are consistent (C2SP tlog-cosignature, cosignature/v1).

    Raises:
        NoteError: by no pinned witness, or wrong.
    """
    line = NoteLine.read(text)
    time_s, signature = int.from_bytes(line.signature[:8], "big"), line.signature[8:]
    message, dated = cosigned(note_body(checkpoint), time_s), 0 < time_s < 2**63
    for witness in pinned:
        ours = dated and line.is_of(witness.name, witness.key, COSIGNATURE)
        if ours and signature_holds(witness.key, message, signature):
            return witness, time_s
    raise NoteError(f"the cosignature of {line.name} is by no pinned witness, or is wrong")


def cosigned(body: str, time_s: int) -> bytes:
    """Return what a witness signs of a note's text (C2SP tlog-cosignature, cosignature/v1)."""
    return f"cosignature/v1\ntime {time_s}\n{body}".encode()


def open_mldsa(text: str, checkpoint: Checkpoint, pinned: Sequence[bytes]) -> bytes:
    """Return the pinned ML-DSA-44 key with which the log itself made a signature line.

    Raises:
        NoteError: by no pinned key, or wrong.
        UnjudgedError: the means are missing.
    """
    line = NoteLine.read(text)
    time_s, signature = int.from_bytes(line.signature[:8], "big"), line.signature[8:]
    for key in pinned:
        ours = line.is_of(checkpoint.origin, key, MLDSA) and time_s < 2**63
        if ours and mldsa_holds(key, mldsa_message(checkpoint, time_s), signature):
            return key
    raise NoteError("the log's ML-DSA-44 signature is by no pinned key, or is wrong")


def mldsa_message(checkpoint: Checkpoint, time_s: int) -> bytes:
    """Return what the log's ML-DSA-44 key signs, the cosigner's name being the origin.

    C2SP tlog-cosignature, ``cosigned_message``; time 0 makes no statement about time.
    """
    origin = checkpoint.origin.encode()
    named = bytes([len(origin)]) + origin
    numbers = bytes(8) + checkpoint.size.to_bytes(8, "big")
    return b"subtree/v1\n\0" + named + time_s.to_bytes(8, "big") + named + numbers + checkpoint.root


def _base64(text: str, size: int | None = None) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except ValueError as error:
        raise NoteError(f"the note holds bad base64: {error}") from error
    if size not in (None, len(data)) or b64encode(data).decode() != text:
        raise NoteError(f"the note's base64 is not canonical or not of {size} bytes")
    return data


# --- The ledger's bytes (Stardust: TIP-4, 18, 20, 23, 24, 29) -----------------------------------


def blake(data: bytes) -> bytes:
    """Return the ledger's hash of bytes."""
    return blake2b(data, digest_size=HASH_SIZE).digest()


class Cursor:
    """Takes little-endian fields off bytes, refusing what is short, surplus or unexpected."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._at, self._what = data, 0, what

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        self._at += size
        if self._at > len(self._data):
            raise BlockError(f"{self._what} ends too early")
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        """Return the next unsigned integer."""
        return int.from_bytes(self.take(size), "little")

    def expect(self, size: int, value: int, name: str) -> None:
        """Refuse unless the next integer is ``value``."""
        found = self.number(size)
        if found != value:
            raise BlockError(f"{self._what}: {name} is {found}, not {value}")

    def count(self, size: int, least: int, most: int) -> range:
        """Return a range over the next integer, a count within its limits."""
        found = self.number(size)
        if not least <= found <= most:
            raise BlockError(f"{self._what}: {found} items, not {least} to {most}")
        return range(found)

    def here(self) -> int:
        """Return how many bytes were taken."""
        return self._at

    def end(self) -> None:
        """Refuse surplus bytes."""
        if self._at != len(self._data):
            raise BlockError(f"{self._what} has surplus bytes")


def block_payload(block: bytes) -> bytes:
    """Return the payload of a block (TIP-24)."""
    cursor = Cursor(block, "block")
    cursor.expect(1, 2, "protocol version")
    for _ in cursor.count(1, 1, 8):
        cursor.take(HASH_SIZE)
    payload = cursor.take(cursor.number(4))
    cursor.take(8)
    cursor.end()
    return payload


def tagged_data(payload: bytes) -> tuple[bytes, bytes]:
    """Return tag and data of a tagged-data payload (TIP-23)."""
    cursor = Cursor(payload, "tagged data")
    cursor.expect(4, 5, "payload type")
    tag, data = cursor.take(cursor.number(1)), cursor.take(cursor.number(4))
    cursor.end()
    return tag, data


@dataclass(frozen=True, slots=True)
class Milestone:
    """A milestone's essence (TIP-29) and its signatures, none of them checked yet."""

    index: int
    timestamp_s: int
    inclusion_root: bytes
    applied_root: bytes
    digest: bytes
    signatures: tuple[tuple[bytes, bytes], ...]

    def __str__(self) -> str:
        return f"milestone {self.index} of {_moment(self.timestamp_s * 1000)}"


def parse_milestone(payload: bytes) -> Milestone:
    """Return the milestone of a payload (protocol parameter options are not allowed)."""
    cursor = Cursor(payload, "milestone")
    cursor.expect(4, 7, "payload type")
    index, timestamp = cursor.number(4), cursor.number(4)
    cursor.expect(1, 2, "protocol version")
    cursor.take(HASH_SIZE)
    for _ in cursor.count(1, 1, 8):
        cursor.take(HASH_SIZE)
    inclusion, applied = cursor.take(HASH_SIZE), cursor.take(HASH_SIZE)
    cursor.take(cursor.number(2))
    cursor.expect(1, 0, "number of options")
    digest = blake(payload[4 : cursor.here()])
    signatures = []
    for _ in cursor.count(1, 1, 255):
        cursor.expect(1, 0, "signature type")
        signatures.append((cursor.take(32), cursor.take(64)))
    cursor.end()
    return Milestone(index, timestamp, inclusion, applied, digest, tuple(signatures))


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a transaction payload (TIP-20) moves; its unlocks are the milestone's business."""

    commitment: bytes
    outputs: tuple[Transfer, ...]
    tag: bytes
    data: bytes


def parse_transaction(payload: bytes) -> Transaction:
    """Return a transaction of basic outputs that carries tagged data."""
    cursor = Cursor(payload, "transaction")
    cursor.expect(4, 6, "payload type")
    cursor.expect(1, 1, "essence type")
    cursor.take(8)
    for _ in cursor.count(2, 1, 128):
        cursor.expect(1, 0, "input type")
        cursor.take(HASH_SIZE + 2)
    commitment = cursor.take(HASH_SIZE)
    outputs = tuple(_output(cursor) for _ in cursor.count(2, 1, 128))
    tag, data = tagged_data(cursor.take(cursor.number(4)))
    return Transaction(commitment, outputs, tag, data)


def parse_output(data: bytes) -> Transfer:
    """Return the address and amount of a basic output's bytes (TIP-18)."""
    cursor = Cursor(data, "consumed output")
    output = _output(cursor)
    cursor.end()
    return output


def _output(cursor: Cursor) -> Transfer:
    cursor.expect(1, 3, "output type")
    amount = cursor.number(8)
    cursor.expect(1, 0, "number of native tokens")
    cursor.expect(1, 1, "number of unlock conditions")
    cursor.expect(1, 0, "unlock condition")
    cursor.expect(1, 0, "address type")
    address = cursor.take(HASH_SIZE)
    cursor.expect(1, 0, "number of features")
    return Transfer(address, amount)


def ledger_root(block_id: bytes, path: LedgerPath) -> bytes:
    """Return the root that a path leads to from a block id (TIP-4, BLAKE2b-256)."""
    if len(path) > MAX_PATH:
        raise PathError("the path on the ledger is too long")
    found = blake(b"\0" + block_id)
    for item in path:
        pair = item.hash + found if item.side == "l" else found + item.hash
        found = blake(b"\1" + pair)
    return found


# --- A raw proof of inclusion (inx-poi JSON) ----------------------------------------------------


def poi_path(node: object, depth: int = 0) -> tuple[bytes, LedgerPath]:
    """Return block id and flat path (bottom up) of an inx-poi proof node.

    Raises:
        LayoutError: not such a node, or not exactly one ``value`` in it.
    """
    if not isinstance(node, dict) or depth > MAX_PATH:
        raise LayoutError("the path is not a tree of l, r, h and value, or is too deep")
    if node.keys() == {"value"}:
        return _poi_hash(node["value"]), ()
    if node.keys() != {"l", "r"}:
        raise LayoutError("a node of the path needs l and r, or value alone")
    side: Literal["l", "r"] = "l" if _is_poi_hash(node["l"]) else "r"
    sibling, inner = (node["l"], node["r"]) if side == "l" else (node["r"], node["l"])
    if not _is_poi_hash(sibling):
        raise LayoutError("a node of the path needs a hash on one side")
    value, path = poi_path(inner, depth + 1)
    return value, (*path, Sibling(_poi_hash(sibling["h"]), side))


def _is_poi_hash(node: object) -> bool:
    return isinstance(node, dict) and node.keys() == {"h"}


def _poi_bytes(value: object, size: int | None = None) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"0x(?:[0-9a-f]{2})*", value):
        raise LayoutError(f"{value!r:.40} is not lowercase hex after 0x")
    data = bytes.fromhex(value[2:])
    if size is not None and len(data) != size:
        raise LayoutError(f"{value!r:.80} is not {size} bytes")
    return data


def _poi_hash(value: object) -> bytes:
    return _poi_bytes(value, HASH_SIZE)


def _poi_number(value: object, size: int) -> bytes:
    text = str(value) if type(value) in (int, str) else ""
    if not re.fullmatch(r"0|[1-9][0-9]{0,19}", text) or int(text) >> 8 * size:
        raise LayoutError(f"{value!r:.40} is not an unsigned integer of {size} bytes")
    return int(text).to_bytes(size, "little")


def _poi_fields(value: object, names: str, optional: str = "") -> dict[str, object]:
    known, spare = set(names.split()), set(optional.split())
    if not isinstance(value, dict) or not known <= value.keys() <= known | spare:
        raise LayoutError(f"an object of the proof needs exactly: {names} {optional}")
    return value


def _poi_hashes(value: object) -> bytes:
    if not isinstance(value, list) or len(value) > 255:
        raise LayoutError("parents have to be an array")
    return bytes([len(value)]) + b"".join(_poi_hash(item) for item in value)


def poi_milestone(value: object) -> bytes:
    """Return the payload bytes of a milestone in the ledger's JSON."""
    names = (
        "type index timestamp protocolVersion previousMilestoneId parents inclusionMerkleRoot "
        "appliedMerkleRoot signatures"
    )
    found = _poi_fields(value, names, "metadata options")
    metadata = _poi_bytes(found.get("metadata", "0x"))
    if found.get("options", []) != [] or not isinstance(found["signatures"], list):
        raise UnjudgedError("a milestone with options is beyond this verifier: ask a ledger node")
    parts = [
        _poi_number(found["type"], 4),
        _poi_number(found["index"], 4),
        _poi_number(found["timestamp"], 4),
        _poi_number(found["protocolVersion"], 1),
        _poi_hash(found["previousMilestoneId"]),
        _poi_hashes(found["parents"]),
        _poi_hash(found["inclusionMerkleRoot"]),
        _poi_hash(found["appliedMerkleRoot"]),
        _poi_number(len(metadata), 2) + metadata + b"\0",
        _poi_number(len(found["signatures"]), 1),
    ]
    for item in found["signatures"]:
        signed = _poi_fields(item, "type publicKey signature")
        parts.append(_poi_number(signed["type"], 1))
        parts.append(_poi_bytes(signed["publicKey"], 32) + _poi_bytes(signed["signature"], 64))
    return b"".join(parts)


def poi_block(value: object) -> bytes:
    """Return the bytes of a block in the ledger's JSON: with tagged data or without a payload."""
    found = _poi_fields(value, "protocolVersion parents nonce", "payload")
    payload = b""
    if found.get("payload") is not None:
        if not isinstance(found["payload"], dict) or found["payload"].get("type") != 5:
            raise UnjudgedError("only blocks with tagged data are judged from JSON")
        data = _poi_fields(found["payload"], "type", "tag data")
        tag, body = _poi_bytes(data.get("tag", "0x")), _poi_bytes(data.get("data", "0x"))
        payload = _poi_number(5, 4) + _poi_number(len(tag), 1) + tag
        payload += _poi_number(len(body), 4) + body
    head = _poi_number(found["protocolVersion"], 1) + _poi_hashes(found["parents"])
    return head + _poi_number(len(payload), 4) + payload + _poi_number(found["nonce"], 8)


# --- Report and KEYS ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One check: its name, whether it held, and what it found in plain words."""

    name: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Exit code (0 holds, 1 does not, 2 could not be judged), the checks, and remarks."""

    code: int
    steps: tuple[Step, ...]
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """Collects the steps; a refusal is put down to the step that was begun last."""

    steps: list[Step] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    current: str = "file"

    def begin(self, name: str) -> None:
        """Name the step that the next checks belong to."""
        self.current = name

    def tick(self, text: str) -> None:
        """Note that the current step holds."""
        self.steps.append(Step(self.current, ok=True, text=text))

    def remark(self, text: str) -> None:
        """Add a remark once."""
        if text not in self.remarks:
            self.remarks.append(text)

    def judge(self, checks: Callable[[], None]) -> Verdict:
        """Run checks to the end or to the first that fails."""
        code = 0
        try:
            checks()
        except VerifyError as error:
            code = 1 if isinstance(error, RefusedError) else 2
            self.steps.append(Step(self.current, ok=False, text=str(error)))
        except RecursionError:
            code = 1
            self.steps.append(Step(self.current, ok=False, text="it is nested too deeply"))
        return Verdict(code, tuple(self.steps), tuple(self.remarks))


def load_keys(data: bytes) -> Keys | LedgerKeys:
    """Return KEYS, full or of milestones only.

    Raises:
        UnjudgedError: unreadable, of unsound keys, or demanding what this verifier cannot check.
    """
    if len(data) > MAX_FILE_BYTES:
        raise UnjudgedError(f"KEYS are larger than {MAX_FILE_BYTES} bytes")
    try:
        value = parse_json(data)
        short = isinstance(value, dict) and value.keys() == {"milestones", "version"}
        if isinstance(value, dict) and not short:
            value.setdefault("mldsa", [])  # KEYS from before there was such a key stay good
        keys = LedgerKeys.load(value, "KEYS") if short else Keys.load(value, "KEYS")
    except RefusedError as error:
        raise UnjudgedError(f"KEYS cannot be read: {error}") from error
    for flaw in _flaws(keys):
        raise UnjudgedError(f"KEYS {flaw}")
    return keys


def _flaws(keys: Keys | LedgerKeys) -> Iterator[str]:
    """Say what is wrong with KEYS that can be read."""
    milestones = keys.milestones
    pinned = {item.key for item in milestones.keys}
    flat = [*pinned]
    if isinstance(keys, Keys):
        witnesses = keys.witnesses.keys
        flat += [*keys.log, *keys.receipts, *keys.registry, *(item.key for item in witnesses)]
        if not keys.log or not keys.registry:
            yield "pin no log key or no registry key: ask the district for them"
        if keys.witnesses.threshold > len({item.name for item in witnesses}):
            yield "ask for more cosignatures than they pin witnesses"
        if len(set(keys.mldsa)) != len(keys.mldsa):
            yield "pin one ML-DSA key twice"
    if len(set(flat)) != len(flat):
        yield "give one key two roles: keys of distinct roles are distinct"
    if not all(map(key_is_sound, flat)):
        yield "hold a key that is no sound Ed25519 point"
    if milestones.threshold > len(pinned):
        yield "ask for more milestone signatures than they pin keys"
    if not all(item.holds_for(item.from_index) for item in milestones.keys):
        yield "hold a milestone key whose last index is before its first"


# --- The steps ----------------------------------------------------------------------------------


def check_milestone(payload: bytes, pinned: Milestones) -> Milestone:
    """Return a milestone that enough distinct pinned keys, and no other key, have signed."""
    found = parse_milestone(payload)
    valid = {key.key for key in pinned.keys if key.holds_for(found.index)}
    signers = [key for key, _ in found.signatures]
    require(signers == sorted(set(signers)), "a key signs the milestone twice, or out of order")
    for key, signature in found.signatures:
        require(key in valid, f"milestone {found.index} is signed by the unknown {key.hex()}")
        sound = signature_holds(key, found.digest, signature)
        require(sound, f"the signature of {key.hex()} on milestone {found.index} is wrong")
    have, need = len(signers), pinned.threshold
    require(have >= need, f"milestone {found.index} has {have} of {need} needed signatures")
    return found


def enrolment_kind(text: str) -> Literal["enrol", "rotate"]:
    """Return which kind of log entry an enrolment's text is: one that is handed over rotates."""
    value = parse(text.encode())
    return "rotate" if isinstance(value, dict) and "handover" in value else "enrol"


def check_enrolment(text: str, keys: Keys) -> tuple[Enrolment, EnrolEntry | RotateEntry]:
    """Return the enrolment of a log entry ``enrol`` or ``rotate``, all signatures checked.

    Raises:
        RefusedError: of another district, of a key that cannot be a meter's, or not signed by
            the meter, a pinned registry key and, in a rotation, the old key.
    """
    rotates = enrolment_kind(text) == "rotate"
    entry = RotateEntry.read(text) if rotates else EnrolEntry.read(text)
    found = Enrolment.read(entry.enrolment)
    require(found.district == keys.origin, f"it is of district {found.district}")
    require(key_is_sound(found.key), "the enrolled key is no sound Ed25519 point")
    others = (*keys.log, *keys.receipts, *keys.registry)
    require(found.key not in others, "the enrolled key is one of the district's own keys")
    message = ENROL_PREFIX + entry.enrolment.encode()
    owned = signature_holds(found.key, message, entry.possession)
    require(owned, f"meter {found.serial} did not sign its enrolment")
    granted = any(signature_holds(key, message, entry.registry) for key in keys.registry)
    require(granted, f"no pinned registry key signed the enrolment of {found.serial}")
    if isinstance(entry, RotateEntry):
        apart = entry.old != found.key and key_is_sound(entry.old) and entry.old not in others
        require(apart, f"the old key of {found.serial} is no meter's other key")
        handover = ROTATE_PREFIX + entry.enrolment.encode()
        handed = signature_holds(entry.old, handover, entry.handover)
        require(handed, f"the old key of meter {found.serial} did not sign its rotation")
    return found, entry


def check_epoch(text: str, keys: Keys) -> EpochChange:
    """Return the change of a log entry ``epoch``, its signature checked.

    Raises:
        RefusedError: of another district, of no new epoch, or not signed by a pinned registry key.
    """
    entry = EpochEntry.read(text)
    found = EpochChange.read(entry.change)
    require(found.district == keys.origin, f"it is of district {found.district}")
    same = found.old.key == found.new.key
    require(not same or found.new.epoch > found.old.epoch, "it begins no new epoch")
    message = EPOCH_PREFIX + entry.change.encode()
    granted = any(signature_holds(key, message, entry.registry) for key in keys.registry)
    require(granted, f"no pinned registry key signed the change of {found.new.serial}")
    return found


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a point after so many corrections: its newest leaf, its energies in Wh."""

    version: int
    leaf: bytes
    import_wh: int
    export_wh: int


@dataclass(frozen=True, slots=True)
class PointFacts:
    """What the proof of a point established."""

    point: str
    slot: int
    slot_hash: bytes
    salt: bytes
    tariff: Tariff
    opening: Reading | None
    closing: Reading | None
    orders: tuple[Order, ...]

    def registers(self, direction: Direction) -> tuple[int | None, int | None] | None:
        """Return a register at both borders; None when a border was not read."""
        if self.opening is None or self.closing is None:
            return None
        if direction == "import":
            return self.opening.import_wh, self.closing.import_wh
        return self.opening.export_wh, self.closing.export_wh


class LogWalk:
    """The way from the pinned keys down to a checkpoint of the log."""

    def __init__(self, keys: Keys, report: Report) -> None:
        self.keys, self.report = keys, report

    def head(self, anchor: Anchor) -> tuple[Milestone, Checkpoint]:
        """Return the checkpoint of an anchor, and the milestone that refers to it."""
        return self._anchored(anchor), self._checkpoint(anchor)

    def _anchored(self, anchor: Anchor) -> Milestone:
        self.report.begin("milestone")
        found = check_milestone(anchor.milestone, self.keys.milestones)
        self.report.tick(f"{found}; pinned keys that signed it: {len(found.signatures)}")
        self.report.begin("anchor")
        block = blake(anchor.block)
        held = ledger_root(block, anchor.path) == found.inclusion_root
        require(held, f"block {block.hex()} is not among those of milestone {found.index}")
        self.report.tick(f"block {block.hex()[:16]}... is referenced by it")
        return found

    def _checkpoint(self, anchor: Anchor) -> Checkpoint:
        self.report.begin("checkpoint")
        tag, data = tagged_data(block_payload(anchor.block))
        origin = self.keys.origin
        require(tag == anchor_tag(origin), f"the block's tag is not that of {origin}")
        content = AnchorData.read(data)
        found = open_note(content.note, origin, self.keys.log)
        grown = content.previous is None or content.previous.size <= found.size
        require(grown, "the checkpoint is smaller than the one before it")
        self.report.tick(f"a pinned key of {origin} signed the log of {_count(found.size)} entries")
        self._cosigned(anchor.cosignatures, found)
        return found

    def _cosigned(self, lines: Sequence[str], found: Checkpoint) -> None:
        """Check what stands beside the note: none but pinned keys, and as many as KEYS demand."""
        require([*lines] == sorted(set(lines)), "a cosignature stands twice or out of order")
        pinned, signers = self.keys.witnesses, []
        own = [text for text in lines if self._is_own(NoteLine.read(text))]
        for text in own:
            signers.append(open_mldsa(text, found, self.keys.mldsa))
            self.report.tick("the log's pinned ML-DSA-44 key signed it, too")
        require(own or not self.keys.mldsa, "KEYS demand an ML-DSA-44 signature, there is none")
        names = set()
        for text in (text for text in lines if text not in own):
            witness, time_s = open_cosignature(text, found, pinned.keys)
            self.report.tick(f"witness {witness.name} cosigned it at {_moment(time_s * 1000)}")
            signers.append(witness.key)
            names.add(witness.name)
        require(len(set(signers)) == len(signers), "one key cosigned the checkpoint twice")
        need = pinned.threshold
        require(len(names) >= need, f"{len(names)} of {need} needed witnesses cosigned it")
        if not names:
            why = "No witness cosigned it" if pinned.keys else "No witness is pinned"
            self.report.remark(f"{why}: that others are shown another log is not excluded.")

    def _is_own(self, line: NoteLine) -> bool:
        return any(line.is_of(self.keys.origin, key, MLDSA) for key in self.keys.mldsa)


class Walk(LogWalk):
    """The way on to the seal, which all kinds of proof share."""

    def __init__(self, anchor: Anchor, seal: LogEntry, keys: Keys, report: Report) -> None:
        super().__init__(keys, report)
        self.milestone, self.checkpoint = self.head(anchor)
        self.seal = self._seal(seal)
        self.start_ms = _start_ms(self.seal.interval)
        self.end_ms = self.start_ms + INTERVAL_MS

    def in_time(self) -> None:
        """Check that the anchor of a real interval came within its deadline."""
        self.report.begin("time")
        if self.seal.clock == "simulated":
            self.report.remark("The district's clock is simulated: times are not judged.")
            return
        late_s = self.milestone.timestamp_s - self.end_ms // 1000
        require(late_s >= 0, "the anchor is older than the end of the interval it seals")
        late, most = _count(late_s), _count(ANCHOR_DEADLINE_S)
        says = f"anchored {late} s after the interval's end, {most} s are allowed"
        require(late_s <= ANCHOR_DEADLINE_S, says)
        self.report.tick(says)

    def entry(self, item: LogEntry, kind: str, log: Checkpoint | None = None) -> None:
        """Check that an entry is in the log of the anchored checkpoint, or of ``log``."""
        leaf, log = entry_bytes(kind, item.entry), log or self.checkpoint
        held = in_tree(leaf, item.index, log.size, item.path, log.root)
        require(held, f"{kind} entry {item.index} is not in the log")

    def _seal(self, item: LogEntry) -> Seal:
        self.report.begin("seal")
        self.entry(item, "seal")
        found = Seal.read(item.entry)
        require(found.district == self.keys.origin, f"the seal is of district {found.district}")
        check_prices(found)
        self.report.tick(f"entry {item.index} of the log seals the interval {found.interval}")
        return found

    def enrolment(self, item: LogEntry) -> Enrolment:
        """Return an enrolment that meter and registry signed and that the log holds."""
        self.report.begin("enrolment")
        self.entry(item, enrolment_kind(item.entry))
        found, entry = check_enrolment(item.entry, self.keys)
        by = ""
        if isinstance(entry, RotateEntry):
            by = f", a rotation that its old key {entry.old.hex()[:16]}... signed as well"
            self.report.remark("Whose the old key of a rotation was, its own enrolment shows.")
        self.report.tick(
            f"meter {found.serial} speaks for {found.point} from {found.valid_from}{by}"
        )
        return found

    def slot(
        self, roster: RosterLeaf, item: Slot, enrolled: Enrolment, place: int
    ) -> tuple[int, bytes]:
        """Return number and leaf hash of the slot of an enrolment (log entry ``place``)."""
        self.report.begin("roster")
        entry = RosterEntry.read(roster.leaf)
        seal, size = self.seal, self.seal.roster_size
        leaf = roster_leaf(roster.leaf)
        held = in_tree(leaf, entry.slot, size, roster.path, seal.roster_root)
        require(held, f"{entry.point} is not in the sealed roster")
        says = (entry.enrolment, entry.epoch, entry.key, entry.point, entry.valid_from)
        due = (place, enrolled.epoch, enrolled.key, enrolled.point, enrolled.valid_from)
        require(says == due, f"the roster does not name this enrolment of {entry.point}")
        require(entry.valid_from <= seal.interval, "the enrolment is not valid yet")
        self.report.tick(
            f"{entry.point} has slot {entry.slot} in the roster of {_count(size)} points"
        )
        self.report.begin("slot")
        leaf = slot_leaf(entry.point, seal.interval, item.salt, item.borders)
        held = in_tree(leaf, entry.slot, size, item.path, seal.tree_root)
        require(held, f"the slot of {entry.point} is not in the seal")
        what = f"{_count(item.borders.count)} readings" if item.borders else "no reading (missing)"
        self.report.tick(f"the seal holds {what} of {entry.point}")
        return entry.slot, leaf_hash(leaf)

    def epochs(self, items: Sequence[LogEntry]) -> tuple[EpochChange, ...]:
        """Return the changes of epochs that the registry signed and that the log holds."""
        found = []
        for item in items:
            self.report.begin("epoch")
            self.entry(item, "epoch")
            change = check_epoch(item.entry, self.keys)
            self.report.tick(
                f"epoch {change.new.epoch} of meter {change.new.serial} was approved, from "
                f"{_moment(change.from_ms)} on"
            )
            found.append(change)
        return tuple(found)

    def reading(
        self, item: SignedReading, enrolled: Enrolment, epochs: Sequence[EpochChange] = ()
    ) -> Reading:
        """Return a reading that the enrolled meter signed, in its epoch or one approved since."""
        self.report.begin("reading")
        found = Reading.read(item.payload)
        says = (found.district, found.point, found.meter, found.key, found.epoch)
        begun = [
            change.new.epoch
            for change in epochs
            if change.point == enrolled.point
            and change.old.key == change.new.key == enrolled.key
            and change.new.serial == enrolled.serial
            and change.new.epoch == found.epoch > enrolled.epoch
            and change.from_ms <= found.answered_ms
        ]
        meter = (enrolled.serial, enrolled.key, max(begun, default=enrolled.epoch))
        due = (enrolled.district, enrolled.point, *meter)
        require(says == due, f"the reading is not of the enrolled meter {enrolled.serial}")
        require(found.asked_ms <= found.answered_ms, "the reading was answered before it was asked")
        sound = signature_holds(found.key, READING_PREFIX + item.payload.encode(), item.signature)
        require(sound, f"meter {found.meter} did not sign this reading")
        return found

    def reading_sealed(self, reading: Reading) -> None:
        """Tick a reading whose place in the seal is checked."""
        named = (("import", reading.import_wh), ("export", reading.export_wh))
        shown = "".join(f", {name} register {_wh(wh)}" for name, wh in named if wh is not None)
        by = f"signed by meter {reading.meter} at {_moment(reading.answered_ms)}"
        self.report.tick(f"{by}{shown}, quality {reading.quality}, clock {reading.clock}")
        if reading.quality != "measured" or reading.clock not in ("S", "I"):
            self.report.remark("Of this quality or by this clock, a reading settles nothing.")


class PointWalk(Walk):
    """The way on from the seal to points: their border readings and orders."""

    def point(self, item: PointProof) -> PointFacts:
        """Return a point's border readings and orders, all of them in the seal."""
        self.report.begin("enrolment")
        require(1 <= len(item.enrolments) <= 2, "a point needs an enrolment, two at a rotation")
        enrolled = [self.enrolment(entry) for entry in item.enrolments]
        point = enrolled[0].point
        slot, slot_hash = self.slot(item.roster, item.slot, enrolled[0], item.enrolments[0].index)
        tariff = self._tariff(item, point, slot)
        self.report.begin("border")
        if len(enrolled) == 2:
            begins = item.closing is not None and _start_ms(enrolled[1].valid_from) == self.end_ms
            require(begins, "a second enrolment has to begin with, and sign, the closing")
            require(enrolled[1].point == point, "the second enrolment is of another point")
            _, after = check_enrolment(item.enrolments[1].entry, self.keys)
            hands = not isinstance(after, RotateEntry) or after.old == enrolled[0].key
            require(hands, "the rotation was signed by another key than the one before it")
        epochs = self.epochs(item.epochs)
        self.report.begin("border")
        sealed = item.slot.borders or Borders(NO_LEAF, 0, NO_LEAF, NO_LEAF)
        opening = self._border(item.opening, sealed.opening, self.start_ms, enrolled[0], epochs)
        closing = self._border(item.closing, sealed.closing, self.end_ms, enrolled[-1], epochs)
        if opening and closing:
            require(opening.meter == closing.meter, "the borders are of two different meters")
            goes_on = opening.key != closing.key or opening.epoch == closing.epoch
            require(goes_on, "the counters began anew between the borders")
            rotated = (opening.key, opening.epoch) != (closing.key, closing.epoch)
            require(rotated or opening.seq < closing.seq, "the closing was signed first")
        orders = self._orders(item.orders, point)
        return PointFacts(point, slot, slot_hash, item.slot.salt, tariff, opening, closing, orders)

    def _tariff(self, item: PointProof, point: str, slot: int) -> Tariff:
        self.report.begin("tariff")
        found, seal = Tariff.read(item.tariff.leaf), self.seal
        leaf = tariff_leaf(point, item.slot.salt, item.tariff.leaf)
        held = in_tree(leaf, slot, seal.roster_size, item.tariff.path, seal.tariff_hash)
        require(held, f"the seal does not put {point} on this tariff")
        energy, back = _price(found.energy_micro_per_kwh), _price(found.feed_in_micro_per_kwh)
        self.report.tick(f"energy {energy}, feed-in {back}, VAT {found.vat_ppm / 10_000:g} %")
        self.report.remark("That the tariffs are those agreed upon, the contract has to show.")
        return found

    def _border(
        self,
        item: SignedReading | None,
        leaf: bytes,
        border_ms: int,
        enrolled: Enrolment,
        epochs: Sequence[EpochChange],
    ) -> Reading | None:
        self.report.begin("reading")
        border = _moment(border_ms)
        if item is None:
            require(leaf == NO_LEAF, f"the proof lacks the reading at {border}")
            return None
        found = self.reading(item, enrolled, epochs)
        same = leaf_hash(reading_leaf(item)) == leaf
        require(same, f"the sealed reading at {border} is another one")
        self.reading_sealed(found)
        self.report.begin("border")
        late_ms = found.answered_ms - border_ms
        punctual = 0 <= late_ms <= BORDER_LATE_MS
        says = f"{_count(late_ms)} ms after the border {border}"
        require(punctual, f"{says}, 0 to {_count(BORDER_LATE_MS)} count")
        require(found.quality == "measured", f"a reading that is {found.quality} is no border")
        require(found.clock in ("S", "I"), "the meter's clock was not good enough for a border")
        self.report.tick(says)
        return found

    def _orders(self, items: tuple[SaltedLeaf, ...], point: str) -> tuple[Order, ...]:
        self.report.begin("order")
        found = tuple(Order.read(item.leaf) for item in items)
        for item, order in zip(items, found, strict=True):
            leaf, size = order_leaf(item.salt, item.leaf), self.seal.counts.orders
            held = in_tree(leaf, item.index, size, item.path, self.seal.order_root)
            require(held, f"{order.order_id} is not in the sealed book")
            says = (order.district, order.interval, order.point, order.order_id)
            due = (self.seal.district, self.seal.interval, point, f"{point}-{order.side}")
            require(says == due, f"{order.order_id} is not of {point} in this interval")
            limit = _price(order.limit_micro_per_kwh)
            wish = f", wish {order.wish}" if order.wish else ""
            self.report.tick(f"{order.side} of {_wh(order.wh)}, limit {limit}{wish}")
        require(len({order.side for order in found}) == len(found), "two orders on one side")
        return found

    def statement(self, item: SaltedLeaf) -> Statement:
        """Return the participant's statement, which the seal holds."""
        self.report.begin("statement")
        leaf, size = statement_leaf(item.salt, item.leaf), self.seal.counts.statements
        held = in_tree(leaf, item.index, size, item.path, self.seal.settlement_root)
        require(held, "it is not in the sealed settlement")
        found = Statement.read(item.leaf)
        same = (found.district, found.interval) == (self.seal.district, self.seal.interval)
        require(same, "it is of another district or interval")
        self.report.tick(f"the settlement holds the statement of {found.participant}")
        return found


class Account:
    """What a statement says, against the registers, the orders and the ledger."""

    def __init__(
        self, statement: Statement, points: Sequence[PointFacts], seal: Seal, report: Report
    ) -> None:
        self.statement, self.seal, self.report = statement, seal, report
        self.points = {point.point: point for point in points}
        self.agreed: Counter[tuple[str, int]] = Counter()  # Wh by order id and agreed price
        self.known: dict[str, Known] = {}  # by point, once it was corrected
        report.begin("energy")
        require(len(self.points) == len(points), "a point is shown twice")
        self.metered = {(item.point, item.direction): item for item in statement.metered}
        require(len(self.metered) == len(statement.metered), "a direction is given twice")
        named = {item.point for item in statement.metered}
        require(named == self.points.keys(), "statement and proof differ in their points")
        report.remark("A point that both statement and proof leave out cannot be seen.")

    def energy(self) -> None:
        """Compare each direction's energy with its registers, and own energy with its rule."""
        self.report.begin("energy")
        for point in self.points.values():
            for direction in get_args(Direction):
                item = self.metered.get((point.point, direction))
                if item is None:
                    raise ClaimError(f"the {direction} of {point.point} is left out")
                self._metered(item, point.registers(direction))
        own = self._own()
        for (name, direction), item in self.metered.items():
            due = own[name, direction]
            require(item.own_wh == due, f"{direction} of {name}: {_wh(due)} are its owner's own")

    def _own(self) -> Counter[tuple[str, str]]:
        """Match the points in the order of their ids: each serves the others."""
        found: Counter[tuple[str, str]] = Counter()
        wanted = {name: self.metered[name, "import"] for name in sorted(self.points)}
        for giver in wanted:
            for taker, row in wanted.items():
                if giver != taker and not row.estimated:
                    left = self.metered[giver, "export"].wh - found[giver, "export"]
                    wh = min(left, row.wh - found[taker, "import"])
                    found[giver, "export"] += wh
                    found[taker, "import"] += wh
        return found

    def _metered(self, item: Metered, read: tuple[int | None, int | None] | None) -> None:
        what = f"{item.direction} of {item.point}"
        parts = item.local_wh + item.own_wh + item.residual_wh
        require(parts == item.wh, f"{what}: the parts add up to {_wh(parts)}, not {_wh(item.wh)}")
        if read is None:
            require(item.estimated == 1, f"{what} has no two borders and is not called estimated")
            require(item.residual_wh == item.wh, f"{what} is estimated, yet in the market")
            require(item.wh == 0 or item.direction == "import", f"{what} is estimated above 0")
            self.report.tick(f"{what}: estimated at {_wh(item.wh)}, wholly residual")
            self.report.remark("An estimate's size cannot be judged here; it is never traded.")
            return
        require(item.estimated == 0, f"{what} is called estimated, yet both borders were read")
        before, after = read
        require((before is None) == (after is None), f"{what}: one border lacks the register")
        used = (after or 0) - (before or 0)
        require(used == item.wh, f"{what}: the registers say {_wh(used)}, not {_wh(item.wh)}")
        local, own, residual = map(_count, (item.local_wh, item.own_wh, item.residual_wh))
        split = f"{local} local + {own} own + {residual} residual"
        self.report.tick(f"{what}: closing - opening = {_wh(item.wh)} = {split}")

    def limits(self) -> None:
        """Check that all but own energy was ordered, and the price within each order's limit."""
        self.report.begin("order")
        for (name, direction), item in self.metered.items():
            side = "bid" if direction == "import" else "offer"
            order = next((o for o in self.points[name].orders if o.side == side), None)
            due = 0 if item.estimated else item.wh - item.own_wh
            if order is not None:
                said = order.agreed or order.place or order.wish
                require(
                    not (self.seal.mode and said), f"{order.order_id} is no {self.seal.mode} one"
                )
                require(order.wh == due, f"{order.order_id} is of {_wh(order.wh)}, not {_wh(due)}")
            elif item.local_wh or (due and side == "offer"):
                raise ClaimError(f"{name} has {_wh(due)} to trade, and no {side} in the book")
            elif due:
                self.report.remark(f"{name} had no bid: its credit cannot be judged here.")
            if order is not None and item.local_wh:
                self._within_limit(order, item.local_wh)

    def _within_limit(self, order: Order, traded_wh: int) -> None:
        seal, limit = self.seal, _price(order.limit_micro_per_kwh)
        if not seal.pays_as_bid and not order.agreed:
            prices = sealed_prices(seal)
            require(prices, f"{order.order_id} traded {_wh(traded_wh)} without a price")
            shown = _price(prices[0].price_micro_per_kwh) if len(prices) == 1 else "each price"
            beyond = f"{shown} is beyond the limit {limit} of {order.order_id}, or its wish"
            tariff = self.points[order.point].tariff
            require(any(admits(order, price, tariff) for price in prices), beyond)
        self.report.tick(f"{order.order_id} traded {_wh(traded_wh)} within its limit")

    def lines(self) -> None:
        """Check that the lines are those of the sealed price and the tariffs, and their sums."""
        self.report.begin("lines")
        traded: Counter[tuple[str, str]] = Counter()
        bought: Counter[str] = Counter()
        memo: dict[tuple[str, str], Line] = {}
        for number, line in enumerate(self.statement.lines, 1):
            where = f"line {number} ({line.kind} of {line.point})"
            if line.kind in LOCAL:
                self._local(line, where)
                traded[line.point, line.kind] += line.wh
                bought[line.point] -= line.micro if line.kind == "local-buy" else 0
            else:
                require((line.point, line.kind) not in memo, f"{where} is there a second time")
                memo[line.point, line.kind] = line
        for name, point in self.points.items():
            drawn, fed_in = self.metered[name, "import"], self.metered[name, "export"]
            for kind, item in zip(LOCAL, (drawn, fed_in), strict=True):
                found = traded.pop((name, kind), 0)
                fits = found == item.local_wh
                require(
                    fits, f"{kind} of {name}: lines of {_wh(found)}, traded {_wh(item.local_wh)}"
                )
            near_wh = drawn.local_wh + drawn.own_wh
            energies = (drawn.residual_wh, near_wh, fed_in.residual_wh)
            nearer = self._nearer(name, near_wh, memo)
            for due in memo_lines(name, point.tariff, *energies, bought[name], nearer):
                same = memo.pop((name, due.kind), None) == due
                require(
                    same, f"{due.kind} of {name} has to be {_micro(due.micro)} for {_wh(due.wh)}"
                )
        for name, kind in (*traded, *memo):
            raise ClaimError(f"there is a line {kind} of {name}, and nothing to bill")
        self._sums()

    def _nearer(
        self, name: str, near_wh: int, memo: dict[tuple[str, str], Line]
    ) -> tuple[int, int]:
        """Return what of a point's local and own energy came from its feeder and its building.

        The proof does not show with whom it traded; where prices by place tell how far a purchase
        came at least or at most, the lines have to agree.
        """
        found = [memo.get((name, kind)) for kind in NEARER]
        feeder_wh, building_wh = (line.wh if line else 0 for line in found)
        if not self.points[name].tariff.by_level:
            return 0, 0
        fits = min(feeder_wh, building_wh) >= 0 and feeder_wh + building_wh <= near_wh
        require(fits, f"{name}: more came from nearby than the {_wh(near_wh)} of local energy")
        own_wh = self.metered[name, "import"].own_wh
        bought = [
            line for line in self.statement.lines if (line.point, line.kind) == (name, LOCAL[0])
        ]
        for says_wh, near in ((building_wh, LEVELS[:1]), (feeder_wh + building_wh, LEVELS[:2])):
            ways = [(line.wh, self._levels(line)) for line in bought]
            least = sum(wh for wh, levels in ways if levels <= set(near))
            most = own_wh + sum(wh for wh, levels in ways if levels & set(near))
            told = f"{_wh(least)} to {_wh(most)} of {name} came from the {near[-1]}"
            require(least <= says_wh <= most, f"{told}, not {_wh(says_wh)}")
        self.report.remark("How far local energy came is shown as far as its prices tell it.")
        return feeder_wh, building_wh

    def _levels(self, line: Line) -> set[str]:
        """Return how far a purchase may have come, by the prices of places."""
        order = next((o for o in self.points[line.point].orders if o.side == "bid"), None)
        if order is None or order.agreed or not self.seal.hub_prices or self.seal.pays_as_bid:
            return set(LEVELS)
        price = line.price_micro_per_kwh
        hubs = (hub for hub in self.seal.hub_prices if hub.price_micro_per_kwh == price)
        tariff = self.points[line.point].tariff
        return {hub.level for hub in hubs if admits(order, hub, tariff)}

    def _local(self, line: Line, where: str) -> None:
        price = line.price_micro_per_kwh
        self._priced(line, where)
        sign = -1 if line.kind == "local-buy" else 1
        due = sign * round_half_up(price * line.wh, 1000)
        require(line.wh > 0, f"{where} is of {_wh(line.wh)}")
        require(
            line.micro == due,
            f"{where} says {_micro(line.micro)}, its price makes it {_micro(due)}",
        )

    def _priced(self, line: Line, where: str) -> None:
        """Check that a local line is at a sealed price that its order admits, or at its limit."""
        price, side = line.price_micro_per_kwh, "bid" if line.kind == "local-buy" else "offer"
        point = self.points.get(line.point)
        order = next((o for o in point.orders if o.side == side), None) if point else None
        if order is not None and self._as_agreed(order, price, line.wh):
            return
        if self.seal.pays_as_bid:
            kept = bool(point and order and at_own_limit(self.seal, order, price, point.tariff))
            require(kept, f"{where} is not at the bid's own limit, or below the offer's")
            return
        found = [p for p in sealed_prices(self.seal) if p.price_micro_per_kwh == price]
        require(found, f"{where} is not at the sealed price")
        if point is not None and order is not None:
            kept = any(admits(order, item, point.tariff) for item in found)
            require(kept, f"{where} is at a price that {order.order_id} does not admit")

    def _as_agreed(self, order: Order, price: int, wh: int) -> bool:
        """Tell whether contracts of the order are at this price, and their caps hold this, too."""
        cap = sum(item.cap_wh for item in order.agreed if item.price_micro_per_kwh == price)
        within = self.agreed[order.order_id, price] + wh <= cap
        if within and cap:
            self.agreed[order.order_id, price] += wh
            self.report.remark("That its contracts were agreed upon, their paper has to show.")
        return within

    def _sums(self) -> None:
        says, lines = self.statement, self.statement.lines
        local = sum(line.micro for line in lines if line.kind in LOCAL)
        sides = Counter(line.kind for line in lines)
        single = max(sides[kind] for kind in LOCAL) <= self.seal.counts.trades
        require(single, f"more local lines than the {self.seal.counts.trades} sealed trades")
        memo = sum(line.micro for line in lines if line.kind not in LOCAL)
        require(
            local == says.sum_micro,
            f"local lines make {_micro(local)}, not {_micro(says.sum_micro)}",
        )
        require(
            memo == says.memo_micro,
            f"memo lines make {_micro(memo)}, not {_micro(says.memo_micro)}",
        )
        several = "several" if any(kind in LOCAL for kind in sides) else "none"
        price = several if self.seal.price is None else _price(self.seal.price)
        sums = f"{_micro(local)} local, {_micro(memo)} beside"
        self.report.tick(f"{_count(len(lines))} lines: {sums}; local price {price}")
        self.report.remark(
            "Who traded how much with whom, and how the price came about, is not shown."
        )

    def carry(self) -> None:
        """Check that opening carry + sum = transfers + closing carry."""
        self.report.begin("carry")
        paid = sum(item.micro for item in self.statement.transfers)
        have = self.statement.opening_carry_micro + self.statement.sum_micro
        due = paid + self.statement.closing_carry_micro
        apart = f"opening carry + sum is {_micro(have)}, transfers + closing carry {_micro(due)}"
        require(have == due, apart)
        carried = _micro(self.statement.closing_carry_micro)
        self.report.tick(f"{_micro(paid)} to be moved on the ledger, {carried} carried on")
        self.report.remark("The opening carry has to be the closing carry of the statement before.")

    def correction(self, item: Correction) -> tuple[str, int]:
        """Return point and version of a correction, whose entry is in the log and comes next."""
        entry, delta = CorrectionEntry.read(item.entry.entry), Delta.read(item.delta)
        point = self.points.get(delta.point)
        if point is None:
            raise ClaimError(f"{delta.point} is no point of the statement")
        bound = leaf_hash(statement_leaf(item.salt, item.delta)) == entry.delta_root
        require(bound, "the log's entry is of another delta")
        before = self._known(point)
        comes = delta.version == before.version + 1
        require(comes, f"version {delta.version} of {delta.point} follows {before.version}")
        interval = (self.seal.district, self.seal.interval)
        says = (entry.district, entry.interval, entry.slot, entry.old_leaf)
        same = says == (*interval, point.slot, before.leaf)
        require(same and (delta.district, delta.interval) == interval, "it is of another slot")
        self._evidence(entry, delta, point)
        new = self._total(point, delta.import_wh, delta.export_wh)
        old = self._total(point, before.import_wh, before.export_wh)
        due = sorted(line.text for line in difference(new, old))
        require(
            sorted(line.text for line in delta.lines) == due,
            "its lines are not the new less the old",
        )
        now = Known(delta.version, entry.new_leaf, delta.import_wh, delta.export_wh)
        self.known[delta.point] = now
        amount = _micro(sum(line.micro for line in delta.lines))
        to = f"{_wh(delta.import_wh)} drawn and {_wh(delta.export_wh)} fed in"
        again = f", version {delta.version}" if before.version else ""
        self.report.tick(f"{delta.point} corrected later to {to}, amount {amount}{again}")
        return delta.point, delta.version

    def _known(self, point: PointFacts) -> Known:
        """Return what is known of a point so far; before any correction, what was settled."""
        name = point.point
        drawn, fed_in = self.metered[name, "import"], self.metered[name, "export"]
        return self.known.get(name) or Known(0, point.slot_hash, drawn.wh, fed_in.wh)

    def _evidence(self, entry: CorrectionEntry, delta: Delta, point: PointFacts) -> None:
        """Check what a correction rests on: an authorised value, or the registers at last."""
        if not delta.file:
            estimated = self.metered[delta.point, "import"].estimated
            require(estimated, f"{delta.point} was metered: nothing to correct")
            self.report.remark("The registers behind a correction are not shown.")
            return
        value = Value(
            delta.district,
            delta.export_wh,
            delta.file,
            delta.import_wh,
            delta.interval,
            delta.point,
            delta.version,
        )
        bound = leaf_hash(value_leaf(point.salt, value.text)) == entry.new_leaf
        require(bound, "the log's entry is of another value or file")
        self.report.remark("Who authorised a value, and why, its file has to show.")

    def _total(self, point: PointFacts, import_wh: int, export_wh: int) -> list[Line]:
        """Return the memo lines of a point, had it been settled with these energies.

        What was traded or its owner's own stays so as far as the meter covers it; the rest is
        bought at retail by who is short of what was sold, and sold at feed-in by who bought it.
        What is left came from as near as it can: from the building first, then from the feeder.
        """
        name = point.point
        drawn, fed_in = self.metered[name, "import"], self.metered[name, "export"]
        taken_wh, given_wh = drawn.local_wh + drawn.own_wh, fed_in.local_wh + fed_in.own_wh
        near_wh, kept_wh = min(taken_wh, import_wh), min(given_wh, export_wh)
        of_kind: Counter[str] = Counter()
        bought = 0
        for line in self.statement.lines:
            if line.point == name:
                of_kind[line.kind] += line.wh
                bought -= line.micro if line.kind == "local-buy" else 0
        building_wh = min(of_kind["local-fee-building"], near_wh)
        feeder_wh = min(of_kind["local-fee-feeder"], near_wh - building_wh)
        return memo_lines(
            name,
            point.tariff,
            import_wh - near_wh + given_wh - kept_wh,
            near_wh,
            export_wh - kept_wh + taken_wh - near_wh,
            bought,
            (feeder_wh, building_wh),
        )

    def payments(self, items: Sequence[Payment], pinned: Milestones) -> None:
        """Check that the applied transactions moved exactly the statement's transfers."""
        self.report.begin("payment")
        due = {item.address: item.micro for item in self.statement.transfers}
        require(len(due) == len(self.statement.transfers), "two transfers have one address")
        transactions = [self._payment(item, pinned) for item in items]
        groups = {transaction.data[HASH_SIZE:] for transaction in transactions}
        require(len(groups) == len(items), "one group of payments is shown twice")
        moved: Counter[bytes] = Counter()
        for transaction, item in zip(transactions, items, strict=True):
            spent = [parse_output(output) for output in item.consumed]
            named = {output.address for output in (*transaction.outputs, *spent)}
            require(named & due.keys(), "a transaction has nothing to do with the statement")
            for output in transaction.outputs:
                moved[output.address] += output.micro
            for output in spent:
                moved[output.address] -= output.micro
        for address, micro in due.items():
            found = moved[address]
            apart = f"got {_count(found)} units, {_count(micro)} are due"
            require(found == micro, f"{address.hex()} {apart}")
            self.report.tick(f"{address.hex()} got {_count(micro, '+')} units on the ledger")

    def _payment(self, item: Payment, pinned: Milestones) -> Transaction:
        milestone = check_milestone(item.milestone, pinned)
        applied = ledger_root(blake(item.block), item.path) == milestone.applied_root
        require(applied, f"milestone {milestone.index} did not apply this transaction")
        found = parse_transaction(block_payload(item.block))
        root, number = found.data[:HASH_SIZE], found.data[HASH_SIZE:]
        names = found.tag == PAY_TAG and root == self.seal.settlement_root and len(number) == 2
        require(names, "the transaction does not name this settlement")
        before = int.from_bytes(number, "big") * GROUP_PARTIES
        require(before < self.seal.counts.statements, "there is no group of that number")
        commitment = blake(b"".join(map(blake, item.consumed)))
        require(commitment == found.commitment, "the consumed outputs are not the inputs'")
        return found


# --- Whole proofs -------------------------------------------------------------------------------


def check_settlement(proof: SettlementProof, keys: Keys, report: Report) -> None:
    """Run all steps of a proof of kind ``settlement``."""
    walk = PointWalk(proof.anchor, proof.seal, keys, report)
    walk.in_time()
    points = [walk.point(item) for item in proof.points]
    account = Account(walk.statement(proof.statement), points, walk.seal, report)
    account.energy()
    account.limits()
    account.lines()
    account.carry()
    account.payments(proof.payments, keys.milestones)
    if proof.corrections is not None:
        _, later = walk.head(proof.corrections.anchor)
        report.begin("correction")
        require(later.size >= walk.checkpoint.size, "its checkpoint is older than the seal's")
        for item in proof.corrections.items:
            walk.entry(item.entry, "correction", later)
        found = [account.correction(item) for item in proof.corrections.items]
        sound = found and found == sorted(set(found))
        require(sound, "there is none, or they do not stand by point and version")
    report.remark("What the log says later, such as a correction, is not seen here.")


def check_single(proof: ReadingProof, keys: Keys, report: Report) -> None:
    """Run all steps of a proof of kind ``reading``."""
    reading, _ = _single(proof, keys, report)
    check_window(reading, proof, keys, report)


def _single(proof: ReadingProof, keys: Keys, report: Report) -> tuple[Reading, Seal]:
    """Return a reading and the seal that holds it."""
    walk = Walk(proof.anchor, proof.seal, keys, report)
    walk.in_time()
    enrolled = walk.enrolment(proof.enrolment)
    walk.slot(proof.roster, proof.slot, enrolled, proof.enrolment.index)
    reading = walk.reading(proof.reading, enrolled, walk.epochs(proof.epochs))
    borders = proof.slot.borders
    if borders is None:
        raise ClaimError("the slot says that the point was missing")
    leaf = reading_leaf(proof.reading)
    held = in_tree(leaf, proof.index, borders.count, proof.path, borders.root)
    require(held, "the reading is not in its slot")
    within = walk.start_ms <= reading.answered_ms < walk.end_ms
    require(within, f"the reading was not answered within {walk.seal.interval}")
    walk.reading_sealed(reading)
    return reading, walk.seal


def check_window(reading: Reading, proof: ReadingProof, keys: Keys, report: Report) -> None:
    """Say between which two milestones a reading was signed, and that it says nothing else.

    It holds the digest of the first, which nobody knew before; the second refers to its seal.
    """
    report.begin("window")
    after = parse_milestone(proof.anchor.milestone)
    until = f"not after {_moment(after.timestamp_s * 1000)}"
    if not proof.beacon:
        what = "The reading's beacon is not shown" if reading.beacon else "It has no beacon"
        report.remark(f"{what}: it was signed {until}, and how long before is not known.")
        return
    require(reading.beacon, "a beacon is shown that the reading does not name")
    before = check_milestone(proof.beacon, keys.milestones)
    require(before.digest == reading.beacon, "the reading names another milestone as its beacon")
    began_ms, ended_ms = before.timestamp_s * 1000, after.timestamp_s * 1000
    require(began_ms <= ended_ms, "its beacon is younger than the anchor of its seal")
    if Seal.read(proof.seal.entry).clock == "real":
        says = _moment(reading.answered_ms)
        early_ms = began_ms - reading.answered_ms
        back = f"it says {says}, and holds a milestone of {_moment(began_ms)}: it is back-dated"
        require(early_ms <= BEACON_EARLY_MS, back)
        ahead = f"it says {says}, and was anchored at {_moment(ended_ms)}: it is dated ahead"
        require(reading.answered_ms - ended_ms <= BEACON_EARLY_MS, ahead)
    width = _count((ended_ms - began_ms) // 1000)
    report.tick(f"signed not before {_moment(began_ms)} and {until}: within {width} s")


def check_consistency(proof: ConsistencyProof, keys: Keys, report: Report) -> None:
    """Run the steps of a proof of kind ``consistency``."""
    old, new = _two_notes(proof.old, proof.new, keys, report)
    report.begin("consistency")
    held = verify_consistency(old.size, new.size, proof.path, old.root, new.root)
    require(held, "the path does not lead from the old log to the new one")
    sizes = f"{_count(old.size)} to {_count(new.size)} entries"
    report.tick(f"from {sizes} the log was only appended to")
    report.remark("Cosignatures are not looked at here, nor where the two are anchored.")


def check_equivocation(proof: Equivocation, keys: Keys, report: Report) -> None:
    """Run the steps of a piece of evidence of kind ``equivocation``."""
    old, new = _two_notes(proof.old, proof.new, keys, report)
    report.begin("equivocation")
    held = verify_consistency(old.size, new.size, proof.path, proof.root, new.root)
    require(held, "the path does not show which root the new log had at the old one's size")
    require(proof.root != old.root, "the two notes are of one history: this is no evidence")
    report.tick(
        f"the evidence holds: the log's holder signed two histories of {_count(old.size)} entries"
    )


def _two_notes(old: str, new: str, keys: Keys, report: Report) -> tuple[Checkpoint, Checkpoint]:
    found = []
    for name, note in (("old", old), ("new", new)):
        report.begin(name)
        head = open_note(note, keys.origin, keys.log)
        report.tick(f"a pinned key of {head.origin} signed the log of {_count(head.size)} entries")
        found.append(head)
    return found[0], found[1]


def check_milestone_equivocation(
    proof: MilestoneEquivocation, pinned: Milestones, report: Report
) -> None:
    """Run the steps of a piece of evidence of kind ``milestone-equivocation``."""
    found = []
    for name, payload in (("first", proof.first), ("second", proof.second)):
        report.begin(name)
        milestone = check_milestone(payload, pinned)
        number = len(milestone.signatures)
        report.tick(f"{milestone} ({milestone.digest.hex()}); pinned keys that signed it: {number}")
        found.append(milestone)
    one, other = found
    report.begin(proof.kind)
    require(one.index == other.index, "they have different indexes: this is no evidence")
    require(one.digest != other.digest, "they are the same milestone: this is no evidence")
    what = f"keys of the ledger signed two milestones of one index, {one.index}"
    report.tick(f"the evidence holds: {what}")
    both = sorted(dict(one.signatures).keys() & dict(other.signatures).keys())
    names = ", ".join(key.hex() for key in both) or "none; at this threshold none has to"
    report.remark(f"Pinned keys that signed both: {names}.")


def check_inclusion(value: dict[str, Json], pinned: Milestones, report: Report) -> None:
    """Judge a raw proof of inclusion: the block is referenced, and no more than that."""
    report.begin("milestone")
    milestone = check_milestone(poi_milestone(value["milestone"]), pinned)
    report.tick(f"{milestone}; pinned keys that signed it: {len(milestone.signatures)}")
    report.begin("inclusion")
    named, path = poi_path(value["proof"])
    found = blake(poi_block(value["block"]))
    require(found == named, "the path leads from another block")
    require(ledger_root(found, path) == milestone.inclusion_root, "the path misses the milestone")
    report.tick(f"ledger inclusion only: block {found.hex()} is referenced by the milestone")


def check_meter_equivocation(proof: MeterEquivocation, keys: Keys, report: Report) -> None:
    """Run the steps of a piece of evidence of kind ``meter-equivocation``."""
    report.begin("enrolment")
    meter, _ = check_enrolment(proof.entry, keys)
    report.tick(f"meter {meter.serial} speaks for {meter.point} with key {meter.key.hex()}")
    found = []
    for name, item in (("first", proof.first), ("second", proof.second)):
        report.begin(name)
        reading = _signed_reading(item)
        says = (reading.district, reading.point, reading.meter, reading.key)
        due = (meter.district, meter.point, meter.serial, meter.key)
        require(says == due, f"the reading is not of the enrolled meter {meter.serial}")
        report.tick(_shown(reading))
        found.append(reading)
    report.begin(proof.kind)
    one, other = found
    same = (one.epoch, one.seq) == (other.epoch, other.seq)
    require(same, "they have different numbers: this is no evidence")
    require(one != other, "they are the same reading: this is no evidence")
    report.tick(
        f"the evidence holds: meter key {meter.key.hex()} signed number {one.seq} of epoch "
        f"{one.epoch} twice"
    )
    report.remark("Its key was cloned, or the gateway's spool was set back to an earlier state.")


def _signed_reading(item: BareReading) -> Reading:
    found = Reading.read(item.payload)
    sound = signature_holds(found.key, READING_PREFIX + item.payload.encode(), item.signature)
    require(sound, f"the key {found.key.hex()} did not sign this reading")
    return found


def _shown(reading: Reading) -> str:
    named = (("import", reading.import_wh), ("export", reading.export_wh))
    values = "".join(f", {name} register {_wh(wh)}" for name, wh in named if wh is not None)
    return f"number {reading.seq}, at {_moment(reading.answered_ms)}{values}"


# --- Receipts: what was promised, and whether it was kept ---------------------------------------


def check_receipt(receipt: Receipt, keys: Keys, report: Report) -> ReceiptItem:
    """Run the steps of a receipt; return what it promises."""
    report.begin("receipt")
    item = ReceiptItem.read(receipt.item)
    require(item.district == keys.origin, f"the receipt is of {item.district}, not {keys.origin}")
    require(receipt.key in keys.receipts, "the receipt's key is not pinned")
    leaf = receipt_leaf(receipt.item)
    held = in_tree(leaf, receipt.index, receipt.size, receipt.path, receipt.root)
    require(held, "the item is not under the receipt's root")
    sound = signature_holds(receipt.key, RECEIPT_PREFIX + receipt.root, receipt.signature)
    require(sound, "the receipt's signature is wrong")
    due = _moment(item.deadline)
    report.tick(f"leaf {item.leaf.hex()} is promised to the seal of {item.seal_interval} by {due}")
    return item


def check_receipt_file(held: Receipt | ReceiptFile, keys: Keys, report: Report) -> "Promise":
    """Check a receipt, and that it was given for the reading beside it, where there is one."""
    if isinstance(held, Receipt):
        return Promise(check_receipt(held, keys, report), None)
    item = check_receipt(held.receipt, keys, report)
    report.begin("reading")
    reading, bare = _signed_reading(held.reading), held.reading
    signed = SignedReading(bare.payload, held.receipt.salt, bare.signature)
    given = leaf_hash(reading_leaf(signed)) == item.leaf
    require(given, "the receipt was given for another reading")
    report.tick(f"it was given for meter {reading.meter} at {reading.point}: {_shown(reading)}")
    return Promise(item, reading)


@dataclass(frozen=True, slots=True)
class Promise:
    """What a receipt promises, and for which reading, if that is at hand."""

    item: ReceiptItem
    reading: Reading | None

    @property
    def point(self) -> str:
        """The point of the reading, which says in which slot its leaf belongs."""
        if self.reading is None:
            raise UnjudgedError(
                "the receipt alone does not say of which point it is: give the file that "
                "`wattloom export receipts` writes, which holds the reading, too"
            )
        return self.reading.point


def check_leaves(file: SealedLeaves, keys: Keys, report: Report) -> Seal:
    """Check that a file holds all that a seal holds of a point, and everything late; return it."""
    walk = Walk(file.anchor, file.seal, keys, report)
    seal = walk.seal
    report.begin("roster")
    entries = [RosterEntry.read(item.leaf) for item in file.roster]
    for item, entry in zip(file.roster, entries, strict=True):
        leaf = roster_leaf(item.leaf)
        held = in_tree(leaf, entry.slot, seal.roster_size, item.path, seal.roster_root)
        require(held, f"{entry.point} is not in the sealed roster at that place")
    if file.slot is None:
        _check_absent(file.point, entries, seal.roster_size)
        require(not file.leaves, "a point without a slot has no reading leaves in one")
        report.tick(f"{file.point} has no slot in the roster of {_count(seal.roster_size)} points")
    else:
        one = len(entries) == 1 and entries[0].point == file.point
        require(one, "the roster leaf has to be that of the point")
        report.tick(f"{file.point} has slot {entries[0].slot}")
        _check_slot(file, entries[0].slot, seal, report)
    report.begin("late")
    require(tree_root(file.late) == seal.late_root, "the late leaves are not all that it holds")
    report.tick(f"{_count(len(file.late))} leaves stand in its tree of late readings")
    return seal


def _check_absent(point: str, beside: Sequence[RosterEntry], size: int) -> None:
    """Refuse unless the roster's leaves that are shown leave no place for a point."""
    if not size:
        require(not beside, "an empty roster has no leaves")
        return
    places = [entry.slot for entry in beside]
    below, above = beside and beside[0].point < point, beside and beside[-1].point > point
    whole = {
        1: (above and places == [0]) or (below and places == [size - 1]),
        2: below and above and places[-1] == places[0] + 1,
    }
    require(whole.get(len(beside)), f"the roster's leaves do not show that {point} is not there")


def _check_slot(file: SealedLeaves, place: int, seal: Seal, report: Report) -> None:
    slot = file.slot
    if slot is None:
        return
    report.begin("slot")
    leaf = slot_leaf(file.point, seal.interval, slot.salt, slot.borders)
    held = in_tree(leaf, place, seal.roster_size, slot.path, seal.tree_root)
    require(held, f"the slot of {file.point} is not in the seal")
    count, root = (0, tree_root(())) if slot.borders is None else (
        slot.borders.count, slot.borders.root
    )  # fmt: skip
    whole = (len(file.leaves), tree_root(file.leaves)) == (count, root)
    require(whole, f"these are not the {_count(count)} leaves of the slot")
    report.tick(f"{_count(count)} leaves stand in the slot of {file.point}")


def check_omission(promise: Promise, file: SealedLeaves, keys: Keys, report: Report) -> bool:
    """Tell whether a promise was kept: its leaf is in the point's slot, or among the late ones."""
    seal, item = check_leaves(file, keys, report), promise.item
    report.begin("promise")
    if seal.interval != item.seal_interval:
        raise UnjudgedError(f"the seal is of {seal.interval}, promised was {item.seal_interval}")
    where = "the slot" if item.leaf in file.leaves else "the tree of late readings"
    if item.leaf in (*file.leaves, *file.late):
        report.tick(f"kept: the leaf stands in {where} of the seal of {seal.interval}")
        report.remark("That the seal was anchored in time, a proof of the reading shows.")
        return True
    if promise.point != file.point:
        raise UnjudgedError(f"the file is about {file.point}, the reading of {promise.point}")
    report.tick(
        f"BROKEN: the seal of {seal.interval} holds the leaf neither in the slot of {file.point} "
        "nor among the late ones"
    )
    _accuse(report)
    return False


def _accuse(report: Report) -> None:
    report.remark(
        "A pinned receipt key gave a promise that the district's signed log broke: this file and "
        "the receipt show it to anybody who pins the same keys."
    )


def check_unsealed(promise: Promise, file: Unsealed, keys: Keys, report: Report) -> bool:
    """Tell whether a promise was broken for want of a seal; raises where that is not proven.

    The earlier anchor is older than the end of the promised interval, so that what it anchors
    cannot hold its seal; the later one is younger than the deadline; no entry between is the seal.
    """
    item, walk = promise.item, LogWalk(keys, report)
    first, old = walk.head(file.before)
    last, new = walk.head(file.after)
    report.begin("entries")
    sizes = [1 << bit for bit in reversed(range(old.size.bit_length())) if old.size >> bit & 1]
    require(len(file.frontier) == len(sizes), "the earlier log consists of other subtrees")
    peaks = list(zip(sizes, file.frontier, strict=True))
    require(peaks and _fold(peaks) == old.root, "the subtrees are not those of the earlier log")
    leaves = [leaf_hash(entry_bytes(entry.kind, entry.entry)) for entry in file.entries]
    grown = _grown(peaks, leaves)
    whole = (sum(size for size, _ in grown), _fold(grown)) == (new.size, new.root)
    require(whole, "these are not all entries between the two anchors")
    report.tick(f"{_count(len(leaves))} entries came in between the two anchors")
    report.begin("promise")
    seals = [Seal.read(entry.entry) for entry in file.entries if entry.kind == "seal"]
    if any(seal.interval == item.seal_interval for seal in seals):
        raise UnjudgedError("the interval is sealed: ask for the leaves of its seal")
    if any(seal.clock == "simulated" for seal in seals):
        raise UnjudgedError("the district's clock is simulated: its deadlines are nobody's")
    end_ms = _start_ms(item.seal_interval) + INTERVAL_MS
    require(first.timestamp_s * 1000 <= end_ms, "the earlier anchor may already hold the seal")
    overdue = last.timestamp_s * 1000 > item.deadline
    require(overdue, "the deadline had not passed at the later anchor")
    report.tick(f"BROKEN: the log of {last} holds no seal of {item.seal_interval}")
    _accuse(report)
    return False


def verify_bytes(proof: bytes, keys: bytes) -> Verdict:
    """Judge the bytes of a proof file against those of a KEYS file. Never raises."""
    report = Report()
    return report.judge(lambda: _verify(proof, keys, report))


def _verify(proof: bytes, keys_bytes: bytes, report: Report) -> None:
    report.begin("keys")
    keys = load_keys(keys_bytes)
    report.begin("file")
    require(len(proof) <= MAX_FILE_BYTES, f"the file is larger than {MAX_FILE_BYTES} bytes")
    value = parse_json(proof)
    if isinstance(value, dict) and value.keys() == {"milestone", "block", "proof"}:
        check_inclusion(value, keys.milestones, report)
        report.begin("file")  # last, since it is slow for what is nested deeply
        usual = _is_usual(proof, value)
        require(usual, "its white space is odd: write the JSON compact or indented")
        return
    if canonical(value) + b"\n" != proof:
        raise CanonicalError("the file is not canonical JSON with a final newline")
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "milestone-equivocation":
        evidence = MilestoneEquivocation.load(value, "proof")
        check_milestone_equivocation(evidence, keys.milestones, report)
        return
    full = _full(keys)
    if kind == "reading":
        check_single(ReadingProof.load(value, "proof"), full, report)
    elif kind == "consistency":
        check_consistency(ConsistencyProof.load(value, "proof"), full, report)
    elif kind == "equivocation":
        check_equivocation(Equivocation.load(value, "proof"), full, report)
    elif kind == "meter-equivocation":
        check_meter_equivocation(MeterEquivocation.load(value, "proof"), full, report)
    elif kind == "leaves":
        check_leaves(SealedLeaves.load(value, "proof"), full, report)
    elif kind == "receipt":
        check_receipt_file(ReceiptFile.load(value, "proof"), full, report)
    else:
        check_settlement(SettlementProof.load(value, "proof"), full, report)


def _is_usual(data: bytes, value: Json) -> bool:
    """Tell whether JSON is written in a usual way, so that each changed byte makes a proof fail."""
    compact = json.dumps(value, separators=(",", ":"))
    usual = {compact, *(json.dumps(value, indent=indent) for indent in (None, 2, 4, "\t"))}
    return data.decode().removesuffix("\n") in usual


def verify_receipt(receipt: bytes, keys: bytes, seal: bytes | None = None) -> Verdict:
    """Judge a reading's receipt (canonical JSON, final newline or not). Never raises.

    ``seal`` is a file of kind ``leaves``, ``reading`` or ``unsealed``: with it code 0 says that
    the promise was kept, and code 3 that it was broken. Of a receipt without its reading the salt
    is not judged: it shows, together with the reading, what the promised leaf is.
    """
    report = Report()
    broken = False

    def checks() -> None:
        nonlocal broken
        report.begin("keys")
        full = _full(load_keys(keys))
        report.begin("file")
        promise = check_receipt_file(_receipt(receipt), full, report)
        if seal is None:
            report.remark(
                "Whether the promise was kept, the seal's leaves show: `wattloom export leaves`."
            )
        else:
            broken = not _is_kept(promise, seal, full, report)

    verdict = report.judge(checks)
    return replace(verdict, code=BROKEN) if broken else verdict


def _receipt(data: bytes) -> Receipt | ReceiptFile:
    require(len(data) <= MAX_FILE_BYTES, f"the file is larger than {MAX_FILE_BYTES} bytes")
    value = parse(data.removesuffix(b"\n"))
    if isinstance(value, dict) and value.get("kind") == "receipt":
        return ReceiptFile.load(value, "receipt")
    return Receipt.load(value)


def _is_kept(promise: Promise, seal: bytes, keys: Keys, report: Report) -> bool:
    report.begin("seal file")
    require(len(seal) <= MAX_FILE_BYTES, f"the file is larger than {MAX_FILE_BYTES} bytes")
    value = parse(seal.removesuffix(b"\n"))
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "leaves":
        return check_omission(promise, SealedLeaves.load(value, "seal"), keys, report)
    if kind == "unsealed":
        return check_unsealed(promise, Unsealed.load(value, "seal"), keys, report)
    if kind != "reading":
        raise UnjudgedError(f"a file of kind {kind!r:.40} says nothing about a receipt")
    proof = ReadingProof.load(value, "seal")
    _, found = _single(proof, keys, report)
    report.begin("promise")
    same = leaf_hash(reading_leaf(proof.reading)) == promise.item.leaf
    if not same or found.interval != promise.item.seal_interval:
        raise UnjudgedError("the proof is of another reading or seal")
    report.tick(f"kept: the leaf stands in the seal of {found.interval}")
    return True


def _full(keys: Keys | LedgerKeys) -> Keys:
    if isinstance(keys, LedgerKeys):
        raise UnjudgedError("KEYS pin milestones only: ask for the district's KEYS")
    return keys


def check_prices(seal: Seal) -> None:
    """Check that a seal's prices contradict neither each other nor its mode."""
    hubs = seal.hub_prices
    shared = (seal.mode == "sharing") == (seal.rule == SHARING_RULE)
    require(shared, f"the seal's mode is {seal.mode or 'metered'}, its rule {seal.rule}")
    require(not (seal.mode and seal.fallback), f"the seal says fallback in {seal.mode} mode")
    one_for_all = seal.mode or ("fallback" if seal.fallback else "")
    require(not (hubs and one_for_all), f"the seal says {one_for_all}, yet prices by place")
    named = {(hub.place, hub.product) for hub in hubs}
    require(len(named) == len(hubs), "the seal gives one product at one place two prices")
    for hub in hubs:
        level = LEVELS[2 - bool(hub.place) - ("/" in hub.place)]
        require(hub.level == level, f"{hub.place or 'the district'} is no {hub.level}")
    one = seal.price is None or all(hub.price_micro_per_kwh == seal.price for hub in hubs)
    require(one, "the sealed price is not the one of all places")


def sealed_prices(seal: Seal) -> tuple[HubPrice, ...]:
    """Return the prices of an interval: one per place and product, or one for all."""
    if seal.hub_prices or seal.price is None:
        return seal.hub_prices
    return (HubPrice("district", seal.price, "any"),)


def admits(order: Order, hub: HubPrice, tariff: Tariff) -> bool:
    """Tell whether limit and wish of an order admit a trade at a hub.

    A bid's limit is net of the fee of the district: from nearer it bears what the fee is less. Its
    premium comes on top where the energy is green. Green-only energy needs a green hub, and a
    green hub a green offer. None goes farther than its order's highest level.
    """
    premium = int(_wished(order)["premium"] or 0) if hub.product == "green" else 0
    price, limit = hub.price_micro_per_kwh, order.limit_micro_per_kwh
    most = limit + premium + tariff.nearer(hub.level)
    kept = price >= limit if order.side == "offer" else price <= most
    return kept and _reaches(order, hub)


def _reaches(order: Order, hub: HubPrice) -> bool:
    """Tell whether place and wish let an order trade at a hub, whatever the price."""
    wish, green = _wished(order), hub.product == "green"
    far = LEVELS.index(hub.level) > LEVELS.index(wish["level"] or "district")
    meant = bool(wish["green"]) or not green if order.side == "offer" else green or not wish["only"]
    return meant and not far and hub.holds(order.place)


def at_own_limit(seal: Seal, order: Order, price: int, tariff: Tariff) -> bool:
    """Tell whether a price is what pay-as-bid makes of an order: a bid pays its own limit.

    Its premium comes on top where green energy was sold within its reach, and what the fee is less
    where it was sold nearby.
    """
    limit, premium = order.limit_micro_per_kwh, int(_wished(order)["premium"] or 0)
    hubs = [hub for hub in seal.hub_prices if _reaches(order, hub)]
    if (order.place or order.wish) and not hubs:
        return False
    if order.side == "offer":
        return price >= limit
    ways = {(hub.product == "green", tariff.nearer(hub.level)) for hub in hubs} | {(False, 0)}
    return price in {limit + less + (premium if green else 0) for green, less in ways} | {limit}


def _wished(order: Order) -> dict[str, str | None]:
    """Return the words of an order's wish: green, only, premium and (the highest) level."""
    found = WISH.fullmatch(order.wish)
    if found is None:
        raise LayoutError(f"{order.order_id} wishes what this version does not know")
    return found.groupdict()


def round_half_up(numerator: int, denominator: int) -> int:
    """Return the nearest integer to a fraction, halves upwards."""
    return (2 * numerator + denominator) // (2 * denominator)


def memo_lines(
    point: str,
    tariff: Tariff,
    residual_wh: int,
    near_wh: int,
    fed_in_wh: int,
    bought_micro: int,
    nearer_wh: tuple[int, int] = (0, 0),
) -> list[Line]:
    """Return a point's lines beside the local ones.

    Args:
        residual_wh, fed_in_wh: what was drawn from and fed into the grid outside.
        near_wh: local and own energy drawn.
        bought_micro: what the local energy cost; VAT is due on it, too.
        nearer_wh: what of ``near_wh`` came from the feeder, and from the building.
    """
    drawn_wh, lines = residual_wh + near_wh, []
    energy, price = tariff.energy_micro_per_kwh, tariff.feed_in_micro_per_kwh
    if tariff.imbalance_micro_per_kwh is not None:
        energy = price = tariff.imbalance_micro_per_kwh
    (building, feeder, district), (feeder_wh, building_wh) = tariff.local_fees, nearer_wh
    owed: list[tuple[LineKind, int, int]] = [
        ("residual-import", energy, residual_wh),
        ("local-fee", district, near_wh - feeder_wh - building_wh),
        ("local-fee-feeder", feeder, feeder_wh),
        ("local-fee-building", building, building_wh),
        ("grid-fee", tariff.grid_fee_micro_per_kwh, residual_wh),
        ("levy", tariff.levy_micro_per_kwh, drawn_wh),
        ("tax", tariff.tax_micro_per_kwh, drawn_wh if tariff.tax_micro_per_kwh else 0),
    ]
    for kind, rate, wh in owed:
        lines.append(Line(kind, -round_half_up(rate * wh, 1000), point, rate, wh))
    taxed = bought_micro - sum(line.micro for line in lines)
    vat = -round_half_up(taxed * tariff.vat_ppm, 1_000_000)
    earned = round_half_up(price * fed_in_wh, 1000)
    lines.append(Line("residual-export", earned, point, price, fed_in_wh))
    lines.append(Line("vat", vat, point, 0, drawn_wh))
    return [line for line in lines if line.wh or line.micro]


def difference(new: Sequence[Line], old: Sequence[Line]) -> list[Line]:
    """Return the new lines less the old ones, kind by kind; what stayed is left out."""
    found = {line.kind: line for line in new}
    for line in old:
        now = found.get(line.kind) or replace(line, wh=0, micro=0)
        found[line.kind] = replace(now, wh=now.wh - line.wh, micro=now.micro - line.micro)
    return [line for line in found.values() if line.wh or line.micro]


def _start_ms(interval: str) -> int:
    try:
        return int(datetime.fromisoformat(interval).timestamp()) * 1000
    except ValueError as error:
        raise LayoutError(f"{interval} is not a date: {error}") from error


def _moment(moment_ms: int) -> str:
    try:
        moment = datetime.fromtimestamp(moment_ms // 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise LayoutError(f"{moment_ms} ms is beyond the calendar") from error
    millis = f".{moment_ms % 1000:03d}" if moment_ms % 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{millis}Z"


def _count(number: int, sign: str = "") -> str:
    return f"{number:{sign},}".replace(",", " ")


def _wh(wh: int) -> str:
    return f"{_count(wh)} Wh"


def _micro(micro: int) -> str:
    return f"{_count(micro)} micro-euro"


def _price(micro_per_kwh: int) -> str:
    return f"{_micro(micro_per_kwh)} per kWh"


# --- Command line -------------------------------------------------------------------------------

BROKEN: Final = 3
"""The exit code that says: a promise was broken, and that is proven."""
SENTENCES: Final = {0: "HOLDS", 1: "DOES NOT HOLD", 2: "COULD NOT BE JUDGED", BROKEN: "WAS BROKEN"}


def render(verdict: Verdict) -> str:
    """Return a verdict in plain words, a line per step; a control character shows as ``?``."""
    lines = [f"{'✓' if step.ok else '✗'} {step.name}: {step.text}" for step in verdict.steps]
    lines += [f"  note: {remark}" for remark in verdict.remarks]
    what = "promise" if verdict.code == BROKEN else "proof"
    lines.append(f"The {what} {SENTENCES[verdict.code]}.")
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def main(arguments: Sequence[str] | None = None, prog: str = "verify.py") -> int:
    """Run the command line, under the name ``prog``, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Check a Wattloom proof, or a receipt, offline.",
        epilog=f"Examples: {prog} proof.json --keys keys.json; {prog} --receipt receipt.json "
        "--seal leaves.json --keys keys.json. Exit code 0: the proof holds, or the promise was "
        "kept; 1: it does not, and the step is named; 2: it could not be judged; 3: the receipt's "
        "promise was broken, and that is proven.",
    )
    parser.add_argument(
        "file", type=Path, nargs="?", help="proof, evidence, or a raw proof of inclusion"
    )
    parser.add_argument("--receipt", type=Path, help="a reading's receipt, in place of FILE")
    parser.add_argument("--seal", type=Path, help="the leaves of the seal that it promises")
    parser.add_argument("--keys", type=Path, help="KEYS: the pinned public keys")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    options = parser.parse_args(arguments)
    if (options.file is None) == (options.receipt is None):
        parser.error("name a proof file, or a receipt with --receipt")
    if options.seal is not None and options.receipt is None:
        parser.error("--seal goes with --receipt")
    if options.receipt is None:
        verdict = judge_files(options.file, options.keys)
    else:
        verdict = judge_receipt(options.receipt, options.keys, options.seal)
    text = json.dumps(asdict(verdict)) if options.json else render(verdict)
    if not options.quiet:
        encoding = sys.stdout.encoding or "utf-8"  # a terminal without ticks shows ? instead
        print(text.encode(encoding, "replace").decode(encoding))
    return verdict.code


def judge_files(file: Path, keys: Path | None) -> Verdict:
    """Judge a proof file; without readable files there is nothing to judge (code 2)."""
    return _judge(keys, lambda pinned: verify_bytes(_read(file), pinned))


def judge_receipt(receipt: Path, keys: Path | None, seal: Path | None) -> Verdict:
    """Judge a receipt, against the leaves of its seal where they are at hand."""
    return _judge(
        keys,
        lambda pinned: verify_receipt(
            _read(receipt), pinned, None if seal is None else _read(seal)
        ),
    )


def _judge(keys: Path | None, act: Callable[[bytes], Verdict]) -> Verdict:
    if keys is None:
        missing = "no KEYS given: add --keys KEYS, with the district's pinned public keys"
        return Verdict(2, (Step("keys", ok=False, text=missing),))
    try:
        return act(_read(keys))
    except OSError as error:
        unread = f"cannot read {error.filename}: {error.strerror}"
        return Verdict(2, (Step("file", ok=False, text=unread),))


def _read(path: Path) -> bytes:
    """Return a file's bytes, one more than allowed at most: some files have no end."""
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


if __name__ == "__main__":
    sys.exit(main())
