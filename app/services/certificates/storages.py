"""Storages: certificates that they took in, and what they give out again, first in first out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlmodel import Session

from app.services.certificates.entries import Entries
from app.services.certificates.scene import Scene
from app.store import certificates
from app.store.bulk import insert_once
from app.tables import DeviceRow, StorageRecordRow
from market.certificate import Status, dischargeable_wh, used_up_wh
from market.certificate_bundle import Change, take
from metering.interval import Interval


def discharge(session: Session, entries: Entries, scene: Scene) -> Mapping[str, int]:
    """Return what each storage's discharge may be certified for, and use up its stock for it.

    Of energy charged in the interval itself nothing counts. What was certified once is not undone:
    a correction of the storage's meter may lower a discharge, and uses up no less for it.
    """
    found = {}
    for device in scene.devices:
        if device.kind == "storage":
            found[device.id] = _discharge(session, entries, scene, device)
    return found


def _discharge(session: Session, entries: Entries, scene: Scene, device: DeviceRow) -> int:
    row = session.get(StorageRecordRow, (device.id, scene.key))
    before_wh = row.discharged_certified_wh if row else 0
    discharged_wh = scene.output_wh(device) or 0
    efficiency_ppm = device.efficiency_ppm or 0
    if discharged_wh <= before_wh or not efficiency_ppm:
        return min(discharged_wh, before_wh)
    there = certificates.stock(session, device.id, before=scene.key, lock=True)
    more_wh = dischargeable_wh(
        discharged_wh - before_wh, sum(each.wh for each in there), efficiency_ppm
    )
    origins: list[dict[str, object]] = []
    for part, rest in take(there, used_up_wh(more_wh, efficiency_ppm)):
        gone = replace(part, status=Status.CANCELLED)
        entries.change(Change(part, gone, rest))
        entries.tell("cancel", part, part.account, None, f"{device.id}/{scene.key}")
        origins.append(
            {
                "device_id": device.id,
                "interval": scene.key,
                "issuance_id": part.issuance,
                "range_start": part.first,
                "range_end": part.last,
            }
        )
    insert_once(session, "certificate_origin", origins)
    return before_wh + more_wh


def record(session: Session, scene: Scene, discharged: Mapping[str, int]) -> None:
    """Write what each storage took in and gave out in the interval, once that stands."""
    after = Interval.parse(scene.key).next()
    taken = certificates.of_interval(session, scene.key, Status.LOCKED, Status.CANCELLED)
    for device in scene.devices:
        if device.kind == "storage":
            row = session.get(StorageRecordRow, (device.id, scene.key)) or StorageRecordRow(
                device_id=device.id,
                interval=scene.key,
                charged_wh=0,
                charged_certified_wh=0,
                discharged_wh=0,
                discharged_certified_wh=0,
                stored_certified_wh=0,
            )
            row.charged_wh = scene.input_wh(device) or 0
            row.charged_certified_wh = sum(e.wh for e in taken if e.beneficiary == device.id)
            row.discharged_wh = scene.output_wh(device) or 0
            row.discharged_certified_wh = max(row.discharged_certified_wh, discharged[device.id])
            left = certificates.stock(session, device.id, before=after.key)
            row.stored_certified_wh = sum(each.wh for each in left)
            session.add(row)
