"""Text that a database refuses (NUL, half a surrogate), sent by a browser: refused, never a 500."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi.testclient import TestClient

from app.main import create_app
from app.services.sessions import SessionStore
from tests.app.forward_kit import FIRST, ForwardKit
from web.ports import Role

FORMS = (
    ("orders", {"session": "\0", "kind": "step"}),
    ("orders/cancel", {"session": FIRST, "order_id": "1\0"}),
    ("orders/undo", {"session": "\0", "order_id": "1"}),
    ("limits", {"step": "save", "point": "\0"}),
    ("limits/repeat", {"point": "\0", "version": "0"}),
)
SURROGATE = (
    b'--b\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n%s\r\n'
    b'--b\r\nContent-Disposition: form-data; name="order_id"\r\n\r\n\\ud800\r\n'
    b'--b\r\nContent-Disposition: form-data; name="session"\r\n\r\n' + FIRST.encode() + b"\r\n"
    b"--b--\r\n"
)
KIND = "multipart/form-data; boundary=b; charset=unicode_escape"


def test_text_that_no_database_holds(database_url: str, tmp_path: Path) -> None:
    kit = ForwardKit(tmp_path, database_url)
    kit.run()
    app = create_app(kit.house, kit.board, kit.views("flat"), SessionStore(kit.database, "flat"))
    with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        client.post("/enter", data={"role": Role.PROSUMER.value})
        found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/district").text)
        assert found
        accept = {"Accept": "text/html"}
        for form, data in FORMS:
            path = f"/participants/flat/{form}"
            answer = client.post(path, data={"csrf_token": found[1]} | data, headers=accept)
            assert answer.status_code in {409, 422}, form
            assert "<html" in answer.text
        for token, status in ((found[1].encode(), 422), (b"\\ud800", 403)):
            answer = client.post(
                "/participants/flat/orders/cancel",
                content=SURROGATE % token,
                headers=accept | {"Content-Type": KIND},
            )
            assert answer.status_code == status
    assert kit.versions() == []
    kit.close()
