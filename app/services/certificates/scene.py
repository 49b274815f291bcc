"""Reads what an interval's certificates are worked out from: devices, meters, trades, storages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from app.services.certificates.measured import Measured, measured
from app.store import market, registry
from app.tables import DeviceRow
from market.certificate import Border, Charging, Sale, Unit, unmetered_production
from market.order import GRID
from market.parties import own_transfers
from market.place import Product


@dataclass(frozen=True, slots=True)
class Scene:
    """An interval's devices with their owners (by device), and what the meters told."""

    key: str
    devices: Sequence[DeviceRow]
    owners: Mapping[str, str]
    told: Mapping[str, Measured]
    sales: Mapping[str, Sequence[Sale]]  # by the seller's metering point

    def output_wh(self, device: DeviceRow) -> int | None:
        """Return what a device with a sub-meter gave out; None where that was not measured."""
        told = self.told.get(device.meter_point or "")
        return None if told is None else told.output_wh(device.output_register)

    def input_wh(self, device: DeviceRow) -> int | None:
        """Return what a storage took in; None where that was not measured."""
        told = self.told.get(device.meter_point or "")
        return None if told is None else told.input_wh(device.output_register)

    def charging(self) -> Charging:
        """Return what storages took in, by metering point."""
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for device in self.devices:
            if device.kind == "storage":
                found[device.point][device.id] = self.input_wh(device) or 0
        return found

    def borders(self, discharged: Mapping[str, int]) -> list[Border]:
        """Return the measured points with devices; ``discharged`` is certified, by storage."""
        behind: dict[str, list[DeviceRow]] = defaultdict(list)
        for device in self.devices:
            if device.id in self.owners and device.point in self.told:
                behind[device.point].append(device)
        return [
            Border(
                point=point,
                account=self.owners[own[0].id],
                exported_wh=self.told[point].export_wh,
                units=self._units(point, own, discharged),
                sales=self.sales.get(point, ()),
            )
            for point, own in sorted(behind.items())
        ]

    def _units(
        self, point: str, own: Sequence[DeviceRow], discharged: Mapping[str, int]
    ) -> list[Unit]:
        storages = [device for device in own if device.kind == "storage"]
        makers = [device for device in own if device.kind == "production"]
        metered = {d.id: self.output_wh(d) or 0 for d in makers if d.meter_point is not None}
        others = [self.output_wh(d) for d in own if d.meter_point is not None]
        units = [Unit(device, wh) for device, wh in metered.items()]
        units += [Unit(d.id, discharged.get(d.id, 0), is_storage=True) for d in storages]
        for device in makers:
            # A sub-meter that is silent could have given all of the export: nothing is certain.
            if device.meter_point is None and None not in others:
                told_wh = sum(wh or 0 for wh in others)
                wh = unmetered_production(self.told[point].export_wh, told_wh)
                units.append(Unit(device.id, wh))
        return sorted(units, key=lambda unit: unit.device)


def load(session: Session, key: str, devices: Sequence[DeviceRow]) -> Scene:
    """Return the scene of a settled interval, in which ``devices`` are certified."""
    standing = registry.standing(session, key)
    return Scene(
        key=key,
        devices=devices,
        owners={d.id: standing[d.point].participant for d in devices if d.point in standing},
        told=measured(session, key),
        sales=_sales(session, key, frozenset(device.point for device in devices)),
    )


def _sales(session: Session, key: str, sellers: frozenset[str]) -> Mapping[str, Sequence[Sale]]:
    """Return local trades and own energy that left the sellers' points, as settled at first."""
    orders = {order.order_id: order for order in market.book(session, key).orders}
    found: dict[str, list[Sale]] = defaultdict(list)
    for trade in market.trades(session, key):
        if GRID in (trade.seller, trade.buyer) or orders[trade.seller].point not in sellers:
            continue
        buyer, green = orders[trade.buyer], trade.product is Product.GREEN
        sale = Sale(buyer.participant, buyer.point, trade.energy.wh, green)
        found[orders[trade.seller].point].append(sale)
    points = market.metered_points(session, key)
    owners = {point.point: point.participant for point in points}
    for from_point, to_point, wh in own_transfers(points):
        if from_point in sellers:
            found[from_point].append(Sale(owners[to_point], to_point, wh))
    return found
