"""``wattloom export ocmf``: a charger's sessions as signed records, one file each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from app.files.output import written
from app.services.house import House
from app.services.ocmf import Asked, OcmfExportError, export
from metering.ocmf.session import Identified
from metering.ocmf.signature import load_key

__all__ = ["OcmfExportError", "export_ocmf"]


def export_ocmf(
    house: House,
    which: tuple[str, str, str, str, int | None],
    key: Path,
    folder: Path,
    *,
    force: bool,
) -> list[str]:
    """Write a record per session; return the files' names.

    Args:
        which: point, begin, end, TYPE:DATA of who charged ('' for nobody), threshold in W or None.
        key: the charger's private key.
        folder: where the files go; it is made where it is missing.
        force: whether a file that is there is replaced.

    Raises:
        OcmfExportError, OcmfError: nothing was written: mend what the message names.
        OSError: a file cannot be read or written.
    """
    point, begin, end, ident, threshold_w = which
    kind, _, data = ident.partition(":")
    who = Identified(kind, data) if ident else Identified()
    asked = Asked(point, _ms("--from", begin), _ms("--to", end), who, threshold_w)
    found = export(house, asked, load_key(key))
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for each in found:
        name = f"{point}-T{each.number}.ocmf"
        with written(folder / name, force=force) as file:
            file.write(each.record)
        names.append(name)
    return names


def _ms(option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise OcmfExportError(f"{option} {text!r:.40}: {error}") from error
    if moment.tzinfo is None:
        raise OcmfExportError(f"{option} {text!r:.40}: add its zone, such as +02:00 or Z")
    return round(moment.timestamp() * 1000)
