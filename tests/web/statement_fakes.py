"""Monthly statements in memory, and what was asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tests.web.web_fakes import CLOCK_MS, keys
from web.ports import NotFoundError, RefusedError
from web.ports.statements import (
    Certificates,
    Document,
    Energy,
    Line,
    MonthPage,
    Movement,
    OwnStatements,
    Part,
    Party,
    Peak,
    Period,
    Saving,
    Seal,
    Section,
    Settling,
    StatementLine,
    StatementPage,
    VatRow,
    Wallet,
)

HOSTILE = "<script>alert(3)</script>"
NUMBER = "S-2026-000007"


def line(ref: str, kind: str, micro: int, wh: int | None = 1_000, **more: Any) -> Line:
    """A line at 19 % VAT, 20 ct/kWh."""
    made = Line(
        "supplier", kind, micro, f"Stadtwerke {HOSTILE}", ref, 190_000, wh, 200_000, 200_000
    )
    return replace(made, **more)


DOCUMENT = Document(
    version=1,
    district="lindenhof.wattloom.example",
    number=NUMBER,
    month="2026-06",
    participant="weber",
    final=0,
    clock="real",
    issued_day="2026-07-03",
    issued_ms=CLOCK_MS,
    issuer=Party("Lindenhof", "Lindenweg 1, 10115 Berlin", "12/345"),
    recipient=Party(f"Weber {HOSTILE}", "Lindenweg 5, 10115 Berlin", ""),
    period=Period("2026-06-01", "2026-06-30", "Europe/Berlin"),
    sections=(
        Section(
            point="401234500000000050",
            name=f"Roof {HOSTILE}",
            supplier="north",
            supplier_name=f"Stadtwerke Nord {HOSTILE}",
            periods=(Period("2026-06-01", "2026-06-13"), Period("2026-06-20", "2026-06-20")),
            energy=Energy(1_344, 3, 5_000, 2_000, 500, 2_500, 4_000, 1_000, 0, 3_000, 9_000, 5_000),
            lines=(
                line("1.1", "local-buy", -300_000),
                line("1.2", "residual-import", -500_000, low_micro_per_kwh=-12_500),
                line(
                    "1.3", "standing", -1_300_000, None, name="Meter", days=13, price_micro=100_000
                ),
                line(
                    "1.4",
                    "capacity",
                    -2_600_000,
                    None,
                    name="Power",
                    days=13,
                    days_of_month=30,
                    price_micro=3_000_000,
                    peaks=(Peak("2026-06-03", 4_800),),
                ),
                line("1.5", "residual-export", 240_000),
            ),
        ),
    ),
    corrections=(
        line(
            "C1",
            "residual-import",
            -200_000,
            origin="2026-05",
            corrects="S-2026-000003",
            first_interval=keys()[0],
            last_interval=keys()[0],
            intervals=1,
            reasons=(HOSTILE,),
        ),
    ),
    invoice=Part(NUMBER, (VatRow(190_000, 490, 93),), 490, 93, 583, 30, 553),
    credit_note=Part("C-2026-000002", (VatRow(0, 24, 0),), 24, 0, 24, 0, 24),
    due_cents=529,
    rounding_micro=-10_000,
    wallet=Wallet(5_000_000, -300_000, 0, (Movement("top-up", 1_000_000),), 5_700_000),
    certificates=Certificates(4_000, 500, 1_000, 2_500, 2_000),
    saving=Saving(1_234_567, 7_000_000),
)
CURRENT = replace(DOCUMENT, number="")
SEAL = Seal("ab" * 32, "cd" * 32, "ef" * 32, 4_711, anchored=True)
LINE = StatementLine(
    number=NUMBER,
    credit_note="C-2026-000002",
    month="2026-06",
    participant="weber",
    name=f"Weber {HOSTILE}",
    final=False,
    issued_ms=CLOCK_MS,
    due_cents=529,
    saving_micro=1_234_567,
    state="partly-paid",
    open_cents=229,
)
SETTLING = Settling(
    line=LINE,
    held_cents=100,
    due_day="2026-07-17",
    reference="RF52 S202 6000 001",
    holder=f"Lindenhof {HOSTILE}",
    account="DE02 1203 0000 0000 2020 51",
    code="BCD",
)
PAGE = MonthPage(
    month="2026-06",
    zone="Europe/Berlin",
    months=("2026-07", "2026-06"),
    issued=(LINE,),
    previews=(replace(LINE, number="", participant="bakery", final=True, due_cents=-1_250),),
    ready=2,
    others=3,
    why_not="",
)


@dataclass
class FakeStatements:
    """``refuses`` is raised by the next issue."""

    current: Document | None = CURRENT
    page: MonthPage = PAGE
    refuses: RefusedError | None = None
    settling: Settling = SETTLING
    asked: list[tuple[str, str]] = field(default_factory=list)

    def own(self, participant: str) -> OwnStatements:
        paid = replace(LINE, number="S-2026-000003", due_cents=-5, state="paid-out", open_cents=0)
        lines = (LINE, replace(paid, month="2026-05"))
        return OwnStatements(participant, "Weber", "Europe/Berlin", lines, self.current)

    def one(self, participant: str, number: str) -> StatementPage:
        if number == "current" and self.current:
            return StatementPage("Weber", "Europe/Berlin", self.current, None)
        if number != NUMBER:
            raise NotFoundError("there is no such statement among yours")
        return StatementPage("Weber", "Europe/Berlin", DOCUMENT, SEAL, self.settling)

    def file(self, participant: str, number: str, form: str) -> tuple[bytes, str]:
        if form not in ("pdf", "csv", "json"):
            raise NotFoundError("a statement comes as pdf, csv or json")
        return form.encode(), f"application/{form}"

    def ask_payout(self, participant: str, number: str, iban: str, holder: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append((iban, holder))

    def month(self, month: str) -> MonthPage:
        return replace(self.page, month=month or self.page.month)

    def issue(self, month: str, by: str) -> int:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append((month, by))
        return 2
