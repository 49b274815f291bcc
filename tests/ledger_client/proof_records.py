"""The records of a small district by hand: readings, meters, lines, orders, a tariff."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.ledger_client.ledger_bytes import public, salt

ORIGIN = "lindenhof.example"
INTERVAL = "2026-06-23T09:00:00Z"
START_MS = 1_782_205_200_000
END_MS = START_MS + 900_000
Json = dict[str, Any]
ROOF, SILENT, SHOP = "707057500000000018", "707057500000000025", "707057500000000032"


# --- The district -------------------------------------------------------------------------------


def reading(point: str, at_ms: int, seq: int, registers: tuple[int | None, int | None]) -> Json:
    return {
        "answered_ms": at_ms,
        "asked_ms": at_ms - 40,
        "clock": "S",
        "district": ORIGIN,
        "epoch": 1,
        "export_wh": registers[1],
        "import_wh": registers[0],
        "key": public(point).hex(),
        "meter": f"SN-{point[-4:]}",
        "point": point,
        "power_w": None,
        "prev": "00" * 32,
        "quality": "measured",
        "raw": "ab" * 32,
        "resolution_wh": 10,
        "seq": seq,
    }


@dataclass
class Meter:
    point: str
    opening: Json | None
    closing: Json | None
    signer: str = ""
    leaf_signer: str = ""
    next_key: str = ""  # a rotation at the interval's end
    tariff: Json = field(default_factory=lambda: tariff(301_002))
    enrolment: Json = field(default_factory=dict)
    rotation: Json = field(default_factory=dict)
    roster: Json = field(default_factory=dict)

    def enrolled(self, name: str, **changes: object) -> Json:
        return {
            "district": ORIGIN,
            "epoch": 1,
            "key": public(name).hex(),
            "point": self.point,
            "profile": "sdm630",
            "serial": f"SN-{self.point[-4:]}",
            "valid_from": "2026-06-01T00:00:00Z",
        } | changes


def metered(point: str, direction: str, wh: int, local: int, own: int, estimated: int = 0) -> Json:
    return {
        "direction": direction,
        "estimated": estimated,
        "local_wh": local,
        "own_wh": own,
        "point": point,
        "residual_wh": wh - local - own,
        "wh": wh,
    }


def line(kind: str, point: str, wh: int, price: int, micro: int) -> Json:
    return {
        "kind": kind,
        "micro": micro,
        "point": point,
        "price_micro_per_kwh": price,
        "wh": wh,
    }


def tariff(energy: int, vat: int = 190_000) -> Json:
    return {
        "energy_micro_per_kwh": energy,
        "feed_in_micro_per_kwh": 80_000,
        "grid_fee_micro_per_kwh": 70_000,
        "levy_micro_per_kwh": 10_000,
        "local_grid_fee_micro_per_kwh": 20_000,
        "vat_ppm": vat,
    }


def order(point: str, side: str, limit: int, wh: int) -> Json:
    return {
        "district": ORIGIN,
        "interval": INTERVAL,
        "limit_micro_per_kwh": limit,
        "order_id": f"{point}-{side}",
        "point": point,
        "side": side,
        "wh": wh,
    }


def meters_of_the_district() -> list[Meter]:
    return [
        Meter(
            ROOF,
            reading(ROOF, START_MS + 1_200, 61, (1_000, 5_000)),
            reading(ROOF, END_MS + 900, 76, (1_150, 5_400)),
        ),
        Meter(SILENT, None, None),
        Meter(
            SHOP,
            reading(SHOP, START_MS + 10_000, 8, (70_000, None)),
            reading(SHOP, END_MS, 9, (70_020, None)),
            tariff=tariff(301_000),
        ),
    ]


def lines_of_the_district() -> list[Json]:
    return [
        line("local-sell", ROOF, 250, 120_000, 30_000),
        line("local-sell", ROOF, 30, 120_000, 3_600),
        line("residual-export", ROOF, 100, 80_000, 8_000),
        line("residual-import", SILENT, 250, 301_002, -75_251),  # half a unit is rounded up
        line("grid-fee", SILENT, 250, 70_000, -17_500),
        line("levy", SILENT, 250, 10_000, -2_500),
        line("vat", SILENT, 250, 0, -18_098),
        line("local-buy", ROOF, 100, 120_000, -12_000),
        line("residual-import", ROOF, 50, 301_002, -15_050),
        line("local-fee", ROOF, 100, 20_000, -2_000),
        line("grid-fee", ROOF, 50, 70_000, -3_500),
        line("levy", ROOF, 150, 10_000, -1_500),
        line("vat", ROOF, 150, 0, -6_470),  # a half, too
        line("local-fee", SHOP, 20, 20_000, -400),
        line("levy", SHOP, 20, 10_000, -200),
        line("vat", SHOP, 20, 0, -114),
    ]


WALLET, OTHER, TREASURY = salt("anna's address"), salt("bert's address"), salt("treasury")
