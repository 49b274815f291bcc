"""Modbus/TCP Security: mutual TLS, and the role in a certificate.

Source: Modbus/TCP Security Protocol Specification, MB-TCP-Security-v21: TLS 1.2 or later, both
sides show X.509v3 certificates, a role stands as UTF8String in extension 1.3.6.1.4.1.50316.802.1.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier

from metering.lines.config import TlsLine

ROLE_OID: Final = ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
_UTF8_STRING: Final = 0x0C


class TlsError(Exception):
    """Certificates do not fit: nothing is read; a person mends the file or key that is named."""


def context(config: TlsLine) -> ssl.SSLContext:
    """Return the client's context for ``config``.

    Raises:
        TlsError: a file cannot be read, is no PEM, or the key does not fit the certificate.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_verify_locations(config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"line {config.name}: ca_file {config.ca_file}: {error}") from error
    try:
        # A key under a passphrase is an error: nobody is there to type it.
        made.load_cert_chain(config.certificate_file, config.key_file, password="")
    except (OSError, ssl.SSLError) as error:
        raise TlsError(
            f"line {config.name}: certificate_file {config.certificate_file}, key_file "
            f"{config.key_file}: {error}"
        ) from error
    return made


def check_role(config: TlsLine, transport: asyncio.BaseTransport) -> None:
    """Check that the meter's certificate carries the role that ``config`` asks for, if any.

    Raises:
        TlsError: it carries none, or another.
    """
    if config.role is None:
        return
    shown: ssl.SSLObject = transport.get_extra_info("ssl_object")
    found = role(shown.getpeercert(binary_form=True) or b"")
    if found != config.role:
        raise TlsError(
            f"line {config.name}: {config.host}:{config.port} shows "
            f"{'no role' if found is None else f'the role {found!r}'} in its certificate instead "
            f"of {config.role!r}: give the meter a certificate with it, or drop the key 'role'"
        )


def role(certificate: bytes) -> str | None:
    """Return the role in a certificate (DER), ``None`` if it has none or no readable one."""
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        value = extensions.get_extension_for_oid(ROLE_OID).value
    except (ValueError, x509.ExtensionNotFound):
        return None
    if not isinstance(value, x509.UnrecognizedExtension):
        return None
    der = value.value
    if len(der) < 2 or der[0] != _UTF8_STRING or der[1] != len(der) - 2:
        return None
    return der[2:].decode("utf-8", "replace")
