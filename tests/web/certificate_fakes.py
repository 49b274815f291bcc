"""Certificates in memory, and what was asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from web.ports import RefusedError
from web.ports.certificates import (
    AskedAction,
    AskedPreview,
    CertificateDay,
    CertificateMonth,
    CertificatesPage,
    HeldLine,
)

HOSTILE = "<script>alert(7)</script>"
MONTH = CertificateMonth(
    month="2026-06",
    consumption_wh=200_000,
    matched_wh=90_000,
    self_used_wh=50_000,
    issued_wh=120_000,
    received_wh=40_000,
    sent_wh=30_000,
    claimed_wh=80_000,
    avoided_g=29_040,
)
PAGE = CertificatesPage(
    participant="weber",
    name=f"Family Weber {HOSTILE}",
    zone="Europe/Berlin",
    month=MONTH,
    days=(
        CertificateDay("2026-06-23", 12_000, 0, 4_000, 0, 0, "2026-07-24"),
        CertificateDay("2026-05-02", 0, 7_500, 5_000, 1_000, 500, "2026-06-02"),
    ),
    older="2026-05-01",
    devices=("Roof",),
    expiry_years=2,
)


@dataclass
class FakeCertificates:
    """``refuses`` is raised by the next step."""

    page: CertificatesPage = PAGE
    refuses: RefusedError | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def held(self, participants: Sequence[tuple[str, str]]) -> Sequence[HeldLine]:
        return [HeldLine(who, f"{name} {HOSTILE}", MONTH) for who, name in participants]

    def certificates(self, participant: str, before: str) -> CertificatesPage:
        self.asked.append(("page", before))
        return self.page

    def preview(self, participant: str, asked: AskedAction) -> AskedPreview:
        return AskedPreview(self._note("preview", participant, asked), 4_000)

    def act(self, participant: str, asked: AskedAction, role: str) -> int:
        return self._note("act", participant, asked, role)

    def _note(self, *what: object) -> int:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(what)
        return 2_500
