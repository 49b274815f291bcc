"""What tests of the pages over HTTP share: addresses, entering, and an auditor of HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from fastapi.testclient import TestClient
from httpx import Response

from tests.web.web_fakes import keys
from web.ports import Role

KEY = keys()[2]
PROOF = f"/proofs/{KEY}/weber"
COMMON = ("/district", "/intervals", f"/intervals/{KEY}", f"/intervals/{keys()[-1]}", "/verify")
OWN = ("/participants", "/participants/weber")


def enter(client: TestClient, role: Role) -> Response:
    answer: Response = client.post("/enter", data={"role": role.value})
    return answer


def token(client: TestClient) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/district").text)
    assert found
    return found[1]


class Auditor(HTMLParser):
    """Collects what the policy forbids, and the text of every figure."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: list[str] = []
        self.figures: list[str] = []
        self.ids: list[str] = []
        self._figure = False
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._script = tag == "script"
        if tag == "style" or "style" in given or any(name.startswith("on") for name in given):
            self.forbidden.append(f"{tag} {attrs}")
        if any(name.startswith(("hx-on", "hx-vals")) for name in given):
            self.forbidden.append(f"{tag} {attrs}")
        for name in ("src", "href", "action"):
            if re.match(r"(https?:)?//|javascript:", given.get(name) or ""):
                self.forbidden.append(f"{tag} {name}={given[name]}")
        if given.get("id"):
            self.ids.append(given["id"] or "")
        self._figure = "num" in (given.get("class") or "").split() or tag == "dd"

    def handle_endtag(self, tag: str) -> None:
        self._figure = self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.forbidden.append(f"inline script {data[:40]}")
        if self._figure and data.strip():
            self.figures.append(data.strip())


def audit(html: str) -> Auditor:
    auditor = Auditor()
    auditor.feed(html)
    return auditor


ROLES = {
    Role.MANAGER: (*COMMON, "/participants"),
    Role.PROSUMER: (*COMMON, *OWN),
    Role.OPERATOR: COMMON,
}
