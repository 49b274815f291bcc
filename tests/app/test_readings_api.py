from __future__ import annotations

import json
import sqlite3

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import func, select

from app.api import problems, readings
from app.api.limits import DEFAULT_BYTES, BodyLimits
from app.services.waiting import WaitingReadings
from app.tables import ReadingRow
from metering.batch import MAX_BODY_BYTES, Batch
from metering.receipt import Receipt
from metering.signing import public_key
from tests.app.doorway import GATEWAY, ORIGIN, START, District, key_of

URL = "/api/v1/readings"


@pytest.fixture
def district(plain_district: District) -> District:
    return plain_district


@pytest.fixture
def client(district: District) -> TestClient:
    app = FastAPI()
    problems.install(app)
    app.include_router(readings.build_router(district.door, WaitingReadings(2**25, 40_000)))
    app.add_middleware(BodyLimits)
    return TestClient(app, raise_server_exceptions=False)


def problem(response, status: int) -> dict[str, object]:
    """The problem document, once it is one and echoes nothing of the request."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = json.loads(response.text)
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert "Traceback" not in response.text
    return document


def stored(district: District) -> int:
    with district.database.read() as session:
        return session.exec(select(func.count()).select_from(ReadingRow)).one()


def test_upload_and_receipt(client: TestClient, district: District) -> None:
    signed = district.meters[0].chain(3)
    response = client.post(URL, content=district.batch(*signed).to_body())
    assert response.status_code == 200
    results = response.json()["results"]
    assert [(result["index"], result["status"]) for result in results] == [
        (0, 200),
        (1, 200),
        (2, 200),
    ]
    receipt = Receipt.parse(results[1]["receipt"])
    assert receipt.check(signed[1], ORIGIN, public_key(district.receipt_key)) == START
    address = f"{URL}/{district.meters[0].key}/1/2/receipt"
    assert client.get(address).json() == results[1]["receipt"]


def test_items_are_answered_one_by_one(client: TestClient, district: District) -> None:
    meter = district.meters[0]
    one, other = meter.sign(meter.reading(1)), meter.sign(meter.reading(1, power_w=1))
    early = meter.sign(meter.reading(2, answered_ms=district.clock.now_ms() + 60_001))
    body = district.batch(one, other, early, one).to_body()
    results = client.post(URL, content=body).json()["results"]
    assert [result["status"] for result in results] == [200, 409, 425, 200]
    assert [sorted(result) for result in results] == [
        ["index", "receipt", "status"],
        ["error", "index", "status"],
        ["error", "index", "status"],
        ["index", "receipt", "status"],
    ]


def envelope(**changes: object) -> bytes:
    fields = {"header": "{}", "header_signature": "00" * 64, "readings": []}
    return json.dumps(fields | changes).encode()


ITEM = '{"payload":"{}","signature":"' + "00" * 64 + '"}'
BAD_BODIES = {
    "empty": b"",
    "not UTF-8": b"\xff",
    "NaN": envelope(readings=float("nan")),
    "Infinity": envelope(readings=float("inf")),
    "1e999": envelope().replace(b"[]", b"1e999"),
    "2^63": envelope(readings=2**63),
    "5,000 digits": envelope().replace(b"[]", b"9" * 5_000),
    "lone surrogate": envelope(header="\ud800"),
    "lone surrogate as a key": b'{"\\ud800":1}',
    "duplicate key": b'{"header":"","header":"","header_signature":"","readings":[]}',
    "duplicate key in an item": envelope().replace(
        b"[]", b'[{"payload":"","payload":"","signature":""}]'
    ),
    "surplus key": envelope(more=1),
    "missing key": b'{"header":"{}"}',
    "array": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "number for a text": envelope(header=1),
    "boolean for a list": envelope(readings=True),
    "item without signature": envelope(readings=[{"payload": "{}"}]),
    "signature in capitals": envelope(header_signature="AA" * 64),
    "header not canonical": envelope(header='{"count": 1}'),
    "NUL in the header": envelope(header="\0"),
    "trailing text": envelope() + b"x",
    "two documents": envelope() * 2,
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_a_problem(name: str, client: TestClient, district: District) -> None:
    problem(client.post(URL, content=BAD_BODIES[name]), 400)
    assert stored(district) == 0


def test_a_bad_header_is_a_problem(client: TestClient, district: District) -> None:
    signed = district.meters[0].chain(1)
    forged = Batch(district.batch(*signed).header, bytes(64), tuple(signed))
    problem(client.post(URL, content=forged.to_body()), 401)
    stranger = Batch.pack(signed, key_of(60), ORIGIN, GATEWAY, 0)
    assert "allow" in str(problem(client.post(URL, content=stranger.to_body()), 403)["detail"])
    foreign = Batch.pack(signed, district.gateway, "elsewhere.example", GATEWAY, 0)
    problem(client.post(URL, content=foreign.to_body()), 403)
    assert stored(district) == 0


def test_too_many_readings_are_a_problem(client: TestClient, district: District) -> None:
    body = envelope().replace(b"[]", f"[{','.join([ITEM] * 1_001)}]".encode())
    problem(client.post(URL, content=body), 413)


def test_too_long_a_body_is_cut_off(client: TestClient) -> None:
    problem(client.post(URL, content=b" " * (MAX_BODY_BYTES + 1)), 413)
    problem(client.post(URL, content=iter([b" " * 65_536] * 17)), 413)
    problem(client.post(URL, content=b" " * MAX_BODY_BYTES), 400)
    problem(client.post("/api/v1/other", content=b" " * (DEFAULT_BYTES + 1)), 413)
    problem(client.post("/api/v1/other", content=b" " * DEFAULT_BYTES), 404)


BAD_ADDRESSES = [
    ("/api/v1/readings/xyz/1/1/receipt", 422),
    (f"/api/v1/readings/{'A' * 64}/1/1/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}%0a/1/1/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/0/1/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/{2**31}/1/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/1/{2**53}/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/1/{2**63}/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/1/{'9' * 5_000}/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/1/-1/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/NaN/1/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/1/1%00/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/1/1'--/receipt", 422),
    (f"/api/v1/readings/{'a' * 64}/1/1/receipt", 404),
    ("/api/v1/readings/../../etc/passwd", 404),
    ("/api/v1/nothing", 404),
]


@pytest.mark.parametrize(("address", "status"), BAD_ADDRESSES)
def test_a_bad_address_is_a_problem(client: TestClient, address: str, status: int) -> None:
    document = problem(client.get(address), status)
    assert "passwd" not in json.dumps(document)
    for error in document.get("errors", []):
        assert set(error) == {"where", "rule"}


def test_another_method_is_a_problem(client: TestClient) -> None:
    response = client.delete(URL)
    problem(response, 405)
    assert "POST" in response.headers["allow"]


def test_a_database_that_does_not_answer_is_503_with_retry(
    client: TestClient, district: District
) -> None:
    body = district.batch(*district.meters[0].chain(1)).to_body()
    path = district.database.engine.url.database
    with district.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=50")  # the pool's one idle connection
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        response = client.post(URL, content=body)
        other.execute("ROLLBACK")
    problem(response, 503)
    assert response.headers["retry-after"] == "5"
    assert client.post(URL, content=body).json()["results"][0]["status"] == 200
