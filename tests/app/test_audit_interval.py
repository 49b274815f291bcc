"""An exported interval is cleared again and agrees; whatever is changed in the file is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.commands.audit import audit
from app.commands.interval_export import ExportError, export_interval
from app.tables import MeteringPointRow
from ledger_client.verify import canonical
from market.order import OrderError
from tests.app.district_kit import Kit, key

Json = dict[str, Any]
ALONE = "That 1 of the roster's points only measures is the file's word."


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("audit")
    names = ("solar", "roof", "flat", "shop", "head")
    kit = Kit(folder, f"sqlite:///{folder / 'wattloom.db'}", names)
    with kit.database.write() as session:  # the feeder's head measures, and settles nothing
        session.get_one(MeteringPointRow, kit.homes["head"].point).purpose = "feeder-head"
    kit.live(solar=(40, 900), roof=(0, 701), flat=(500, 0), shop=(333, 0), head=(9, 737))
    kit.live(solar=(0, 100), roof=(0, 101), flat=(500, 0), shop=(333, 0))
    kit.live(silent=["flat"], solar=(5, 3), shop=(70, 0))
    yield kit
    kit.close()


@pytest.fixture(scope="module")
def export(kit: Kit) -> bytes:
    return export_interval(kit.house, key(0))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_interval_agrees_with_its_seal(kit: Kit, number: int) -> None:
    verdict = audit(key(number), export_interval(kit.house, key(number)), kit.keys())
    assert verdict.code == 0, verdict
    names = [step.name for step in verdict.steps]
    assert names[0] == "file"
    assert {"note", "seal", "statements", "tariffs", "orders", "price", "trades", "lines"} <= {
        *names
    }
    assert verdict.remarks == (ALONE,)


def test_without_keys_the_seal_itself_is_not_checked(export: bytes) -> None:
    verdict = audit(key(0), export, None)
    assert verdict.code == 0
    assert verdict.remarks == (
        "No KEYS were given: whether the district signed this seal was not checked.",
        ALONE,
    )


def test_unknown_keys_are_no_judgement(export: bytes) -> None:
    assert audit(key(0), export, b"{}").code == 2


def _changed(export: bytes, change: Callable[[Json], object]) -> bytes:
    file = json.loads(export)
    change(file)
    return canonical(file)


def _other(value: object) -> object:
    """Return another value of the same kind."""
    if isinstance(value, str):
        digits = {"0": "1", "a": "b", "e": "d"}
        at = next(i for i in range(len(value) - 1, -1, -1) if value[i] in digits)
        return value[:at] + digits[value[at]] + value[at + 1 :]
    assert isinstance(value, int)
    return value + 1


def _at(file: Any, *path: str | int) -> tuple[Any, str | int]:
    for step in path[:-1]:
        file = file[step]
    return file, path[-1]


FIELDS = [
    (("ceiling_micro_per_kwh",), "ceiling_micro_per_kwh"),
    (("floor_micro_per_kwh",), "floor_micro_per_kwh"),
    (("interval",), "file"),
    (("district",), "note"),
    (("rule",), "rule"),
    (("tie_key",), "tie_key"),
    (("seal", "index"), "seal"),
    (("seal", "path", 0), "seal"),
    (("seal", "entry"), "seal"),
    (("orders", 0, "leaf"), "orders"),
    (("orders", 1, "salt"), "orders"),
    (("tariffs", 0, "leaf"), "tariffs"),
    (("tariffs", 1, "salt"), "tariffs"),
    (("tariffs", 2, "point"), "tariffs"),
    (("statements", 0, "leaf"), "statements"),
    (("statements", 1, "salt"), "statements"),
    (("trades", 0, "amount_micro"), "trades"),
    (("trades", 0, "price_micro_per_kwh"), "trades"),
    (("trades", 1, "wh"), "trades"),
    (("trades", 0, "seller"), "trades"),
    (("trades", 0, "buyer"), "trades"),
    (("note",), "note"),
]


@pytest.mark.parametrize(("path", "step"), FIELDS, ids=lambda each: "-".join(map(str, each)))
def test_a_changed_field_is_named(kit: Kit, export: bytes, path: Any, step: str) -> None:
    def change(file: Json) -> None:
        holder, name = _at(file, *path)
        holder[name] = _other(holder[name])

    verdict = audit(key(0), _changed(export, change), kit.keys())
    assert verdict.code == 1, verdict
    assert verdict.steps[-1].name == step
    assert not verdict.steps[-1].ok


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda file: file["orders"].pop(), "orders"),
        (lambda file: file["statements"].pop(0), "statements"),
        (lambda file: file["tariffs"].reverse(), "tariffs"),
        (lambda file: file.pop("alone"), "tariffs"),
        (lambda file: file["alone"].append(file["tariffs"][0]["point"]), "tariffs"),
        (lambda file: file["alone"].append(file["alone"][0]), "tariffs"),
        (lambda file: file["trades"].pop(), "trades"),
        (lambda file: file["trades"].reverse(), "trades"),
        (lambda file: file["trades"][0].update(level="feeder"), "trades"),
        (lambda file: file["trades"][0].update(product="green"), "trades"),
        (lambda file: file.update(mode="sharing"), "mode"),
        (lambda file: file.update(version=2), "file"),
        (lambda file: file.update(extra=1), "file"),
        (lambda file: file.update(session=file["seal"]), "session"),
        (lambda file: file.pop("trades"), "file"),
        (
            lambda file: file["contracts"].append({"buyer": "a", "seller": "b", "wh": 1}),
            "contracts",
        ),
    ],
)
def test_what_is_missing_moved_or_added_is_named(
    kit: Kit, export: bytes, change: Callable[[Json], object], step: str
) -> None:
    verdict = audit(key(0), _changed(export, change), kit.keys())
    assert (verdict.code, verdict.steps[-1].name) == (1, step), verdict


def test_another_intervals_file_is_refused(kit: Kit, export: bytes) -> None:
    verdict = audit(key(1), export, kit.keys())
    assert (verdict.code, verdict.steps[-1].name) == (1, "file")


def test_every_changed_byte_is_noticed(kit: Kit, export: bytes) -> None:
    """Sampled over the whole file: no byte of it is without meaning."""
    for at in range(0, len(export), 97):
        changed = export[:at] + bytes([export[at] ^ 1]) + export[at + 1 :]
        assert audit(key(0), changed, kit.keys()).code == 1, export[at - 30 : at + 30]


def test_only_sealed_intervals_are_exported(kit: Kit) -> None:
    with pytest.raises(ExportError, match="there is no interval"):
        export_interval(kit.house, key(9))
    with pytest.raises(ExportError, match="once it is sealed"):
        export_interval(kit.house, key(3))


def test_what_the_market_refuses_is_a_difference(
    kit: Kit, export: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> object:
        raise OrderError("order 'x': its participant cannot be the supplier")

    monkeypatch.setattr("app.commands.audit.replay", refuses)
    assert audit(key(0), export, kit.keys()).code == 1


def test_the_commands(kit: Kit, tmp_path: Path) -> None:
    """One writes the file whole, the other judges it; both say in their exit code how it went."""
    settings, keys, out = tmp_path / "s.toml", tmp_path / "keys.json", tmp_path / "interval.json"
    settings.write_text(f'database_url = "{kit.url}"\n')
    keys.write_bytes(kit.keys())
    given = ["--out", str(out), "--data", str(kit.folder), "--settings", str(settings)]
    runner = CliRunner()
    done = runner.invoke(cli, ["export", "interval", key(0), *given])
    assert done.exit_code == 0, done.output
    assert [each.name for each in tmp_path.glob("interval*")] == ["interval.json"]
    judged = runner.invoke(cli, ["audit", key(0), str(out), "--keys", str(keys)])
    assert judged.exit_code == 0, judged.output
    assert judged.output.endswith("The interval agrees with its seal.\n")
    as_json = runner.invoke(cli, ["audit", key(1), str(out), "--keys", str(keys), "--json"])
    assert (as_json.exit_code, json.loads(as_json.output)["code"]) == (1, 1)
    unread = runner.invoke(cli, ["audit", key(0), str(tmp_path / "none.json")])
    assert (unread.exit_code, "cannot read" in unread.output) == (2, True)
    unsealed = runner.invoke(cli, ["export", "interval", key(9), *given])
    assert (unsealed.exit_code, "there is no interval" in unsealed.output) == (1, True)


def test_the_sample_of_the_documents_still_agrees() -> None:
    """What was exported once stays good: its format is read, and its rules are kept, for ever."""
    samples = Path(__file__).parents[2] / "docs" / "samples"
    file, keys = (samples / name for name in ("interval.json", "keys.json"))
    verdict = audit(key(0), file.read_bytes(), keys.read_bytes())
    assert (verdict.code, verdict.remarks) == (0, ()), verdict
