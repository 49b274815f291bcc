"""Making a new gateway: commented settings for a person to complete, and its key."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from metering.box.entries import METERS_FOLDER
from metering.box.files import inherit_owner, make_folder, sync_folder
from metering.box.keys import create_key, load_key
from metering.reading import MAX_NAME
from metering.signing import public_key

_STATE: Final = "/var/lib/wattloom-gateway"
"""Where the system's service writes, which may only read ``/etc``."""

SAMPLE: Final = """\
# One gateway of a district. What each key does: docs/gateway.md. After a change:
#   wattloom gateway --check {path}

district = "lindenhof.wattloom.example"  # the district's name, as its keys.json says
name = "{name}"  # under which the district's administrator allows this gateway
key_file = "keys/gateway.key"  # of mode 0400; relative to this file, as all paths here
data = "{data}"  # for the spool: on a disk that keeps what it was told to keep

[server]
url = "https://district.example"
receipt_key = "{nobody}"  # keys.json, receipts: whose promises count
# ca_file = "district-ca.pem"  # if the district's certificate is signed by an authority of its own

[clock]
source = "system"  # who vouches: system (kernel, chrony), ntp, or server (the district's, by TLS)
# ntp_server = "ntp.example"  # asked as well, and able to object

[status]
host = "127.0.0.1"  # beyond this machine only with a password
port = 8010
# password_file = "keys/status.password"  # of mode 0400, 8 characters at least

[readings]
every_s = 60  # signed readings; it divides a quarter-hour
live_every_s = 5  # unsigned values for the status page

[limits]
spool_mib = 2048  # a week of 100 meters takes about 900 MB while the server is away
disk_free_mib = 256  # to be left for others
keep_receipts_days = 7

# The lines that meters hang on: kind "tcp", "rtu-over-tcp", "serial" or "tls"; "p1" and "mqtt"
# for those that tell by themselves (docs/inputs.md).
[[line]]
name = "cellar"
kind = "tcp"
host = "192.0.2.10"
port = 502

# Meters: `wattloom meter add` writes them into {meters}/, one file each. By hand:
# [[meter]]
# point = "707057500000000016"  # the metering point, 18 digits
# serial = "1234567"
# profile = "eastron_sdm630"
# line = "cellar"
# unit = 1
# key_file = "keys/meter-1234567.key"
# epoch = 1
# valid_from = "2026-06-23T09:00:00Z"  # the first interval of its enrolment
"""


def make_gateway(path: Path) -> Sequence[str]:
    """Write the settings and make the gateway's key; return what to tell the person.

    Raises:
        FileExistsError: the settings are there: they are a person's, and never overwritten.
        SigningError, OSError: the key cannot be made, or one that is there cannot be read.
    """
    folder = path.absolute().parent
    make_folder(folder)
    text = SAMPLE.format(
        path=path,
        name=_own_name(),
        data=_STATE if folder.is_relative_to("/etc") else "data",
        nobody="replace-me",
        meters=METERS_FOLDER,
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    inherit_owner(path)
    make_folder(folder / METERS_FOLDER)
    sync_folder(folder)
    key_file = folder / "keys" / "gateway.key"
    try:
        key = create_key(key_file)
    except FileExistsError:  # an earlier try got so far
        key = load_key(key_file)
    return (
        f"{path}: complete district, server.url, server.receipt_key and the lines",
        f"{key_file}: keep it here; its public key, for the administrator of the district:",
        public_key(key).hex,
    )


def _own_name() -> str:
    host = socket.gethostname()
    name = "".join(char if char.isascii() and char.isalnum() else "-" for char in host)
    return f"gateway-{name.strip('-') or '1'}"[:MAX_NAME]
