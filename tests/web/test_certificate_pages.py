"""The pages of certificates: what is told, asked before it is done, refused, and hidden."""

from dataclasses import replace

from tests.web.certificate_fakes import HOSTILE, MONTH, PAGE
from tests.web.page_kit import audit, enter, token
from web.pages.certificates import shares
from web.ports import RefusedError, Role
from web.ports.certificates import AskedAction

HERE = "/participants/weber/certificates"
ASKED = {"day": "2026-05-02", "action": "transfer", "amount": "2.5", "to": "school"}


def test_the_month_is_told_by_origin(client):
    enter(client, Role.PROSUMER)
    html = client.get(HERE).text
    html = html.replace("&nbsp;", "\u00a0")
    for told in (
        "90.0\u00a0kWh of your 200.0\u00a0kWh",
        "45.0\u00a0%",
        "25.0\u00a0%",
        "29.0\u00a0kg",
        "In June 2026",
    ):
        assert told in html
    assert HOSTILE not in html
    assert not audit(html).forbidden


def test_only_what_is_free_has_a_form_and_reserved_says_when(client):
    enter(client, Role.PROSUMER)
    html = client.get(HERE).text
    assert html.count("Use what is free") == 1
    assert "Reserved, free on Fri 24 Jul 2026" in html.replace("\u00a0", " ")
    assert f'href="{HERE}?before=2026-05-01"' in html


def test_nothing_is_done_before_it_was_shown_what_it_means(client, certificates):
    enter(client, Role.PROSUMER)
    form = {**ASKED, "csrf_token": token(client)}
    shown = client.post(HERE, data={**form, "step": "ask"})
    assert shown.status_code == 200
    assert "Only its holder can give them back" in shown.text
    assert [each[0] for each in certificates.asked if each[0] != "page"] == ["preview"]
    assert 'name="free" value="4000"' in shown.text
    done = client.post(HERE, data={**form, "free": "4000", "step": "do"})
    assert done.headers["location"] == f"{HERE}?done=transfer"
    assert certificates.asked[-1] == ("act", "weber", AskedAction(**ASKED, free="4000"), "prosumer")
    assert "Passed on." in client.get(done.headers["location"]).text


def test_a_refusal_stands_on_the_page_with_what_was_typed(client, certificates):
    certificates.refuses = RefusedError("4000 Wh are reserved until 24 July", "action")
    enter(client, Role.PROSUMER)
    answer = client.post(HERE, data={**ASKED, "csrf_token": token(client)})
    assert answer.status_code == 422
    assert "4000 Wh are reserved until 24 July" in answer.text
    assert 'value="2.5"' in answer.text


def test_a_form_without_the_token_does_nothing(client, certificates):
    enter(client, Role.PROSUMER)
    assert client.post(HERE, data={**ASKED, "step": "do"}).status_code == 403
    assert not certificates.asked


def test_an_account_without_certificates_is_told_how_they_come(client, certificates):
    nothing = replace(MONTH, consumption_wh=0, matched_wh=0, self_used_wh=0)
    certificates.page = replace(PAGE, month=nothing, days=(), older=None, devices=())
    enter(client, Role.PROSUMER)
    html = client.get(HERE).text
    assert "Nothing was used this month yet" in html
    assert "they come with green energy that you buy" in html


def test_the_manager_gets_the_list_and_others_do_not(client, views):
    enter(client, Role.MANAGER)
    assert "no account here that you manage" in client.get("/certificates").text
    views.participants = lambda viewer: [(viewer.participant or "weber", "Family Weber")]
    html = client.get("/certificates").text
    assert HERE in html
    assert HOSTILE not in html
    enter(client, Role.PROSUMER)
    assert client.get("/certificates").headers["location"] == HERE
    assert client.get("/participants/other/certificates").status_code == 404
    enter(client, Role.OPERATOR)
    assert client.get("/certificates").status_code == 404
    assert client.get(HERE).status_code == 404


def test_shares_add_up_to_the_consumption():
    for month in (MONTH, replace(MONTH, self_used_wh=300_000), replace(MONTH, matched_wh=0)):
        assert sum(part[2] for part in shares(month)) == month.consumption_wh
