"""Modbus/TCP Security: both sides show a certificate, and what is wrong is named."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from metering.lines.config import TlsLine
from metering.lines.errors import MeterUnreachableError
from metering.lines.line import open_line
from metering.lines.tls import ROLE_OID, role
from tests.metering.misbehaving import Gateway, Meter, always, coded, in_pieces

NOW = dt.datetime.now(dt.UTC)


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._signed(self.subject, self.key, ca=True, shown=None))

    def issue(self, name: str, shown: str | None = None) -> tuple[Path, Path]:
        """A certificate for this machine, maybe with a role; its file and its key's."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(self._signed(subject, key, ca=False, shown=shown))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, key_file

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool, shown: str | None
    ) -> bytes:
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(hours=1))
            .not_valid_after(NOW + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        if shown is not None:
            text = shown.encode()
            value = x509.UnrecognizedExtension(ROLE_OID, b"\x0c" + bytes([len(text)]) + text)
            builder = builder.add_extension(value, critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def server_context(
    authority: Authority, version: ssl.TLSVersion, shown: str | None
) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = made.maximum_version = version
    made.load_cert_chain(*authority.issue("meter", shown))
    made.load_verify_locations(authority.file)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def line_to(port: int, authority: Authority, *, wanted: str | None = None) -> TlsLine:
    certificate, key = authority.issue("gateway", "reader")
    return TlsLine(
        name="substation", host="127.0.0.1", port=port, ca_file=authority.file,
        certificate_file=certificate, key_file=key, role=wanted,
    )  # fmt: skip


async def read(config: TlsLine) -> list[int]:
    async with open_line(config) as line:
        return await line.unit(1).read(3, 100, 80)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("shown", "wanted"), [(None, None), ("meter", None), ("meter", "meter")])
def test_a_meter_is_read_where_both_sides_trust_each_other(
    tmp_path: Path, version: ssl.TLSVersion, shown: str | None, wanted: str | None
) -> None:
    async def scenario() -> None:
        ours = Authority(tmp_path, "ca")
        context = server_context(ours, version, shown)
        async with Gateway({1: Meter()}, ssl=context) as gateway:
            config = line_to(gateway.port, ours, wanted=wanted)
            assert await read(config) == coded(1, 100, 80)
            assert await read(replace(config, host="localhost")) == coded(1, 100, 80)
            assert await read(replace(config, server_name="localhost")) == coded(1, 100, 80)

    asyncio.run(scenario())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_that_the_meter_refuses_is_named(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """With TLS 1.3 the connection stands, and the first read fails."""

    async def scenario() -> None:
        ours, theirs = Authority(tmp_path, "ca"), Authority(tmp_path, "other-ca")
        context = server_context(theirs, version, None)
        async with Gateway({1: Meter()}, ssl=context) as gateway:
            config = replace(line_to(gateway.port, ours), ca_file=theirs.file)
            with pytest.raises(MeterUnreachableError) as caught:
                await read(config)
            if version is ssl.TLSVersion.TLSv1_3:
                assert "refuses this gateway's certificate" in str(caught.value)
                assert str(config.certificate_file) in str(caught.value)
            assert not gateway.asked

    asyncio.run(scenario())


def test_what_the_meter_shows_is_checked(tmp_path: Path) -> None:
    async def scenario() -> None:
        ours, theirs = Authority(tmp_path, "ca"), Authority(tmp_path, "other-ca")
        context = server_context(ours, ssl.TLSVersion.TLSv1_3, "billing")
        async with Gateway({1: Meter()}, ssl=context) as gateway:
            good = line_to(gateway.port, ours)
            cases = {
                "certificate verify failed": replace(good, ca_file=theirs.file),
                "is not valid for": replace(good, server_name="elsewhere.example"),
                "shows the role 'billing' in its certificate instead of 'meter'": replace(
                    good, role="meter"
                ),
                "absent.pem: .*No such file": replace(good, ca_file=tmp_path / "absent.pem"),
                "key_file .*absent.key": replace(good, key_file=tmp_path / "absent.key"),
                "mismatch": replace(good, key_file=theirs.issue("stray")[1]),
            }
            for message, config in cases.items():
                with pytest.raises(MeterUnreachableError, match=message):
                    await read(config)
            assert not gateway.asked
            assert await read(good) == coded(1, 100, 80)

    asyncio.run(scenario())


def test_a_key_under_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ca")
    config = line_to(1, ours)
    config.key_file.write_bytes(
        ours.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(MeterUnreachableError, match="key_file"):
        asyncio.run(read(config))


def test_a_reply_in_pieces_is_put_together(tmp_path: Path) -> None:
    """Each piece is a TLS record of its own; a client that takes any chunk for a reply is off."""

    async def scenario() -> None:
        ours = Authority(tmp_path, "ca")
        context = server_context(ours, ssl.TLSVersion.TLSv1_3, None)
        async with Gateway({1: Meter(plan=always(in_pieces(60)))}, ssl=context) as gateway:
            config = line_to(gateway.port, ours)

            assert await read(config) == coded(1, 100, 80)

    asyncio.run(scenario())


def test_a_role_that_is_no_text_is_none() -> None:
    assert role(b"") is None
    assert role(b"\x30\x03\x02\x01\x01") is None
