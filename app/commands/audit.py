"""``wattloom audit``: clears an exported interval once more and compares it with its seal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from app.commands.audit_replay import Replayed, replay
from app.files.interval import IntervalFile, Traded
from app.store.market import LEVEL_WORDS
from ledger_client.checkpoint import NoteLine
from ledger_client.merkle import leaf_hash, root
from ledger_client.verify import (
    Checkpoint,
    ClaimError,
    Keys,
    LayoutError,
    LedgerKeys,
    LogEntry,
    Order,
    Report,
    Seal,
    Statement,
    Step,
    Tariff,
    UnjudgedError,
    Verdict,
    VerifyError,
    check_prices,
    entry_bytes,
    in_tree,
    load_keys,
    open_cosignature,
    open_mldsa,
    open_note,
    order_leaf,
    parse_note,
    require,
    statement_leaf,
    tariff_leaf,
)
from market.money import Money
from market.parties import MeteredPoint, OwnTransfer, own_transfers
from market.place import Place
from market.settlement import settle
from market.tariff import Tariff as MarketTariff
from market.trade import Trade
from metering.quantities import Energy

_MOST_BYTES: Final = 256 * 2**20
_ENDINGS: Final = {
    0: "The interval agrees with its seal.",
    1: "The audit FAILS at the step marked ✗.",
    2: "The interval could not be judged.",
}


def audit_shown(key: str, file: Path, keys: Path | None, *, as_json: bool) -> tuple[int, str]:
    """Return the exit code and what to print: 0 agrees, 1 differs, 2 cannot be judged."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
        verdict = audit(key, data, keys.read_bytes() if keys else None)
    except OSError as error:
        unread = f"cannot read {error.filename}: {error.strerror}"
        verdict = Verdict(2, (Step("file", ok=False, text=unread),))
    if as_json:
        steps = [{"name": s.name, "ok": s.ok, "text": s.text} for s in verdict.steps]
        found = {"code": verdict.code, "steps": steps, "remarks": list(verdict.remarks)}
        return verdict.code, json.dumps(found, ensure_ascii=False)
    lines = [f"{'✓' if step.ok else '✗'} {step.name}: {step.text}" for step in verdict.steps]
    lines += [f"  note: {remark}" for remark in verdict.remarks]
    lines.append(_ENDINGS[verdict.code])
    return verdict.code, "\n".join(
        "".join(c if c.isprintable() else "?" for c in line) for line in lines
    )


def audit(key: str, data: bytes, keys: bytes | None) -> Verdict:
    """Judge the file of an interval against the seal in it, and that against KEYS if given."""
    report = Report()

    def checks() -> None:
        try:
            _audit(key, data, keys, report)
        except VerifyError:
            raise
        except ValueError as error:  # the market refuses an order, a point, a tariff
            raise ClaimError(str(error)) from error

    return report.judge(checks)


def _audit(key: str, data: bytes, keys: bytes | None, report: Report) -> None:
    if len(data) > _MOST_BYTES:
        raise UnjudgedError(f"it is larger than {_MOST_BYTES} bytes")
    file = IntervalFile.read(data)
    require(file.interval == key, f"it holds the interval {file.interval}, not {key}")
    report.tick(f"an export of {key} in {file.district}")
    seal = _seal(file, None if keys is None else load_keys(keys), report)
    statements = _statements(file, seal, report)
    points = _points(file, seal, statements, report)
    orders = _orders(file, seal, report)
    own = _own(statements, points.values(), report)
    found = replay(file, seal, orders, list(points.values()), own, report)
    _compare_prices(seal, found, report)
    _compare_trades(file.trades, found.trades, seal, report)
    _compare_statements(statements, points.values(), own, found, report)


def _seal(file: IntervalFile, keys: Keys | LedgerKeys | None, report: Report) -> Seal:
    report.begin("note")
    if keys is None:
        checkpoint = parse_note(file.note)[0]
        report.remark("No KEYS were given: whether the district signed this seal was not checked.")
    elif isinstance(keys, LedgerKeys):
        raise UnjudgedError("KEYS pin milestones only: ask for the district's KEYS")
    else:
        checkpoint = open_note(file.note, keys.origin, keys.log)
        report.tick(f"a pinned key of {keys.origin} signed the log of {checkpoint.size} entries")
        _cosigned(file, checkpoint, keys)
    origin = checkpoint.origin
    require(origin == file.district, f"the log is of {origin}, the file of {file.district}")
    report.begin("seal")
    _in_log(file.seal, "seal", checkpoint)
    seal = Seal.read(file.seal.entry)
    check_prices(seal)
    for name, says, due in (
        ("interval", file.interval, seal.interval),
        ("district", file.district, seal.district),
        ("rule", file.rule, seal.rule),
        ("mode", file.mode, seal.mode or "metered"),
        ("tie_key", file.tie_key, seal.interval),
    ):
        report.begin(name)
        require(says == due, f"the file says {says}, the seal {due}")
    report.begin("seal")
    report.tick(f"entry {file.seal.index} of the log seals it: {file.mode}, rule {file.rule}")
    if file.session is not None:
        report.begin("session")
        _in_log(file.session, "session", checkpoint)
    return seal


def _cosigned(file: IntervalFile, checkpoint: Checkpoint, keys: Keys) -> None:
    """Check the signatures beside the note as far as KEYS demand them."""
    own: list[str] = []
    others: list[str] = []
    for text in file.cosignatures:
        (own if NoteLine.read(text).name == keys.origin else others).append(text)
    for text in own:
        open_mldsa(text, checkpoint, keys.mldsa)
    require(own or not keys.mldsa, "KEYS demand an ML-DSA-44 signature, there is none")
    names = {open_cosignature(text, checkpoint, keys.witnesses.keys)[0].name for text in others}
    need = keys.witnesses.threshold
    require(len(names) >= need, f"{len(names)} of {need} needed witnesses cosigned it")


def _in_log(item: LogEntry, kind: str, log: Checkpoint) -> None:
    held = in_tree(entry_bytes(kind, item.entry), item.index, log.size, item.path, log.root)
    require(held, f"{kind} entry {item.index} is not in the log of the note")


def _statements(file: IntervalFile, seal: Seal, report: Report) -> Sequence[Statement]:
    report.begin("statements")
    hashes = [leaf_hash(statement_leaf(item.salt, item.leaf)) for item in file.statements]
    require(root(hashes) == seal.settlement_root, "they do not give the sealed settlement_root")
    require(len(hashes) == seal.counts.statements, "the seal counts another number of them")
    found = [Statement.read(item.leaf) for item in file.statements]
    for item in found:
        _of_here(item, item.participant, seal)
    names = [item.participant for item in found]
    require(names == sorted(set(names)), "a participant has two, or they are out of order")
    report.tick(f"{len(found)} give the sealed settlement_root")
    return found


def _of_here(item: Statement | Order, name: str, seal: Seal) -> None:
    here = (item.district, item.interval) == (seal.district, seal.interval)
    require(here, f"{name} is of another district or interval")


def _points(
    file: IntervalFile, seal: Seal, statements: Iterable[Statement], report: Report
) -> Mapping[str, MeteredPoint]:
    """Return the roster's points: energies from the statements, tariffs from their leaves."""
    report.begin("tariffs")
    hashes = [leaf_hash(tariff_leaf(item.point, item.salt, item.leaf)) for item in file.tariffs]
    require(root(hashes) == seal.tariff_hash, "they do not give the sealed tariff_hash")
    tariffs = {item.point: Tariff.read(item.leaf) for item in file.tariffs}
    places = {item.point: Place.parse(item.place) for item in file.tariffs}
    require(len(tariffs) == len(hashes) == seal.roster_size, "not one for each roster point")
    found: dict[str, MeteredPoint] = {}
    for statement in statements:
        energy = {(item.point, item.direction): item for item in statement.metered}
        for point in dict.fromkeys(item.point for item in statement.metered):
            require(
                point in tariffs and point not in found, f"{point} has no tariff, or two owners"
            )
            drawn, fed_in = (energy.get((point, way)) for way in ("import", "export"))
            if drawn is None or fed_in is None:
                raise LayoutError(f"the statement of {point} lacks its import or its export")
            found[point] = MeteredPoint(
                point,
                statement.participant,
                Energy(drawn.wh),
                Energy(fed_in.wh),
                bool(drawn.estimated),
                _market_tariff(tariffs[point]),
                place=places[point],
            )
    every = [*found, *file.alone]
    require(len({*every}) == len(every), "a point that only measures stands in a statement, too")
    require({*every} == tariffs.keys(), "a roster point stands in no statement")
    report.tick(f"{len(tariffs)} give the sealed tariff_hash")
    if file.alone:
        number = len(file.alone)
        verb = "measures" if number == 1 else "measure"
        report.remark(f"That {number} of the roster's points only {verb} is the file's word.")
    if any(item.place for item in file.tariffs):
        report.remark("Where points stand, for fees by how far energy comes, is the file's word.")
    return found


def _market_tariff(tariff: Tariff) -> MarketTariff:
    return MarketTariff.of(json.loads(tariff.text))


def _orders(file: IntervalFile, seal: Seal, report: Report) -> Sequence[Order]:
    report.begin("orders")
    hashes = [leaf_hash(order_leaf(item.salt, item.leaf)) for item in file.orders]
    require(root(hashes) == seal.order_root, "they do not give the sealed order_root")
    require(len(hashes) == seal.counts.orders, "the seal counts another number of them")
    found = [Order.read(item.leaf) for item in file.orders]
    for item in found:
        _of_here(item, item.order_id, seal)
        require(item.order_id == f"{item.point}-{item.side}", f"{item.order_id} is not its point's")
    ids = [item.order_id for item in found]
    require(ids == sorted(set(ids)), "an order stands twice, or they are out of order")
    report.tick(f"{len(found)} give the sealed order_root")
    return found


def _own(
    statements: Iterable[Statement], points: Iterable[MeteredPoint], report: Report
) -> Sequence[OwnTransfer]:
    """Return what passes between points of one participant, as the statements have to have it."""
    report.begin("own energy")
    found = own_transfers(points)
    due: defaultdict[tuple[str, str], int] = defaultdict(int)
    for transfer in found:
        due[transfer.from_point, "export"] += transfer.wh
        due[transfer.to_point, "import"] += transfer.wh
    for statement in statements:
        for item in statement.metered:
            wh = due[item.point, item.direction]
            says = f"{item.point} has {item.own_wh} Wh of own {item.direction}, due are {wh} Wh"
            require(item.own_wh == wh, says)
    return found


def _compare_prices(seal: Seal, found: Replayed, report: Report) -> None:
    report.begin("price")
    says = f"the seal says {_price(seal.price)}, clearing gives {_price(found.price)}"
    require(seal.price == found.price, says)
    report.begin("hub_prices")
    require(seal.hub_prices == found.hubs, "the sealed prices of the places are other ones")
    report.begin("price")
    places = f", {len(found.hubs)} prices of places" if found.hubs else ""
    report.tick(f"{_price(found.price)}{places}")


def _price(micro_per_kwh: int | None) -> str:
    return "no one price" if micro_per_kwh is None else f"{micro_per_kwh} micro-euros per kWh"


def _compare_trades(
    says: Sequence[Traded], found: Sequence[Trade], seal: Seal, report: Report
) -> None:
    report.begin("trades")
    due = [_traded(trade) for trade in found]
    for number, (one, other) in enumerate(zip(says, due, strict=False)):
        require(one == other, f"trade {number}: {_difference(one, other)}")
    require(len(says) == len(due), f"{len(says)} stand in the file, clearing gives {len(due)}")
    require(len(due) == seal.counts.trades, f"the seal counts {seal.counts.trades} of them")
    report.tick(f"{len(due)}, as clearing gives them")


def _difference(says: Traded, due: Traded) -> str:
    return ", ".join(
        f"{name} {getattr(says, name)} where clearing gives {getattr(due, name)}"
        for name in Traded.__slots__
        if getattr(says, name) != getattr(due, name)
    )


def _traded(trade: Trade) -> Traded:
    return Traded(
        amount_micro=trade.amount.micro,
        buyer=trade.buyer,
        level=LEVEL_WORDS[trade.level],
        price_micro_per_kwh=trade.price.micro_per_kwh,
        product="green" if trade.product == "green" else "any",
        seller=trade.seller,
        wh=trade.energy.wh,
    )


def _compare_statements(
    statements: Iterable[Statement],
    points: Iterable[MeteredPoint],
    own: Sequence[OwnTransfer],
    found: Replayed,
    report: Report,
) -> None:
    """Settle once more and compare: all lines of all statements, local, residual, fees, VAT."""
    report.begin("lines")
    statements = list(statements)
    opening = {item.participant: Money(item.opening_carry_micro) for item in statements}
    settled = settle("", points, own, found.book, found.trades, opening, {})
    due = {item.participant: item for item in settled.statements}
    for item in statements:
        if not item.metered:  # they have left, and are paid what was carried
            empty = not (item.lines or item.sum_micro or item.memo_micro)
            require(empty, f"{item.participant} has lines or sums, and no metering point")
            continue
        other = Statement.load(due[item.participant].payload(item.district, item.interval))
        for name in ("metered", "lines", "sum_micro", "memo_micro"):
            same = getattr(item, name) == getattr(other, name)
            require(same, f"{name} of {item.participant}: meters, trades and tariffs give others")
        left = item.opening_carry_micro + item.sum_micro - item.closing_carry_micro
        moved = sum(transfer.micro for transfer in item.transfers)
        require(left == moved, f"the carry of {item.participant} does not add up")
    report.tick(f"{sum(len(item.lines) for item in statements)}, as settling gives them")
