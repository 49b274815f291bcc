"""Sharing keys in memory: two roofs, their versions, and what was asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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

HOSTILE = "<script>alert(1)</script>"
TODAY = Today("2026-06-23", 48_300, 31_250)
SCHOOL = KeyVersion(
    number=3,
    roof="Lindenhof School",
    point="570000000000000077",
    day="2026-06-01",
    kind="static",
    again=True,
    price_micro_per_kwh=98_500,
    members=(
        MemberLine("Bakery Korn", "570000000000000091", 400_000, 12_400),
        MemberLine("Family Okafor", "570000000000000053", 250_000, 4_300),
        MemberLine(
            "Heat-pump block North, Lindenweg 12 to 18", "570000000000000107", 200_000, 5_900
        ),
    ),
    unowned_ppm=150_000,
    state="holds",
    source="june.csv",
    today=Today("2026-06-23", 28_300, 22_600),
)
MILL = replace(
    SCHOOL,
    number=4,
    roof="Office at the Mill",
    kind="by-volume",
    again=False,
    members=tuple(
        replace(line, ppm=None, today_wh=wh)
        for line, wh in zip(SCHOOL.members, (4_100, 1_450, 3_100), strict=True)
    ),
    unowned_ppm=0,
    today=Today("2026-06-23", 20_000, 8_650),
)
TO_COME = replace(
    SCHOOL,
    number=5,
    day="2026-07-01",
    kind="equal",
    again=False,
    price_micro_per_kwh=0,
    members=tuple(replace(line, ppm=333_333, today_wh=0) for line in SCHOOL.members),
    unowned_ppm=0,
    state="to-come",
    source=f"{HOSTILE}.csv",
    today=None,
)
END = replace(TO_COME, number=6, roof=HOSTILE, members=(), day="2026-08-01")
OLD = replace(SCHOOL, number=1, day="2026-05-01", state="replaced", today=None)
PAGE = SharingPage(
    active=True,
    today=TODAY,
    versions=(OLD, replace(OLD, number=2, state="withdrawn"), SCHOOL, MILL, TO_COME, END),
)
SHARE = OwnShare("Roof A", "Weber", "static", True, 250_000, 98_500, "2026-06-01", False, 4_300)
OWN = OwnSharing(
    active=True,
    day="2026-06-23",
    shares=(
        SHARE,
        replace(SHARE, roof="Roof B", kind="by-volume", again=False, ppm=None, today_wh=0),
        OwnShare("Roof A", HOSTILE, "equal", False, 333_333, 0, "2026-07-01", True, 0),
    ),
    roofs=(
        OwnRoof(
            "Family Weber", "static", 4, 850_000, 98_500, "2026-06-01", False,
            Today("2026-06-23", 9_100, 6_600),
        ),
        OwnRoof("Family Weber", "equal", 0, None, 0, "2026-08-01", True, None),
    ),
)  # fmt: skip


@dataclass
class FakeSharing:
    """Answers from the constants; ``refuses`` is raised by every change."""

    shown: SharingPage = PAGE
    mine: OwnSharing = OWN
    refuses: KeysRefusedError | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def page(self) -> SharingPage:
        return self.shown

    def own(self, participant: str) -> OwnSharing:
        self.asked.append(("own", participant))
        return self.mine

    def today(self) -> Today:
        return self.shown.today

    def keys_csv(self) -> bytes:
        return b"generator\r\n"

    def preview(self, name: str, content: bytes) -> KeyPreview:
        self._note("preview", name, content)
        planned = replace(TO_COME, number=None, state="planned", replaces=3)
        return KeyPreview(name, content, (planned, replace(END, number=None, state="planned")))

    def confirm(self, name: str, content: bytes) -> int:
        self._note("confirm", name, content)
        return 2

    def undo(self, number: int) -> int:
        if number == 0:
            raise KeysRefusedError(["there is no version 0"])
        self._note("undo", number)
        return 1

    def _note(self, *what: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(what)
