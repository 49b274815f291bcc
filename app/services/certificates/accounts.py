"""What an account holder does with certificates, and certificates that come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from app.files.certificates import Item
from app.services.certificates.entries import Entries
from app.services.house import House
from app.store import certificates, people
from app.tables import CertificateRow, DeviceRow, ForeignDeviceRow
from market.certificate import CertificateError, Status
from market.certificate_bundle import Action, Bundle, overlaps, perform
from market.money import PPM
from metering.interval import Interval, from_ms

_LONGEST_PURPOSE = 80


@dataclass(frozen=True, slots=True)
class Choice:
    """Which certificates: of an issuance, of a device, produced in [first, before) (keys).

    ``free_wh``: how many of them somebody saw to be Active; with another number nothing is done, so
    that what was sent twice is done once. None: however many.

    Raises:
        CertificateError: no such status.
        IntervalError: a bound that is no interval key.
    """

    issuance: str = ""
    device: str = ""
    first: str = ""
    before: str = ""
    status: str = ""
    free_wh: int | None = None

    def __post_init__(self) -> None:
        for key in (self.first, self.before):
            if key:
                Interval.parse(key)
        if self.status and self.status not in set(Status):
            raise CertificateError(f"{self.status[:40]!r} is no status: one of {', '.join(Status)}")

    def conditions(self) -> list[ColumnElement[bool] | bool]:
        """Return what the rows have to meet."""
        found: list[ColumnElement[bool] | bool] = []
        if self.issuance:
            found.append(CertificateRow.issuance_id == self.issuance)
        if self.device:
            found.append(CertificateRow.device_id == self.device)
        if self.first:
            found.append(CertificateRow.production_starting_interval >= self.first)
        if self.before:
            found.append(CertificateRow.production_starting_interval < self.before)
        if self.status:
            found.append(CertificateRow.certificate_bundle_status == self.status)
        return found


def act(
    house: House,
    account: str,
    action: Action,
    choice: Choice,
    wh: int | None,
    to: str = "",
    by: str = "",
    *,
    preview: bool = False,
) -> int:
    """Transfer, claim, cancel or withdraw an account's Active certificates; return how many.

    ``wh`` None means all that are Active among the chosen. ``to`` is the account of a transfer, or
    whom a cancellation is for; a claim is for the holder's own consumption. A ``preview`` says
    the same and changes nothing.

    Raises:
        CertificateError: it is not possible, and why; nothing is written.
    """
    with house.database.write() as session:
        _check(session, account, action, to)
        chosen = certificates.bundles(
            session, CertificateRow.account_id == account, *choice.conditions(), lock=True
        )
        today = from_ms(house.clock.now_ms()).date().isoformat()
        try:
            _check_free(chosen, choice.free_wh, today)
            changes = perform(action, chosen, wh, to, today)
        except CertificateError as error:
            raise CertificateError(f"{error}{_until(house, chosen)}") from error
        entries = Entries(house, session, by or account)
        for change in () if preview else changes:
            entries.change(change)
            _tell(entries, action, change.before, change.after)
        entries.write()
    return sum(change.after.wh for change in changes)


def _check(session: Session, account: str, action: Action, to: str) -> None:
    known = people.participants(session)
    if account not in known:
        raise CertificateError(f"there is no account {account[:40]!r}")
    if action is Action.TRANSFER and (to not in known or to == account):
        raise CertificateError(f"{to[:40]!r} is no other account: name another participant")
    if len(to) > _LONGEST_PURPOSE or not to.isprintable():
        raise CertificateError(
            f"whom it is for has at most {_LONGEST_PURPOSE} printable characters"
        )


def _check_free(chosen: Sequence[Bundle], seen_wh: int | None, today: str) -> None:
    free = sum(b.wh for b in chosen if b.status is Status.ACTIVE and b.expires >= today)
    if seen_wh is not None and seen_wh != free:
        raise CertificateError(
            f"{free} Wh of that day are free now and not {seen_wh} Wh as shown before: something "
            "was done with them meanwhile, perhaps this very step; look again before you repeat it"
        )


def _tell(entries: Entries, action: Action, before: Bundle, after: Bundle) -> None:
    account = before.account
    if action is Action.TRANSFER:
        entries.tell("transfer", before, account, after.account)
        entries.count(account, before.interval, sent_wh=before.wh)
        entries.count(after.account, before.interval, received_wh=before.wh)
    elif action is Action.CLAIM:
        entries.tell("claim", before, account, account)
        entries.claimed(after)
    else:
        entries.tell(action.value, before, account, None, after.beneficiary)


def _until(house: House, chosen: Sequence[Bundle]) -> str:
    """Say when the first reserved ones can be free."""
    reserved = [each.interval for each in chosen if each.status is Status.RESERVED]
    if not reserved:
        return ""
    window = timedelta(days=house.settings.correction_days)
    day = (Interval.parse(min(reserved)).next().start + window).astimezone(house.settings.tz)
    return f" (the first of them on {day:%Y-%m-%d})"


def take_in(
    house: House, account: str, items: Sequence[Item], by: str, *, preview: bool = False
) -> int:
    """Take bundles that were issued elsewhere into an account, all or none; return their Wh.

    Raises:
        CertificateError: an issuance or device that is known here, certificates twice in the file
            or past their last day; nothing is written.
    """
    with house.database.write() as session:
        if account not in people.participants(session):
            raise CertificateError(f"there is no account {account[:40]!r}")
        today = from_ms(house.clock.now_ms()).date().isoformat()
        bundles = [_bundle(item, account) for item in items]
        _check_new(session, items, bundles, today)
        new = _foreign(session, items)
        if not preview:
            session.add_all(new.values())
            session.flush()
            entries = Entries(house, session, by)
            for item, bundle in zip(items, bundles, strict=True):
                entries.add(bundle)
                entries.tell("import", bundle, None, account, item.hash[:80])
                entries.count(account, bundle.interval, received_wh=bundle.wh)
            entries.write()
    return sum(bundle.wh for bundle in bundles)


def _bundle(item: Item, account: str) -> Bundle:
    return Bundle(
        issuance=item.issuance_id,
        device=item.device_id,
        interval=item.production_starting_interval,
        account=account,
        status=Status.ACTIVE,
        first=item.certificate_bundle_id_range_start,
        last=item.certificate_bundle_id_range_end,
        expires=item.expiry_datestamp,
        is_storage=item.is_storage,
    )


def _check_new(
    session: Session, items: Sequence[Item], bundles: Sequence[Bundle], today: str
) -> None:
    if not items:
        raise CertificateError("the file holds no bundle: export some first")
    if twice := overlaps(bundles):
        raise CertificateError(
            f"{twice[0].issuance}: certificate {twice[1].first} stands in the file twice"
        )
    for bundle in bundles:
        if bundle.expires < today:
            raise CertificateError(f"{bundle.issuance} expired on {bundle.expires}")
    issuances = sorted({bundle.issuance for bundle in bundles})
    for start in range(0, len(issuances), 500):
        known = session.exec(
            select(CertificateRow.issuance_id)
            .where(col(CertificateRow.issuance_id).in_(issuances[start : start + 500]))
            .limit(1)
        ).first()
        if known is not None:
            raise CertificateError(
                f"issuance {known} is in this register already: its certificates would count twice"
            )


def _foreign(session: Session, items: Sequence[Item]) -> Mapping[str, ForeignDeviceRow]:
    """Return the devices of elsewhere that are new here.

    Raises:
        CertificateError: a device that is certified here, or that is described in two ways.
    """
    new: dict[str, ForeignDeviceRow] = {}
    for item in items:
        told = _device(item)
        known = new.get(told.id) or session.get(ForeignDeviceRow, told.id)
        if session.get(DeviceRow, told.id) is not None:
            raise CertificateError(f"device {told.id} is certified here: nobody else issues for it")
        if known is None:
            new[told.id] = told
        elif known.model_dump() != told.model_dump():
            raise CertificateError(
                f"device {told.id} is described in two ways: ask the issuer which one holds"
            )
    return new


def _device(item: Item) -> ForeignDeviceRow:
    return ForeignDeviceRow(
        id=item.device_id,
        name=item.device_name or "",
        technology=item.device_technology_type,
        source=item.energy_source,
        capacity_w=item.device_capacity or 0,
        location=item.device_location or "",
        emissions_mg_per_kwh=item.emissions_factor,
        issue_market_zone=item.issue_market_zone,
        energy_carrier=item.energy_carrier,
        efficiency_ppm=_ppm(item),
    )


def _ppm(item: Item) -> int | None:
    """Return the efficiency of a storage as ppm."""
    text = item.storage_efficiency_factor
    if text is None:
        return None
    whole, _, decimals = text.partition(".")
    if not (whole in ("0", "1") and len(decimals) <= 6 and (decimals or "0").isdecimal()):
        raise CertificateError(
            f"{item.issuance_id}: storage_efficiency_factor {text[:20]!r} is no share such as 0.9"
        )
    return int(whole) * PPM + int(decimals.ljust(6, "0"))
