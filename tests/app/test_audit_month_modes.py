"""Months of the other market modes: running ones, whose previews stand in for issued statements."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.audit.compare import Difference
from app.audit.month import audit_month
from app.audit.monthfile import Issued, MonthFile
from app.commands.month_export import export_month
from app.services.sharing import keys
from app.services.statements import gather, issuing
from app.services.statements.span import Span
from ledger_client.verify import Report, Verdict, canonical
from tests.app.district_kit import CEILING, FEED_IN, Kit
from tests.app.forward_kit import ForwardKit, steps
from tests.app.sharing_kit import key_file, sharing_kit

JUNE = "2026-06"


def audited(kit: Kit, folder: Path) -> tuple[Verdict, Sequence[Difference]]:
    """Audit what the running month's statements would say now."""
    out, filled = folder / "june.zip", io.BytesIO()
    with kit.database.read() as session:
        span = Span.of(JUNE, kit.settings.tz)
        ground = gather.ground(session, span, kit.clock.now_ms())
        built = issuing.documents(kit.house, session, ground, sorted(ground.holders()))
    export_month(kit.house, JUNE, out, force=False)
    previews = [
        Issued(f"P-{who}", who, canonical(each.document).decode()) for who, each in built.items()
    ]
    with zipfile.ZipFile(out) as old, zipfile.ZipFile(filled, "w") as new:
        for name in old.namelist():
            lines = b"".join(each.text.encode() + b"\n" for each in previews)
            new.writestr(name, lines if name == "statements.jsonl" else old.read(name))
    report, found = Report(), list[Difference]()
    verdict = report.judge(
        lambda: found.extend(audit_month(JUNE, MonthFile(filled), kit.keys(), report))
    )
    return verdict, found


def test_a_month_with_sharing_keys_agrees(tmp_path: Path) -> None:
    kit = sharing_kit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}")
    shares = [("flat", 500_000), ("shop", 300_000)]
    keys.take(kit.house, "keys.csv", key_file(kit, shares, terms="static,again,100001"))
    for _ in range(2):
        kit.live(solar=(40, 1_001), flat=(207, 0), shop=(903, 0), lone=(400, 0))
    verdict, differences = audited(kit, tmp_path)
    kit.close()
    assert differences == []
    assert verdict.code == 0, verdict


@pytest.mark.long
def test_a_month_with_a_forward_session_agrees(tmp_path: Path) -> None:
    kit = ForwardKit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}")
    kit.run()
    kit.enter("solar", steps("offer", 600, 600, 600, 600, limit=FEED_IN))
    kit.enter("flat", steps("bid", 400, 400, 400, 400, limit=CEILING))
    kit.enter("shop", steps("bid", 200, 200, 200, 200, limit=CEILING))
    for _ in range(4):
        kit.live(solar=(0, 901), flat=(307, 0), shop=(203, 0))
    kit.live(solar=(0, 900), flat=(500, 0), shop=(200, 0))  # more than agreed
    kit.live(solar=(0, 300), flat=(500, 0), shop=(500, 0))  # solar is short
    kit.live(solar=(0, 600), flat=(100, 0), shop=(250, 0))  # the flat is short
    kit.live(solar=(0, 600), flat=(100, 0), shop=(250, 0), silent=["flat"])
    verdict, differences = audited(kit, tmp_path)
    kit.close()
    assert differences == []
    assert verdict.code == 0, verdict
