"""A district in sharing mode a quarter-hour before midnight, and key files for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from app.services.sharing import keys
from app.services.sharing.file import SharingFileError
from app.tables import TradeRow
from metering.interval import LENGTH_MS, Interval
from tests.app.district_kit import Kit

EVE = Interval.parse("2026-06-23T21:45:00Z")  # until midnight in Berlin
TOMORROW = "2026-06-24"
HEADER = "generator,valid_from,kind,unused,price_micro_per_kwh,member,share_ppm"
NAMES = ("solar", "flat", "shop", "roof", "lone")


def sharing_kit(folder: Path, url: str, **options: Any) -> Kit:
    changes = {"mode": "sharing"} | options.pop("changes", {})
    return Kit(folder, url, names=NAMES, changes=changes, start=EVE, **options)


def after(number: int) -> str:
    """The key of the ``number``-th quarter-hour of the district: 0 is before midnight."""
    return Interval.containing_ms(EVE.start_ms + number * LENGTH_MS).key


def csv(kit: Kit, rows: Iterable[str]) -> bytes:
    """Return a key file; homes are called by their names."""
    text = "\n".join([HEADER, *rows])
    for name, home in kit.homes.items():
        text = text.replace(f"<{name}>", home.point)
    return text.encode()


def key_file(
    kit: Kit,
    shares: Sequence[tuple[str, object]],
    *,
    generator: str = "solar",
    terms: str = "static,export,0",
    day: str = TOMORROW,
) -> bytes:
    members = shares or [("", "")]
    cells = [(f"<{member}>" if member else "", ppm) for member, ppm in members]
    return csv(kit, [f"<{generator}>,{day},{terms},{member},{ppm}" for member, ppm in cells])


def refusal(kit: Kit, content: bytes) -> list[str]:
    """Return what is said of a file that is refused."""
    try:
        keys.take(kit.house, "keys.csv", content)
    except SharingFileError as error:
        points = {home.point: name for name, home in kit.homes.items()}
        said = [str(fault) for fault in error.faults]
        for point, name in points.items():
            said = [text.replace(point, name) for text in said]
        return said
    raise AssertionError("it was taken")


def shared(kit: Kit, interval: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Return Wh and micro-euros of each (seller, buyer) of an interval, by name."""
    names = {home.point: name for name, home in kit.homes.items()}
    return {
        (
            names[row.seller_order.removesuffix("-offer")],
            names[row.buyer_order.removesuffix("-bid")],
        ): (row.wh, row.amount_micro)
        for row in kit.rows(TradeRow, TradeRow.interval == interval)
    }
