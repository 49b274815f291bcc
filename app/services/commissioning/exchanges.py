"""One meter in another's place: the old key ends, and what both counters showed goes on record."""

from __future__ import annotations

from typing import Final

from sqlmodel import Session, select

from app.services import changes, enrolment
from app.services.admission import FUTURE_MS
from app.services.commissioning.errors import UnfitRequestError
from app.services.commissioning.tokens import LIVES_MS
from app.services.house import House
from app.services.meter_change import ChangeError, ChangeKind, Proposal, Side, Values
from app.store import changes as store
from app.tables import EnrolmentRequestRow, EnrolmentRow
from metering.commissioning.wire import Exchange, Registers
from metering.identity import PublicKey
from metering.reading import Enrolment

_GATEWAY: Final = "gateway"


def check(exchange: Exchange, now_ms: int) -> None:
    """Refuse an exchange whose ends cannot be.

    The new meter was read while its token lived: from an older beginning, more could be counted
    than can have gone through it.

    Raises:
        UnfitRequestError: the new meter was read before the old one, in the future or long ago.
    """
    if exchange.opening.at_ms < now_ms - LIVES_MS - FUTURE_MS:
        raise UnfitRequestError(
            "the new meter was read too long ago: read it again, or look at the gateway's clock"
        )
    if not exchange.closing.at_ms <= exchange.opening.at_ms <= now_ms + FUTURE_MS:
        raise UnfitRequestError(
            "the old meter is read first, then the new one, and neither in the future: look at the "
            "gateway's clock"
        )


def end_old(house: House, session: Session, old_key: str, payload: bytes) -> None:
    """Revoke the old meter's key where the new one's enrolment begins, unless it ends by then."""
    begins = Enrolment.from_payload(payload).valid_from
    old = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == old_key)).one()
    if old.revoked_from is None or old.revoked_from > begins.key:
        enrolment.revoke(session, house.settings.origin, PublicKey.parse(old_key), begins)


def record(house: House, session: Session, exchange: Exchange, row: EnrolmentRequestRow) -> None:
    """Propose the change of counters with both ends, and approve it in the name of who confirmed.

    They saw the values beside the confirmation. Where those contradict a reading, the change stays
    proposed, and is decided on like any other.
    """
    old = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == exchange.old_key)).one()
    known = store.of_key(session, old.key)
    epochs = [each.new_epoch for each in known if each.state != store.REJECTED]
    proposal = Proposal(
        row.point,
        ChangeKind.EXCHANGE,
        Side(old.key, max([old.epoch, *epochs]), old.serial),
        Side(row.key, Enrolment.from_payload(row.payload).epoch, row.serial),
        closing=_values(exchange.closing),
        opening=_values(exchange.opening),
    )
    by = row.decided_by or _GATEWAY
    change = changes.propose(session, proposal, row.brought_by, house.clock.now_ms())
    try:
        with session.begin_nested():
            changes.approve(house, session, change.id, by)
    except ChangeError:
        return  # it was told of when it was proposed


def _values(found: Registers) -> Values:
    return Values(found.at_ms, found.import_wh, found.export_wh)
