"""Certificates out and in: the API, its files, who sees what, and the command line."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app.api import certificates as api
from app.api import problems
from app.cli import cli
from app.files.certificates import NAMES, Item, as_csv, as_json, factor_text, read
from app.files.rows import TableFileError
from app.services.certificates import query
from app.services.certificates.accounts import Choice, act, take_in
from app.services.certificates.query import Sight
from market.certificate import CertificateError
from market.certificate_bundle import Action
from tests.app.certificate_kit import open_kit
from web.ports import Role, Viewer

WIND = Item(
    issuance_id="windpark/2026-06-23T09:00:00Z/7",
    hash="ab" * 32,
    certificate_bundle_status="Active",
    account_id="elsewhere",
    certificate_bundle_id_range_start=101,
    certificate_bundle_id_range_end=400,
    bundle_quantity=300,
    face_value=1,
    beneficiary=None,
    energy_carrier="electricity",
    energy_source="F01050100",
    device_id="windpark",
    device_name="Nordwind",
    device_technology_type="T020000",
    device_capacity=3_000_000,
    device_location="Hooge",
    production_starting_interval="2026-06-23T09:00:00Z",
    production_ending_interval="2026-06-23T09:15:00Z",
    expiry_datestamp="2028-06-23",
    is_storage=False,
    storage_efficiency_factor=None,
    emissions_factor=11_000,
    issue_market_zone="DE-LU",
)
PATH = "/api/v1/certificates"


class FakeSessions:
    """Who asks is the cookie's value: a participant, or a role."""

    def viewer(self, cookie: str | None) -> Viewer | None:
        if not cookie:
            return None
        if cookie in ("manager", "operator"):
            role = Role.MANAGER if cookie == "manager" else Role.OPERATOR
            return Viewer(role, None, "token")
        return Viewer(Role.PROSUMER, cookie, "token")


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    kit = open_kit(tmp_path_factory.mktemp("files"))
    kit.live(solar=(0, 900), flat=(300, 0), shop=(200, 0))
    kit.finalise()
    kit.live(solar=(0, 500), flat=(100, 0))
    kit.finalise()
    yield kit
    kit.check_certificates()
    kit.close()


@pytest.fixture
def client(kit):
    app = FastAPI()
    problems.install(app)
    app.include_router(api.build_router(kit.house, FakeSessions(), frozenset({"shop"})))
    return TestClient(app)


def ask(client, who, path=PATH, **params):
    return client.get(path, params=params, cookies={"wattloom": who} if who else {})


def test_everybody_sees_their_own(client):
    assert ask(client, "").status_code == 401
    flat = ask(client, "flat").json()["items"]
    assert {(i["account_id"], i["certificate_bundle_status"]) for i in flat} == {
        ("flat", "Claimed")
    }
    assert sum(i["bundle_quantity"] for i in flat) == 400
    assert {i["device_name"] for i in flat} == {None}  # a neighbour's roof
    solar = ask(client, "solar").json()["items"]
    assert {i["device_name"] for i in solar} == {"solar"}
    assert {i["account_id"] for i in ask(client, "manager").json()["items"]} == {"shop"}
    energy = ask(client, "operator").json()["items"]
    assert sum(i["bundle_quantity"] for i in energy) == 1400
    assert {(i["account_id"], i["beneficiary"]) for i in energy} == {(None, None)}


def test_pages_follow_each_other_and_filters_narrow(client, kit):
    seen, cursor = [], ""
    while cursor is not None:
        page = ask(client, "operator", limit=2, cursor=cursor).json()
        seen += [(i["issuance_id"], i["certificate_bundle_id_range_start"]) for i in page["items"]]
        cursor = page["next"]
    assert len(seen) == len(set(seen)) == 5
    late = "2026-06-23T09:15:00Z"
    assert len(ask(client, "operator", **{"from": late}).json()["items"]) == 2
    assert len(ask(client, "operator", to=late, status="Claimed").json()["items"]) == 2
    assert ask(client, "operator", device="nothing").json() == {"items": [], "next": None}
    for wrong in ({"status": "Lost"}, {"from": "noon"}, {"cursor": "x"}, {"limit": "0"}):
        assert ask(client, "operator", **wrong).status_code == 422


def test_an_export_can_be_read_again(client):
    for form in ("csv", "json"):
        answer = ask(client, "flat", f"{PATH}/export", format=form)
        assert f"certificates.{form}" in answer.headers["content-disposition"]
        changed = answer.text.replace("Claimed", "Active")
        items = read(changed.encode(), form)
        assert sum(item.bundle_quantity for item in items) == 400
        assert {item.production_ending_interval[-6:] for item in items} <= {
            ":15:00Z"[-6:],
            "30:00Z",
        }


def test_what_is_taken_in_is_active_and_never_twice(client, kit):
    def post(who, content, **more):
        params = {"account": "shop", "format": "json", **more}
        return client.post(
            f"{PATH}/import",
            params=params,
            content=content,
            cookies={"wattloom": who},
            headers={"X-CSRF-Token": "token"},
        )

    two = [
        WIND,
        replace(
            WIND,
            certificate_bundle_id_range_start=401,
            certificate_bundle_id_range_end=500,
            bundle_quantity=100,
        ),
    ]
    content = as_json(two)
    for who, more, status in (
        ("solar", {}, 404),
        ("operator", {}, 404),
        ("manager", {"account": "flat"}, 404),
    ):
        assert post(who, content, **more).status_code == status
    answer = post("manager", content, preview="true")
    assert answer.json() == {"bundles": 2, "wh": 400, "written": False}
    assert post("manager", content).json() == {"bundles": 2, "wh": 400, "written": True}
    again = post(
        "manager",
        as_json(
            [
                replace(
                    WIND,
                    certificate_bundle_id_range_start=900,
                    certificate_bundle_id_range_end=900,
                    bundle_quantity=1,
                )
            ]
        ),
    )
    assert again.status_code == 422
    assert "would count twice" in again.json()["detail"]
    bare = client.post(
        f"{PATH}/import", params={"account": "shop"}, content=b"", cookies={"wattloom": "manager"}
    )
    assert bare.status_code == 403
    held = ask(client, "manager", device="windpark").json()["items"]
    assert [i["bundle_quantity"] for i in held] == [300, 100]
    assert held[0]["device_name"] == "Nordwind"
    assert held[0]["issue_market_zone"] == "DE-LU"
    assert act(kit.house, "shop", Action.CLAIM, Choice(device="windpark"), 50) == 50


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"certificate_bundle_status": "Claimed"}, "row 2: only certificates that are Active"),
        ({"bundle_quantity": 299}, "row 2: bundle_quantity is not that of the range, 300"),
        ({"certificate_bundle_id_range_end": 100}, "is '100', not a whole number from 101"),
        ({"face_value": 1000}, "face_value is not 1 Wh"),
        ({"energy_carrier": "gas"}, "energy_carrier is not electricity"),
        ({"production_ending_interval": "2026-06-23T10:00:00Z"}, "is no quarter-hour"),
        ({"production_starting_interval": "noon"}, "row 2: "),
        ({"expiry_datestamp": "soon"}, "not a day such as"),
        ({"device_id": ""}, "row 2: device_id is empty"),
        ({"device_capacity": -1}, "device_capacity is '-1'"),
        ({"device_capacity": 3 * 10**9}, "a whole number from 0 to 2000000000"),
        ({"emissions_factor": 2**40}, "emissions_factor is '1099511627776', not a whole number"),
        (
            {"certificate_bundle_id_range_end": 10**13, "bundle_quantity": 10**13 - 100},
            "more than 1000000000000 Wh are no quarter-hour's",
        ),
    ],
)
def test_a_file_that_does_not_hold_is_refused_with_its_row(change, says):
    with pytest.raises(TableFileError, match=says):
        read(as_csv([replace(WIND, **change)]), "csv")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{}", "no JSON array of objects"),
        (b"[{]", "no JSON in UTF-8"),
        (b'[{"surprise": 1}]', "item 1: unknown field 'surprise'"),
        (b"[{}]", "item 1: certificate_bundle_id_range_end is missing"),
        (as_json([WIND]).replace(b"300,", b"[300],"), "neither text nor a whole number"),
        (as_json([WIND]).replace(b"false", b'"perhaps"'), "neither true nor false"),
    ],
)
def test_json_that_does_not_hold_is_refused(content, says):
    with pytest.raises(TableFileError, match=says):
        read(content, "json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"expiry_datestamp": "2026-06-22"}, "expired on"),
        ({"device_id": "own"}, "is certified here"),
        ({"issuance_id": "own"}, "is in this register already"),
        ({"storage_efficiency_factor": "most"}, "no share such as 0.9"),
    ],
)
def test_what_does_not_fit_this_register_is_refused(kit, change, says):
    own = kit.bundles()[0]
    names = {"device_id": own.device, "issuance_id": own.issuance}
    change = {name: names.get(name, value) for name, value in change.items()}
    item = (
        replace(WIND, issuance_id="other/1", device_id="other", **change)
        if not set(change) & set(names)
        else replace(WIND, **{"issuance_id": "other/2", "device_id": "other2", **change})
    )
    with pytest.raises(CertificateError, match=says):
        take_in(kit.house, "shop", [item], "administrator")


def test_a_file_with_one_certificate_twice_or_two_faces_of_a_device_is_refused(kit):
    new = replace(WIND, issuance_id="sea/1", device_id="sea")
    for items, says in (
        ([new, new], "stands in the file twice"),
        ([new, replace(new, issuance_id="sea/2", device_capacity=1)], "described in two ways"),
        ([], "holds no bundle"),
    ):
        with pytest.raises(CertificateError, match=says):
            take_in(kit.house, "shop", items, "administrator")
    with pytest.raises(CertificateError, match="no account"):
        take_in(kit.house, "nobody", [new], "administrator")
    found = query.page(kit.house, Sight(None), Choice(device="sea"))
    assert not found.items


def test_factors_and_columns():
    assert [factor_text(ppm) for ppm in (None, 900_000, 1_000_000, 125)] == [
        None,
        "0.9",
        "1",
        "0.000125",
    ]
    header = next(csv.reader(io.StringIO(as_csv([]).decode())))
    assert tuple(header) == NAMES
    assert ",'=1+1," in as_csv([replace(WIND, device_name="=1+1")]).decode()  # no formula


def test_the_command_line(kit, tmp_path):
    def run(*words: str):
        where = ["--data", str(kit.folder), "--settings", str(settings)]
        return CliRunner().invoke(cli, [*words, *where])

    settings = tmp_path / "district.toml"
    settings.write_text(f'database_url = "{kit.url}"\n')
    listed = run("certificate", "list", "--account", "solar", "--json")
    assert listed.exit_code == 0, listed.output
    assert sum(i["bundle_quantity"] for i in json.loads(listed.stdout)) == 800
    assert "transfer: 10 Wh" in run("certificate", "transfer", "solar", "flat", "--wh", "10").stderr
    for action in ("claim", "cancel", "withdraw"):
        assert f"{action}: 3 Wh" in run("certificate", action, "flat", "--wh", "3").stderr
    refused = run("certificate", "claim", "flat", "--wh", "9")
    assert refused.exit_code == 1
    assert "1 Wh are Active" in refused.stderr
    out = tmp_path / "out.csv"
    assert run("certificate", "export", str(out), "--status", "Active").exit_code == 0
    assert "already" in run("certificate", "import", "flat", str(out)).stderr
    point = kit.homes["shop"].point
    assert run("device", "add", "shop-roof", point, "--capacity", "9000").exit_code == 0
    assert "shop-roof" in run("device", "list").stdout
    assert run("device", "end", "shop-roof").exit_code == 0
