"""Certificates of a small district, from the meters to final and beyond."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from app.services.certificates import devices
from app.services.certificates.accounts import Choice, act
from app.services.certificates.desk import CertificateDesk
from app.services.certificates.devices import NewDevice
from app.services.certificates.figures import MonthFigures, month_figures
from app.services.certificates.final import expire
from app.services.certificates.issuing import issue
from app.tables import CertificateOriginRow, StorageRecordRow
from market.certificate import CertificateError
from market.certificate_bundle import Action
from tests.app.certificate_kit import GreenKit, open_kit
from web.ports import RefusedError
from web.ports.certificates import AskedAction, AskedPreview

BEHIND = {"roof": "production", "cell": "storage"}


@pytest.fixture
def kit(tmp_path):
    """A home with a metered roof and a battery, which count from the second quarter-hour on."""
    names = ("solar", "flat", "shop", *BEHIND)
    kit = open_kit(tmp_path, names=names, green=(), behind=BEHIND)
    kit.add_device("solar", "production", "roof")
    kit.add_device("solar", "storage", "cell")
    kit.live(roof=(0, 100), solar=(0, 100))
    yield kit
    kit.check_certificates()
    kit.close()


def figures(kit: GreenKit, who: str) -> MonthFigures:
    found = kit.ask(lambda session: month_figures(session, who, "2026-06"))
    assert isinstance(found, MonthFigures)
    return found


def test_from_the_meters_to_final_and_into_other_hands(kit):
    assert kit.states() == {}  # the devices begin with the next interval
    key = kit.live(roof=(0, 1000), solar=(0, 600), flat=(250, 0))
    assert kit.states(key) == {
        "roof solar Claimed": 400,
        "roof flat Reserved": 250,
        "roof solar Reserved": 350,
    }
    with pytest.raises(CertificateError, match=r"350 Wh are reserved .* on 2026-07-23"):
        act(kit.house, "solar", Action.CLAIM, Choice(), 10)
    kit.finalise()
    assert kit.states(key) == {
        "roof solar Claimed": 400,
        "roof flat Claimed": 250,
        "roof solar Active": 350,
    }
    assert act(kit.house, "solar", Action.TRANSFER, Choice(), 100, "shop", preview=True) == 100
    assert act(kit.house, "solar", Action.TRANSFER, Choice(), 100, "shop") == 100
    desk = CertificateDesk(kit.house)
    asked = AskedAction("2026-06-23", amount="0.06")
    told = desk.preview("shop", asked)
    assert told == AskedPreview(60, 100)
    assert desk.act("shop", replace(asked, free="100"), "prosumer") == 60
    with pytest.raises(RefusedError, match="40 Wh of that day are free now and not 100"):
        desk.act("shop", replace(asked, free="100"), "prosumer")  # sent twice
    with pytest.raises(RefusedError, match="that page is old"):
        desk.act("shop", replace(asked, free="\0"), "prosumer")
    act(kit.house, "shop", Action.WITHDRAW, Choice(), 40)
    act(kit.house, "solar", Action.CANCEL, Choice(), 50, "Summer fair")
    assert kit.states(key) == {
        "roof solar Claimed": 400,
        "roof flat Claimed": 250,
        "roof solar Active": 200,
        "roof solar Cancelled": 50,
        "roof shop Claimed": 60,
        "roof shop Withdrawn": 40,
    }
    for account, to in (("solar", "solar"), ("solar", "nobody"), ("nobody", "solar")):
        with pytest.raises(CertificateError, match=r"no other account|no account"):
            act(kit.house, account, Action.TRANSFER, Choice(), 1, to)
    assert figures(kit, "solar") == MonthFigures(
        issued_wh=1000, sent_wh=350, self_used_wh=400, claimed_wh=400, matched_wh=400, avoided_g=145
    )
    assert figures(kit, "shop") == MonthFigures(received_wh=100, claimed_wh=60, avoided_g=22)
    assert figures(kit, "flat") == MonthFigures(
        received_wh=250, claimed_wh=250, matched_wh=250, avoided_g=91
    )


def test_estimates_bring_none_and_doing_it_again_changes_nothing(kit):
    silent = kit.live(roof=(0, 1000), solar=(0, 600), flat=(250, 0), silent=["roof"])
    back = kit.live(roof=(0, 500), solar=(0, 500))
    assert kit.states(silent) == {}
    assert kit.states(back) == {}  # its opening border is missing, too
    key = kit.live(roof=(0, 500), solar=(0, 300), flat=(100, 0))
    stands = kit.bundles()
    assert kit.states() == {
        "roof solar Claimed": 200,
        "roof flat Reserved": 100,
        "roof solar Reserved": 200,
    }
    with kit.database.write() as session:
        issue(kit.house, session, key)
        issue(kit.house, session, silent)
    assert kit.bundles() == stands


def test_a_buyers_claim_is_at_most_what_their_meter_says(kit):
    key = kit.live(roof=(0, 300), solar=(0, 300), flat=(250, 0))
    with kit.database.write() as session:
        kit.correct(session, key, "flat", 180, 0)
    kit.finalise()
    assert kit.states(key) == {
        "roof flat Claimed": 180,
        "roof flat Active": 70,
        "roof solar Active": 50,
    }
    assert figures(kit, "flat").matched_wh == 180


def test_a_correction_after_the_claim_is_a_debt_that_the_next_issue_pays(kit):
    first = kit.live(roof=(0, 1000), solar=(0, 600), flat=(250, 0))
    with kit.database.write() as session:
        kit.correct(session, first, "roof", 0, 300)
    assert kit.states(first) == {
        "roof solar Claimed": 400,
        "roof flat Withdrawn": 250,
        "roof solar Withdrawn": 350,
    }
    assert kit.debt() == 100
    kit.check_certificates()
    after = kit.live(roof=(0, 500), solar=(0, 500), flat=(200, 0))
    assert kit.states(after) == {"roof flat Reserved": 200, "roof solar Reserved": 200}
    assert kit.debt() == 0
    kit.check_certificates()
    with kit.database.write() as session:  # the first values were wrong: nothing was owed
        kit.correct(session, first, "roof", 0, 1000)
    assert kit.debt() == 0
    live = {"roof flat Reserved": 200, "roof solar Reserved": 300}
    assert kit.states(after) == live
    assert kit.states(first)["roof flat Reserved"] == 250
    assert kit.states(first)["roof solar Reserved"] == 350


def test_after_final_what_is_free_is_withdrawn_and_the_rest_is_a_debt(kit):
    key = kit.live(roof=(0, 1000), solar=(0, 600), flat=(250, 0))
    kit.finalise()
    act(kit.house, "solar", Action.TRANSFER, Choice(), 300, "shop")
    with kit.database.write() as session:
        kit.correct(session, key, "roof", 0, 900)
    assert kit.states(key)["roof solar Withdrawn"] == 50
    assert kit.states(key)["roof shop Withdrawn"] == 50
    kit.check_certificates()
    with kit.database.write() as session:
        kit.correct(session, key, "roof", 0, 200)
    assert kit.debt() == 450  # 400 self-used and 250 bought are claimed
    assert kit.states(key)["roof shop Withdrawn"] == 300
    kit.check_certificates()
    with kit.database.write() as session:
        kit.correct(session, key, "roof", 0, 1000)
    assert kit.debt() == 0
    assert kit.states(key)["roof solar Active"] == 350


def _in_any_order(kit, changes):
    """What is held and owed after corrections in each order; nothing of it stays."""

    def tried(order):
        with kit.database.write() as session:
            for key, name, wh in order:
                kit.correct(session, key, name, 0, wh)
            found.append((kit.live_of(session), kit.debt_of(session)))
            raise InterruptedError

    found = []
    for order in permutations(changes):
        with pytest.raises(InterruptedError):
            tried(order)
    return found


def test_the_order_of_corrections_does_not_matter(kit):
    keys = [kit.live(roof=(0, 1000), solar=(0, 600), flat=(250, 0)) for _ in range(3)]
    first, *others = _in_any_order(
        kit, [(keys[0], "roof", 500), (keys[1], "roof", 800), (keys[2], "solar", 300)]
    )
    assert all(each == first for each in others)
    # Who pays a debt first may differ, what is held less what is owed does not.
    found = _in_any_order(
        kit, [(keys[0], "roof", 250), (keys[1], "roof", 900), (keys[2], "solar", 300)]
    )
    assert {sum(held.values()) - debt for held, debt in found} == {250 + 900 + 1000}
    assert {debt for _, debt in found} <= {0, 150}


def test_a_battery_of_90_percent_gives_again_what_it_took(kit):
    charge = kit.live(roof=(0, 1000), cell=(500, 0), solar=(0, 0))
    assert kit.states(charge) == {"roof solar Claimed": 500, "roof solar Locked": 500}
    with pytest.raises(CertificateError, match="locked for the storage"):
        act(kit.house, "solar", Action.CLAIM, Choice(), 1)
    half = kit.live(cell=(0, 180), solar=(0, 180), flat=(100, 0))
    assert kit.states(half) == {"cell flat Reserved": 100, "cell solar Reserved": 80}
    assert kit.states(charge)["roof solar Cancelled"] == 200
    rest = kit.live(cell=(0, 600), solar=(0, 200), flat=(50, 0))
    assert kit.states(rest) == {
        "cell solar Claimed": 70,
        "cell flat Reserved": 50,
        "cell solar Reserved": 150,
    }
    assert kit.states(charge) == {"roof solar Claimed": 500, "roof solar Cancelled": 500}
    records = {row.interval: row for row in kit.rows(StorageRecordRow)}
    told = [
        (r.charged_certified_wh, r.discharged_wh, r.discharged_certified_wh, r.stored_certified_wh)
        for r in (records[key] for key in (charge, half, rest))
    ]
    assert told == [(500, 0, 0, 500), (0, 180, 180, 300), (0, 600, 270, 0)]
    origins = kit.rows(CertificateOriginRow)
    assert [(r.interval, r.range_end - r.range_start + 1) for r in origins] == [
        (half, 200),
        (rest, 300),
    ]
    assert all(each.is_storage for each in kit.bundles(rest))
    with kit.database.write() as session:
        issue(kit.house, session, rest)  # once more: nothing is discharged twice
    assert len(kit.rows(CertificateOriginRow)) == 2


def test_after_two_years_they_expire(kit):
    key = kit.live(roof=(0, 300), solar=(0, 300), flat=(100, 0))
    kit.finalise()
    for days, states in ((731, "Active"), (732, "Expired")):
        with kit.database.write() as session:
            expire(kit.later(days), session)
        assert kit.states(key) == {"roof flat Claimed": 100, f"roof solar {states}": 200}
    with pytest.raises(CertificateError, match="200 Wh are expired"):
        act(kit.house, "solar", Action.TRANSFER, Choice(), 1, "shop")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "no/slash"}, "an id has"),
        ({"id": "roof"}, "is there already"),
        ({"kind": "windmill"}, "a kind is one of"),
        ({"technology": "solar"}, "T and six digits"),
        ({"source": "F1"}, "F and eight digits"),
        ({"capacity_w": -1}, "0 or more"),
        ({"capacity_w": 2**31}, "at most 2000000000"),
        ({"emissions_mg_per_kwh": 2**70}, "at most 2000000000"),
        ({"name": "a\x1b[31m"}, "printable"),
        ({"name": "x" * 121}, "at most 120"),
        ({"kind": "storage"}, "needs its efficiency"),
        ({"kind": "storage", "efficiency_ppm": 900_000}, "needs a sub-meter"),
        ({"point": "401234500000000012"}, "no metering point that settles"),
        ({"meter_point": "flat"}, "no metering point of purpose production"),
        ({"meter_point": "roof"}, "measures roof"),
    ],
)
def test_a_device_that_does_not_hold_is_refused(device_kit, change, says):
    kit = device_kit
    given = {"id": "new", "point": kit.homes["solar"].point, **change}
    if given.get("meter_point") in kit.homes:
        given["meter_point"] = kit.homes[given["meter_point"]].point
    with pytest.raises(CertificateError, match=says):
        devices.add(kit.house, NewDevice(**given))


@pytest.fixture(scope="module")
def device_kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    kit = open_kit(
        folder, names=("solar", "flat", "roof"), green=("flat",), behind={"roof": "production"}
    )
    kit.add_device("solar", "production", "roof")
    yield kit
    kit.close()


def test_green_points_get_one_device_and_only_one(device_kit):
    kit = device_kit
    with kit.database.write() as session:
        devices.ensure(session)
        (founded,) = (row for row in devices.listed(session) if row.id != "roof")
    point = kit.homes["flat"].point
    assert (founded.point, founded.technology, founded.source) == (point, "T010000", "F01040100")
    assert point not in founded.id
    with pytest.raises(CertificateError, match="already counts by the export register"):
        devices.add(kit.house, NewDevice("second", point))
    ended = devices.end(kit.house, founded.id)
    with pytest.raises(CertificateError, match="has ended"):
        devices.end(kit.house, founded.id)
    assert devices.add(kit.house, NewDevice("second", point)).valid_from == ended.valid_to
    with pytest.raises(CertificateError, match="no device"):
        devices.end(kit.house, "nothing")
    with pytest.raises(CertificateError, match="has begun"):
        devices.end(kit.house, "second", kit.start)
