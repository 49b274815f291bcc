"""What holds of a district's money and paper at any time, worked out the slow way."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from sqlmodel import Session, select

from app.services.statements.span import Span
from app.store import disputes
from app.store.leaves import tariff_of
from app.tables import (
    AccountMonthRow,
    BillLineRow,
    CertificateMonthRow,
    DeviceRow,
    IntervalRow,
    JournalEntry,
    MonthlyStatementRow,
    NoticeRow,
    PostingRow,
    SettledRow,
    SettlementLine,
    SlotRow,
)
from market.certificate import Status
from market.certificate_bundle import overlaps
from market.money import Price
from market.settlement import Kind, creditor
from metering.interval import Interval, from_ms
from metering.quantities import Energy
from tests.app.certificate_kit import GreenKit
from tests.app.settled_sums import LOCAL, check_sums

MICRO_PER_CENT = 10_000
OF_STATEMENTS = ("receivable:", "supplier", "grid", "levy", "tax", "vat", "rounding")
MOST_LINES = 12  # of a point and interval: each is rounded by less than a micro-euro
PAID = {"local-buy", "local-sell", "local"}


def check(kit: GreenKit) -> None:
    """Everything of this file; one read of the database each."""
    kit.check()
    kit.check_certificates()
    check_progress(kit)
    check_devices(kit)
    with kit.database.read() as session:
        check_sums(session, kit.settings.tz)
        check_months(kit, session)
        check_guarantee(session)
        check_statements(kit, session)


def check_progress(kit: GreenKit) -> None:
    """Nothing stands still, and whoever is due was settled."""
    assert not [row.text for row in kit.rows(NoticeRow) if " stands still" in row.text]
    grace_ms = kit.settings.grace_s * 1000
    for row in kit.rows(IntervalRow):
        if Interval.parse(row.key).end_ms + grace_ms <= kit.worked_ms:
            assert row.state in ("sealed", "final"), row


def check_months(kit: GreenKit, session: Session) -> None:
    """Sums of accounts by month are the sums of their postings, and all of them are 0."""
    expected: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for entry, posting in _postings(session):
        month = f"{from_ms(entry.booked_ms).astimezone(kit.settings.tz):%Y-%m}"
        side = "credit" if posting.micro > 0 else "debit"
        expected[month, posting.account][side] += abs(posting.micro)
    found = {
        (row.month, row.account): Counter(credit=row.credit_micro, debit=row.debit_micro)
        for row in session.exec(select(AccountMonthRow))
    }
    assert {k: v for k, v in found.items() if +v} == {k: v for k, v in expected.items() if +v}
    assert sum(each["credit"] - each["debit"] for each in found.values()) == 0


def _postings(session: Session) -> Iterable[tuple[JournalEntry, PostingRow]]:
    query = select(JournalEntry, PostingRow).join(PostingRow, PostingRow.entry == JournalEntry.id)
    return session.exec(query).all()


# --- The guarantee -------------------------------------------------------------------------------


def check_guarantee(session: Session) -> None:
    """Whatever was metered: all-in nobody pays more in an interval than on their normal tariff.

    Own energy passes whatever the price: where drawing from outside is paid for, that may cost.
    """
    lines: Counter[tuple[str, str]] = Counter()
    for line in session.exec(select(SettlementLine).where(SettlementLine.version == 0)):
        lines[line.interval, line.participant] += line.micro
    normal: Counter[tuple[str, str]] = Counter()
    points: Counter[tuple[str, str]] = Counter()
    own: dict[tuple[str, str], list[tuple[int, Price, Price]]] = defaultdict(list)
    left_out = set()
    slots = {(row.interval, row.point): row for row in session.exec(select(SlotRow))}
    for row in session.exec(select(SettledRow)):
        whose, slot = (row.interval, row.participant), slots[row.interval, row.point]
        tariff = tariff_of(slot)
        earned = tariff.feed_in.of(Energy(slot.export_wh))
        normal[whose] += (earned - tariff.cost_of_import(Energy(slot.import_wh))).micro
        points[whose] += 1
        saved = tariff.energy + tariff.grid_fee - tariff.local_grid_fee  # per kWh, by own energy
        own[whose].append((row.import_own_wh + row.export_own_wh, saved, tariff.feed_in))
        if slot.estimated:
            left_out.add(whose)
    for whose, its in own.items():
        if any(wh for wh, *_ in its) and min(s for _, s, _ in its) < max(f for *_, f in its):
            left_out.add(whose)
    for whose in points:
        if whose not in left_out:
            worse_micro = normal[whose] - lines[whose]
            assert worse_micro <= MOST_LINES * points[whose], (whose, worse_micro)


# --- Certificates --------------------------------------------------------------------------------


def check_devices(kit: GreenKit) -> None:
    """Claimed <= issued <= what the device really gave, and no watt-hour stands twice."""
    bundles = kit.bundles()
    assert overlaps(bundles) is None
    devices = {row.id: row for row in kit.rows(DeviceRow)}
    homes = {home.point: name for name, home in kit.homes.items()}
    issued: Counter[tuple[str, str]] = Counter()
    claimed: Counter[tuple[str, str]] = Counter()
    for each in bundles:
        place = (each.device, each.interval)
        if each.status is not Status.WITHDRAWN:
            issued[place] += each.wh
        if each.status is Status.CLAIMED:
            claimed[place] += each.wh
    for (device, key), wh in issued.items():
        row = devices[device]
        meter = homes[row.meter_point or row.point]
        assert claimed[device, key] <= wh <= kit.true_export_wh[key, meter], (device, key)
    moved = kit.rows(CertificateMonthRow)
    assert sum(row.sent_wh for row in moved) == sum(row.received_wh for row in moved)


# --- Statements ----------------------------------------------------------------------------------


def check_statements(kit: GreenKit, session: Session) -> None:
    """All statements together, and the lines that wait for one, are the journal."""
    rows = session.exec(select(MonthlyStatementRow).order_by(MonthlyStatementRow.number)).all()
    documents = {(row.month, row.participant): json.loads(row.payload) for row in rows}
    assert [row.number for row in rows] == [f"S-2026-{n:06d}" for n in range(1, len(rows) + 1)]
    notes = sorted(row.credit_note for row in rows if row.credit_note)
    assert notes == [f"C-2026-{n:06d}" for n in range(1, len(notes) + 1)]
    for row in rows:
        _check_document(documents[row.month, row.participant])
        held_micro = disputes.held_micro(session, row.number)
        assert 0 <= held_micro <= max(0, row.due_micro)
    expected = _stated(documents.values()) + _waiting(session, documents.keys())
    booked = _booked(session)
    for account in {*expected, *booked}:
        assert expected[account] == booked[account], account
    _check_wallets(kit, session, documents)


class Totals(Counter[str]):
    """Micro-euros by account; unlike a Counter's, sums below 0 stay."""

    def __add__(self, other: Counter[str]) -> Totals:
        found = Totals(self)
        found.update(other)
        return found


def _check_document(document: Mapping[str, Any]) -> None:
    """Energies split up, cents add up, and what they leave over is less than they round."""
    for section in document["sections"]:
        energy = section["energy"]
        for way in ("import", "export"):
            parts = sum(energy[f"{way}_{part}_wh"] for part in ("local", "own", "residual"))
            assert parts == energy[f"{way}_wh"]
    parts = [part for part in (document["invoice"], document["credit_note"]) if part]
    for part in parts:
        assert part["gross_cents"] == sum(r["net_cents"] + r["vat_cents"] for r in part["vat"])
        assert part["due_cents"] == part["gross_cents"] - part["paid_cents"]
    invoice, *credit = (part["due_cents"] for part in parts)
    assert document["due_cents"] == invoice - sum(credit)
    refs = [line["ref"] for line, _ in _lines(document)]
    assert len(set(refs)) == len(refs)


def _lines(document: Mapping[str, Any]) -> Iterable[tuple[Mapping[str, Any], str]]:
    for section in document["sections"]:
        for line in section["lines"]:
            yield line, document["month"]
    for line in document["corrections"]:
        yield line, line["origin"]


def _stated(documents: Iterable[Mapping[str, Any]]) -> Totals:
    """What statements say of each account but wallets."""
    found = Totals()
    for document in documents:
        for line, _ in _lines(document):
            if line["kind"] not in LOCAL:
                found[line["account"]] -= line["micro"]
        vat_cents = document["invoice"]["vat_cents"]
        vat_cents -= (document["credit_note"] or {"vat_cents": 0})["vat_cents"]
        found["vat"] += vat_cents * MICRO_PER_CENT
        found["rounding"] += document["rounding_micro"]
        found[f"receivable:{document['participant']}"] -= document["due_cents"] * MICRO_PER_CENT
    return found


def _waiting(session: Session, issued: Iterable[tuple[str, str]]) -> Totals:
    """What stands on bills that are not issued yet."""
    found, issued = Totals(), set(issued)
    for row in session.exec(select(BillLineRow)):
        if (row.month, row.participant) not in issued and row.kind not in LOCAL:
            found[f"receivable:{row.participant}"] += row.micro
            found[creditor(Kind(row.kind), row.supplier)] -= row.micro
    return found


def _booked(session: Session) -> Totals:
    found = Totals()
    for _, posting in _postings(session):
        if posting.account.startswith(OF_STATEMENTS):
            found[posting.account] += posting.micro
    return found


def _check_wallets(
    kit: GreenKit, session: Session, documents: Mapping[tuple[str, str], Mapping[str, Any]]
) -> None:
    """A wallet closes with what moved it up to the month's end, and opens the next with that."""
    moved: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for entry, posting in _postings(session):
        kind, _, who = posting.account.partition(":")
        if kind == "wallet":
            at = Interval.parse(entry.interval).start_ms if entry.interval else entry.booked_ms
            moved[who].append((at, posting.micro))
    by_person: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for (month, who), document in sorted(documents.items()):
        by_person[who].append(document)
        span, wallet = Span.of(month, kit.settings.tz), document["wallet"]
        if document["issued_ms"] >= span.end_ms:
            held = sum(micro for at, micro in moved[who] if at < span.end_ms)
            assert wallet["closing_micro"] == held, (month, who)
        change = wallet["bought_micro"] + wallet["sold_micro"]
        change += sum(each["micro"] for each in wallet["movements"])
        assert wallet["opening_micro"] + change == wallet["closing_micro"]
    for own in by_person.values():
        for one, other in pairwise(own):
            follows = Span.of(one["month"], kit.settings.tz).next().month == other["month"]
            if follows:
                assert one["wallet"]["closing_micro"] == other["wallet"]["opening_micro"]
