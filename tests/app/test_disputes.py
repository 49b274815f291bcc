"""Disputes of statement lines: opened, held, answered or withdrawn; refused where they must be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.jobs.statements import issue
from app.services.corrections import values
from app.services.corrections.values import Authorised
from app.services.disputes import service
from app.services.disputes.desk import DisputesDesk
from app.services.disputes.lines import stated
from app.services.disputes.service import DisputeError, NoSuchDisputeError
from app.store import disputes
from app.tables import DisputeRow, MonthlyStatementRow
from metering.interval import Interval
from tests.app.district_kit import Kit
from web.ports import NotFoundError, RefusedError

START = Interval.parse("2026-06-30T21:30:00Z")  # the last two quarter-hours of June, local


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """June's statements are issued; the flat draws enough to owe whole euros."""
    folder = tmp_path_factory.mktemp("disputes")
    kit = Kit(folder, f"sqlite:///{folder / 'district.db'}", start=START)
    for _ in range(4):
        kit.live(solar=(0, 900), flat=(12_000, 0), shop=(300, 0))
    issue(kit.house, "2026-06", "manager")
    yield kit
    kit.close()


@pytest.fixture
def kit(told: Kit) -> Iterator[Kit]:
    """The district without disputes."""
    yield told
    with told.database.write() as session:
        for row in told.rows(DisputeRow):
            session.delete(session.get_one(DisputeRow, row.id))


def statement(kit: Kit, name: str = "flat") -> MonthlyStatementRow:
    (row,) = kit.rows(MonthlyStatementRow, MonthlyStatementRow.participant == name)
    return row


def line_of(kit: Kit, kind: str, name: str = "flat") -> str:
    return next(ref for ref, line in stated(statement(kit, name)).items() if line.kind == kind)


def held(kit: Kit, name: str = "flat") -> int:
    return kit.ask(lambda session: disputes.held_micro(session, statement(kit, name).number))


def opened(kit: Kit, kind: str = "residual-import", name: str = "flat") -> DisputeRow:
    number = statement(kit, name).number
    return service.open_dispute(kit.house, name, number, line_of(kit, kind, name), "Why?\nSo much")


def test_what_a_line_asks_is_held_with_its_vat_in_whole_cents(kit: Kit) -> None:
    lines = {line.kind: line for line in stated(statement(kit)).values()}
    energy = lines["residual-import"]
    assert (energy.wh or 0) + (lines["local-buy"].wh or 0) == 24_000
    net = -energy.micro
    gross = net + (net * 19 + 50) // 100
    row = opened(kit)
    assert (row.state, row.text) == ("open", "Why?\nSo much")
    assert row.held_micro == held(kit) == (gross + 5_000) // 10_000 * 10_000
    assert 0 < held(kit) < statement(kit).due_micro
    # Local energy was paid at once: of it VAT alone is still due. What was sold holds nothing.
    assert 0 < opened(kit, "local-buy").held_micro < -lines["local-buy"].micro
    assert opened(kit, "local-sell", "solar").held_micro == 0
    for kind in ("grid-fee", "levy", "local-fee"):
        opened(kit, kind)
    assert held(kit) <= statement(kit).due_micro


REFUSED = {
    "another's statement": ("shop", None, "residual-import", "text", "no statement"),
    "no such statement": ("flat", "S-1999-000001", "residual-import", "text", "no statement"),
    "no such line": ("flat", None, "7.7", "text", "has no line"),
    "no text": ("flat", None, "residual-import", " \n ", "write a text"),
    "too long": ("flat", None, "residual-import", "x" * 2_001, "at most 2000"),
    "what cannot be seen": ("flat", None, "residual-import", "a\x00b", "cannot be seen"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_disputed(kit: Kit, case: str) -> None:
    who, number, kind, text, reason = REFUSED[case]
    line = kind if "." in kind else line_of(kit, kind)
    with pytest.raises(DisputeError, match=reason):
        service.open_dispute(kit.house, who, number or statement(kit).number, line, text)
    assert kit.rows(DisputeRow) == []


def test_a_line_is_disputed_once_at_a_time(kit: Kit) -> None:
    first = opened(kit)
    with pytest.raises(DisputeError, match="disputed already"):
        opened(kit)
    assert service.withdraw(kit.house, "flat", first.id or 0).state == "withdrawn"
    assert held(kit) == 0
    again = opened(kit)
    assert again.id != first.id
    with pytest.raises(DisputeError, match="is closed: withdrawn"):
        service.withdraw(kit.house, "flat", first.id or 0)


def test_only_whose_it_is_withdraws_and_only_their_manager_answers(kit: Kit) -> None:
    row = opened(kit)
    with pytest.raises(NoSuchDisputeError):
        service.withdraw(kit.house, "shop", row.id or 0)
    with pytest.raises(NoSuchDisputeError):
        service.answer(
            kit.house, row.id or 0, "refused", "no", "building-manager", managed={"shop"}
        )
    with pytest.raises(NoSuchDisputeError):
        service.answer(kit.house, 10**9, "refused", "no", "building-manager")
    assert kit.rows(DisputeRow)[0].state == "open"


def test_a_dispute_is_refused_with_a_reason(kit: Kit) -> None:
    row = opened(kit)
    with pytest.raises(DisputeError, match="write a text"):
        service.answer(kit.house, row.id or 0, "refused", "", "building-manager")
    assert held(kit) > 0
    done = service.answer(kit.house, row.id or 0, "refused", "It was read", "building-manager")
    assert (done.state, done.answer, done.answered_by) == (
        "refused", "It was read", "building-manager"
    )  # fmt: skip
    assert done.closed_ms == kit.clock.now_ms()
    assert held(kit) == 0
    notices = {notice.ref: notice for notice in kit.notices("dispute/")}
    for state in ("open", "refused"):
        assert "Flat" not in notices[f"dispute/{row.id}/{state}"].text
        assert notices[f"dispute/{row.id}/{state}"].point == kit.homes["flat"].point


def test_a_dispute_ends_in_a_correction_that_is_on_record(kit: Kit) -> None:
    row, key = opened(kit), START.key
    point = kit.homes["flat"].point
    for remedy in ("", "nonsense", f"{key}/{point}/1", f"{key}/{point}/x"):
        with pytest.raises(DisputeError, match="name the correction"):
            service.answer(kit.house, row.id or 0, "corrected", "Sorry", "building-manager", remedy)
    text = f"point,interval,import_wh,export_wh\n{point},{key},11900,0\n"
    values.enter(kit.house, Authorised("v", text.encode(), "read again", "administrator"))
    with pytest.raises(DisputeError, match="name the correction"):  # it is not the shop's
        service.answer(
            kit.house,
            opened(kit, "residual-import", "shop").id or 0,
            "corrected",
            "Sorry",
            "building-manager",
            f"{key}/{point}/1",
        )
    done = service.answer(
        kit.house, row.id or 0, "corrected", "Sorry", "building-manager", f"{key}/{point}/1"
    )
    assert (done.state, done.remedy) == ("corrected", f"{key}/{point}/1")


def test_the_pages_show_own_disputes_with_the_open_ones_first(kit: Kit) -> None:
    desk, number = DisputesDesk(kit.house), statement(kit).number
    closed = opened(kit)
    desk.withdraw("flat", closed.id or 0)
    kit.clock.advance_to(kit.clock.now_ms() + 60_000)
    desk.open("flat", number, line_of(kit, "levy"), "Why?")
    desk.open("shop", statement(kit, "shop").number, line_of(kit, "levy", "shop"), "And I?")
    page = desk.listed({"flat"})
    assert [(each.state, each.line.kind) for each in page.disputes] == [
        ("open", "levy"),
        ("withdrawn", "residual-import"),
    ]
    assert [each.participant for each in desk.listed({"flat", "shop"}).disputes][-1] == "flat"
    shown = desk.statement(number, {"flat"})
    assert shown.held_micro == page.disputes[0].held_micro > 0
    assert [line.ref for line in shown.lines if line.disputed] == [line_of(kit, "levy")]
    assert shown.due_micro == statement(kit).due_micro
    for wrong in (lambda: desk.statement(number, {"shop"}), lambda: desk.withdraw("shop", 1)):
        with pytest.raises(NotFoundError):
            wrong()
    with pytest.raises(RefusedError, match="corrected or refused"):
        desk.answer(page.disputes[0].id, "maybe", "x", "", {"flat"}, "building-manager")
    desk.answer(page.disputes[0].id, "refused", "No", "", {"flat"}, "building-manager")
    assert desk.statement(number, {"flat"}).held_micro == 0
