"""Keys and signatures of the format: ECDSA, for export P-256 with SHA-256 (OCMF 1.4.1, table 22).

Ed25519, which signs readings, is none of the format's algorithms. So a meter has a second key for
it, published in a statement that its Ed25519 key signs (docs/ocmf.md).
"""

from __future__ import annotations

import os
import stat
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from nacl.signing import SigningKey

from metering import canonical
from metering.identity import PublicKey
from metering.ocmf.document import Document, OcmfError, OcmfFormatError
from metering.signing import Purpose, public_key, sign, verify

_CURVES: Final[Mapping[str, str]] = {
    "ECDSA-secp192r1-SHA256": "secp192r1",
    "ECDSA-secp256k1-SHA256": "secp256k1",
    "ECDSA-secp256r1-SHA256": "secp256r1",
    "ECDSA-secp384r1-SHA256": "secp384r1",
    "ECDSA-brainpool256r1-SHA256": "brainpoolP256r1",
    "ECDSA-brainpool384r1-SHA256": "brainpoolP384r1",
}
_PUBLISHED: Final = ("district", "key", "meter", "ocmf", "point")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class OcmfKeyError(OcmfError):
    """No usable key: mend the file, or ask for the one that belongs to the record."""


class OcmfUnsupportedError(OcmfError):
    """An algorithm of the format that cannot be checked here: use other software."""


def create_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key and store it as PEM (PKCS #8) in a new file of mode 0600, synced to disk.

    Raises:
        FileExistsError: the file exists; a key is never overwritten.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return key


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the private P-256 key of a PEM file that nobody else reads.

    Raises:
        OcmfKeyError: others can read it, or it holds no such key.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            raise OcmfKeyError(f"others can read {path}: run chmod 600 {path}")
        content = file.read(10_000)
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise OcmfKeyError(f"{path} holds no private key without a password (PEM)") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise OcmfKeyError(f"{path} holds no P-256 key: make one with wattloom ocmf key")
    return key


def public_hex(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> str:
    """Return a public key as people pass it on: SubjectPublicKeyInfo in DER, as hex."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()


def read_public(text: str) -> ec.EllipticCurvePublicKey:
    """Return the public key of PEM, of DER as hex or base64, or of a P-256 point as hex (04...).

    Raises:
        OcmfKeyError: none of these.
    """
    stripped = text.strip()
    try:
        if stripped.startswith("-----BEGIN"):
            key = load_pem_public_key(stripped.encode())
        else:
            raw = _raw(stripped)
            if len(raw) == 65 and raw[0] == 4:
                return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
            key = load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise OcmfKeyError(
            "no public key: PEM, DER as hex or base64, or a P-256 point as hex is expected"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise OcmfKeyError("the key is for no elliptic curve, which the format needs")
    return key


def _raw(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b64decode(text, validate=True)


def signed(payload: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the record of a payload, signed: ``OCMF|payload|signature``."""
    data = key.sign(payload, ec.ECDSA(SHA256())).hex()
    return b"OCMF|" + payload + b'|{"SA":"ECDSA-secp256r1-SHA256","SD":"' + data.encode() + b'"}'


def signature_holds(document: Document, key: ec.EllipticCurvePublicKey) -> bool:
    """Tell whether the key signed the record's payload, byte for byte.

    Raises:
        OcmfFormatError: the signature's own bytes break the format.
        OcmfUnsupportedError: the algorithm is not to be checked here.
        OcmfKeyError: the key is of another curve than the record's algorithm.
    """
    curve = _CURVES.get(document.algorithm)
    if curve is None:
        raise OcmfUnsupportedError(f"{document.algorithm} cannot be checked here")
    if key.curve.name != curve:
        raise OcmfKeyError(f"the key is of {key.curve.name}, the record's algorithm of {curve}")
    try:
        key.verify(_data(document), document.payload, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    except UnsupportedAlgorithm as error:
        raise OcmfUnsupportedError(f"{document.algorithm} cannot be checked here") from error
    return True


def _data(document: Document) -> bytes:
    text = str(document.signature["SD"])
    coded = str(document.signature.get("SE", "hex"))
    try:
        data = bytes.fromhex(text) if coded == "hex" else b64decode(text, validate=True)
    except ValueError as error:
        raise OcmfFormatError(f"signature.SD is not {coded}") from error
    try:
        decode_dss_signature(data)
    except ValueError as error:
        raise OcmfFormatError("signature.SD is no ECDSA signature in DER") from error
    return data


@dataclass(frozen=True, slots=True)
class Published:
    """A meter's P-256 key, in a statement that its Ed25519 key signed over ``wattloom-ocmf-v1``."""

    payload: bytes
    signature: bytes
    district: str
    point: str
    meter: str
    key: PublicKey
    ocmf: str

    @classmethod
    def of(cls, who: tuple[str, str, str], meter: SigningKey, ocmf: str) -> Self:
        """Sign the statement for (district, point, serial)."""
        district, point, serial = who
        fields = {"district": district, "key": public_key(meter).hex, "meter": serial}
        payload = canonical.encode(fields | {"ocmf": ocmf, "point": point})
        return cls(
            payload, sign(meter, Purpose.OCMF, payload), district, point, serial,
            public_key(meter), ocmf,
        )  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return a statement ``{payload, signature}`` whose signature holds.

        Raises:
            OcmfKeyError: it does not, or it is no such statement.
        """
        try:
            outer = canonical.loads(data)
            payload = str(outer["payload"]).encode()
            signature = bytes.fromhex(str(outer["signature"]))
            fields = canonical.decode(payload)
            texts = {name: str(fields[name]) for name in _PUBLISHED}
            key = PublicKey.parse(texts["key"])
        except (KeyError, ValueError) as error:
            raise OcmfKeyError(f"no statement of a key for OCMF: {error}") from error
        if fields.keys() != set(_PUBLISHED) or not verify(key, Purpose.OCMF, payload, signature):
            raise OcmfKeyError("the meter's key did not sign this statement")
        if read_public(texts["ocmf"]).curve.name != "secp256r1":
            raise OcmfKeyError("the published key is of another curve than P-256")
        return cls(
            payload, signature, texts["district"], texts["point"], texts["meter"], key,
            texts["ocmf"],
        )  # fmt: skip

    def to_json(self) -> bytes:
        """Return the statement's file."""
        fields = {"payload": self.payload.decode(), "signature": self.signature.hex()}
        return canonical.encode(fields) + b"\n"
