"""The one signature rule of the network: strict Ed25519 as libsodium checks it.

docs/adr/0003-ledger-signature-rule.md says why this is stricter than TIP-14.
"""

from __future__ import annotations

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey


def is_valid_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether ``signature`` (64 bytes) of ``message`` by ``public_key`` (32 bytes) holds.

    Refused besides wrong signatures: an S not reduced, keys and points of small order, and
    encodings that are not canonical. All that passes is also valid under TIP-14 (ZIP-215).
    """
    try:
        VerifyKey(public_key).verify(message, signature)
    except BadSignatureError:
        return False
    return True
