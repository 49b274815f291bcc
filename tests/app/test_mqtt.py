"""Expected prices over MQTT, against a real broker on loopback; one that is away stops nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from amqtt.broker import Broker
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pwdlib.hashers.argon2 import Argon2Hasher

from app.jobs import publish
from app.jobs.forecast import Forecaster
from app.services import broker
from app.services.broker import BrokerError
from app.services.forecasts.prices import expected_prices, message
from app.tables import ForecastRunRow
from tests.app.district_kit import START, Kit
from tests.app.forecast_kit import HOMES, sky_at_hand, week

HOUR_MS = 3_600_000
WAIT_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_broker(
    port: int, passwords: Path | None = None, certificate: Path | None = None
) -> Iterator[None]:
    """A broker in a thread of its own; with a file of passwords it asks for a name."""
    plugins: dict[str, dict[str, Any]] = {
        "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": passwords is None}
    }
    if passwords:
        plugins["amqtt.plugins.authentication.FileAuthPlugin"] = {"password_file": str(passwords)}
    listener: dict[str, Any] = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    if certificate:
        listener |= {"ssl": True, "certfile": str(certificate), "keyfile": str(certificate)}
    config = {"listeners": {"default": listener}, "plugins": plugins}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> Broker:
        made = Broker(config)
        await made.start()
        return made

    try:
        made = asyncio.run_coroutine_threadsafe(start(), loop).result(WAIT_S)
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(made.shutdown(), loop).result(WAIT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAIT_S)
        loop.close()


def retained(port: int, topic: str) -> aiomqtt.Message:
    """What a device gets that subscribes afterwards."""

    async def ask() -> aiomqtt.Message:
        async with asyncio.timeout(WAIT_S), aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe(topic, qos=1)
            return await anext(aiter(client.messages))

    return asyncio.run(ask())


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def kit(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """Six homes with a week behind them, and a broker's address."""
    sky_at_hand(monkeypatch)
    kit = week(tmp_path, mqtt_url=f"mqtt://127.0.0.1:{port}")
    yield kit
    kit.close()


def published(kit: Kit) -> list[int | None]:
    return [row.published_ms for row in kit.rows(ForecastRunRow)]


def test_devices_find_the_newest_prices_whenever_they_come(kit: Kit, port: int) -> None:
    topic = f"wattloom/{kit.settings.origin}/prices/expected"
    forecaster = Forecaster(kit.house)
    with running_broker(port):
        forecaster.run()
        assert published(kit) == [START.start_ms]
        first = retained(port, topic)
        assert (first.retain, first.qos) == (True, 1)
        assert first.payload == kit.ask(lambda session: message(expected_prices(session)))
        kit.clock.advance_to(START.start_ms + HOUR_MS)
        forecaster.run()
        newest = retained(port, topic).payload
        assert isinstance(newest, bytes)
        assert json.loads(newest)["issued_at"] == "2026-06-23T10:00:00Z"
        assert len(json.loads(newest)["intervals"]) == 192


def test_a_broker_that_is_away_is_told_and_tried_again(kit: Kit, port: int) -> None:
    seconds = [0.0]
    forecaster = Forecaster(kit.house, publish.Publisher(kit.house, lambda: seconds[0]))
    forecaster.run()
    assert published(kit) == [None], "the forecast stands none the less"
    (notice,) = kit.notices("alarm/mqtt/")
    assert f"the MQTT broker mqtt://127.0.0.1:{port} did not take" in notice.text
    with running_broker(port):
        forecaster.run()
        assert published(kit) == [None], "not within the same minute"
        seconds[0] = 61.0
        forecaster.run()
        assert published(kit) == [START.start_ms]
    seconds[0] = 600.0
    forecaster.run()
    assert len(kit.notices("alarm/mqtt/")) == 1, "what was published is not sent again"


def test_a_worker_that_was_stopped_before_publishing_does_it_at_its_start(
    kit: Kit, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publish, "publish", stopped)
        with pytest.raises(KeyboardInterrupt):
            Forecaster(kit.house).run()
    with running_broker(port):
        Forecaster(kit.house).run()
    assert published(kit) == [START.start_ms]


def test_a_silent_broker_costs_no_more_than_its_time(port: int) -> None:
    """It accepts the connection and never says a word."""
    with socket.create_server(("127.0.0.1", port)), pytest.raises(BrokerError, match="did not"):
        broker.publish(f"mqtt://127.0.0.1:{port}", "", "a/b", b"x", 0.3)


def test_a_broker_that_asks_for_a_name_gets_it(port: int, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"district:{Argon2Hasher().hash('secret')}\n")
    with running_broker(port, passwords):
        broker.publish(f"mqtt://district@127.0.0.1:{port}", "secret", "a/b", b"x", WAIT_S)
        with pytest.raises(BrokerError, match=r"(?i)not author|bad user name"):
            broker.publish(f"mqtt://district@127.0.0.1:{port}", "wrong", "a/b", b"x", WAIT_S)


def self_signed(folder: Path) -> Path:
    """A certificate of 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(host, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "broker.pem"
    file.write_bytes(
        made.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return file


def test_over_tls_only_a_certificate_that_is_trusted_will_do(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    with running_broker(port, certificate=certificate):
        with pytest.raises(BrokerError, match="CERTIFICATE_VERIFY_FAILED"):
            broker.publish(f"mqtts://127.0.0.1:{port}", "", "a/b", b"x", WAIT_S)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        broker.publish(f"mqtts://127.0.0.1:{port}", "", "a/b", b"x", WAIT_S)


def test_prices_that_stay_private_are_not_published(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sky_at_hand(monkeypatch)
    kit = week(tmp_path, HOMES[:4], mqtt_url=f"mqtt://127.0.0.1:{port}")
    try:
        monkeypatch.setattr(publish, "publish", lambda *_: pytest.fail("it was published"))
        Forecaster(kit.house).run()
        assert published(kit) == [None]
    finally:
        kit.close()
