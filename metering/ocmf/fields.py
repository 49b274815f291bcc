"""Which fields a record has, and what may stand in each (OCMF 1.4.1, tables 1 to 24)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, TypeAlias


class FieldError(ValueError):
    """What stands in a field is not what the format allows there."""


Kind: TypeAlias = Callable[[object], None]

FISCAL: Final = "F"
TIME: Final = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}[+-]\d{4}) (?P<clock>[UISR])", re.ASCII
)
STATES: Final = frozenset("NGTDRMXIOSEF")
LEVELS: Final = [
    "NONE",
    "HEARSAY",
    "TRUSTED",
    "VERIFIED",
    "CERTIFIED",
    "SECURE",
    "MISMATCH",
    "INVALID",
    "OUTDATED",
    "UNKNOWN",
]
FLAGS: Final = [
    "RFID_NONE",
    "RFID_PLAIN",
    "RFID_RELATED",
    "RFID_PSK",
    "OCPP_NONE",
    "OCPP_RS",
    "OCPP_AUTH",
    "OCPP_RS_TLS",
    "OCPP_AUTH_TLS",
    "OCPP_CACHE",
    "OCPP_WHITELIST",
    "OCPP_CERTIFIED",
    "ISO15118_NONE",
    "ISO15118_PNC",
    "PLMN_NONE",
    "PLMN_RING",
    "PLMN_SMS",
]
IDENTIFICATIONS: Final = [
    "NONE",
    "DENIED",
    "UNDEFINED",
    "ISO14443",
    "ISO15693",
    "EMAID",
    "EVCCID",
    "EVCOID",
    "ISO7812",
    "CARD_TXN_NR",
    "CENTRAL",
    "CENTRAL_1",
    "CENTRAL_2",
    "LOCAL",
    "LOCAL_1",
    "LOCAL_2",
    "PHONE_NUMBER",
    "KEY_CODE",
]
ALGORITHMS: Final = [
    "ECDSA-secp192k1-SHA256",
    "ECDSA-secp256k1-SHA256",
    "ECDSA-secp192r1-SHA256",
    "ECDSA-secp256r1-SHA256",
    "ECDSA-brainpool256r1-SHA256",
    "ECDSA-secp384r1-SHA256",
    "ECDSA-brainpool384r1-SHA256",
]
_MOST_DIGITS: Final = 40


def _text(most: int = 2_000) -> Kind:
    def check(value: object) -> None:
        if not isinstance(value, str) or len(value) > most:
            raise FieldError(f"a text of at most {most} characters is expected")

    return check


def _matching(pattern: str, shape: str) -> Kind:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: object) -> None:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise FieldError(f"{value!r:.60} is not {shape}")

    return check


def _one_of(names: list[str] | str) -> Kind:
    def check(value: object) -> None:
        if not isinstance(value, str) or value not in [*names]:
            raise FieldError(f"{value!r:.60} is none of {', '.join(names)}")

    return check


def _flag(value: object) -> None:
    if type(value) is not bool:
        raise FieldError("true or false is expected")


def _number(value: object) -> None:
    if not isinstance(value, Decimal):
        raise FieldError("a number is expected, without quotes")
    _sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or len(digits) + abs(exponent) > _MOST_DIGITS:
        raise FieldError(f"a number of at most {_MOST_DIGITS} digits is expected")


def _identification_flags(value: object) -> None:
    if not isinstance(value, list) or len(value) > 4:
        raise FieldError("an array of at most 4 texts is expected")
    for item in value:
        _one_of(FLAGS)(item)


def _loss(value: object) -> None:
    if not isinstance(value, dict) or not {"LR", "LU"} <= value.keys():
        raise FieldError("an object with LR and LU is expected")
    for name, kind in (("LR", _number), ("LU", _one_of(["mOhm", "uOhm"]))):
        kind(value[name])
    if "LI" in value:
        _number(value["LI"])
    if "LN" in value:
        _text(20)(value["LN"])


def _readings(value: object) -> None:
    if not isinstance(value, list):
        raise FieldError("an array is expected")


def _errors(value: object) -> None:
    if not isinstance(value, str) or not set(value) <= {"E", "t"} or len(set(value)) < len(value):
        raise FieldError(f"{value!r:.60} is not made of E (energy) and t (time), each once")


USER_FIELDS: Final[Mapping[str, Kind]] = {
    "IS": _flag,
    "IL": _one_of(LEVELS),
    "IF": _identification_flags,
    "IT": _one_of(IDENTIFICATIONS),
    "ID": _text(),
    "TT": _text(250),
}
TOP_FIELDS: Final[Mapping[str, Kind]] = {
    "FV": _matching(r"[0-9]{1,4}\.[0-9]{1,4}", "a version such as 1.4"),
    "GI": _text(),
    "GS": _text(),
    "GV": _text(),
    "PG": _text(),
    "MV": _text(),
    "MM": _text(),
    "MS": _text(),
    "MF": _text(),
    **USER_FIELDS,
    "CF": _text(25),
    "LC": _loss,
    "CT": _one_of(["EVSEID", "CBIDC"]),
    "CI": _text(),
    "RD": _readings,
}
READING_FIELDS: Final[Mapping[str, Kind]] = {
    "TM": _text(),
    "TX": _one_of("BCXELRAPST"),
    "RV": _number,
    "RI": _matching(r"[ -~]{1,40}", "an OBIS code"),
    "RU": _one_of(["kWh", "Wh"]),
    "RT": _one_of(["AC", "DC"]),
    "CL": _number,
    "EF": _errors,
    "ST": _one_of("".join(sorted(STATES))),
}
SIGNATURE_FIELDS: Final[Mapping[str, Kind]] = {
    "SA": _one_of(ALGORITHMS),
    "SE": _one_of(["hex", "base64"]),
    "SM": _one_of(["application/x-der"]),
    "SD": _text(),
}
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "payload": ("PG", "RD"),
    "user": ("IS", "IT"),
    "reading": ("TM", "ST"),
    "signature": ("SD",),
}
