"""What happens to reserved certificates when their interval is final, and to old ones by date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sqlmodel import Session, col

from app.services.certificates.entries import Entries
from app.services.certificates.measured import measured
from app.services.house import House
from app.store import certificates, registry
from app.tables import CertificateRow
from market.certificate import Status
from market.certificate_bundle import Bundle, Change
from metering.interval import from_ms


def finalise(house: House, session: Session, keys: Sequence[str]) -> None:
    """Turn the reserved certificates of intervals that become final into Active or Claimed ones.

    What came with a trade is claimed for the buyer's consumption in that interval, at most what
    their points measured; the rest, and what stayed with the owner, is theirs to use.
    """
    for key in keys:
        reserved = certificates.of_interval(session, key, Status.RESERVED, lock=True)
        if reserved:
            entries = Entries(house, session)
            drawn_wh = _drawn_wh(session, key) if any(e.beneficiary for e in reserved) else {}
            for bundle in reserved:
                _turn(entries, bundle, drawn_wh)
            entries.write()


def _drawn_wh(session: Session, key: str) -> dict[str, int]:
    """Return what each participant's points measured as drawn."""
    standing, found = registry.standing(session, key), Counter[str]()
    for point, told in measured(session, key).items():
        if point in standing and standing[point].purpose is None:
            found[standing[point].participant] += told.import_wh
    return dict(found)


def _turn(entries: Entries, bundle: Bundle, drawn_wh: dict[str, int]) -> None:
    account = bundle.account
    claim_wh = min(bundle.wh, drawn_wh.get(account, 0)) if bundle.beneficiary else 0
    free: Bundle | None = bundle
    if claim_wh:
        drawn_wh[account] -= claim_wh
        part, free = bundle.cut(claim_wh)
        entries.change(
            Change(part, replace(part, status=Status.CLAIMED), None if free is None else free)
        )
        entries.tell("claim", part, account, account, "trade")
        entries.claimed(part)
    if free is None:
        return
    if bundle.beneficiary:
        entries.count(account, bundle.interval, matched_wh=-free.wh)
    active = replace(free, status=Status.ACTIVE, beneficiary="")
    entries.change(Change(free, active, None))
    entries.tell("activate", free, account, account)


def expire(house: House, session: Session) -> None:
    """Let every Active certificate expire whose last day (UTC) has passed."""
    today = from_ms(house.clock.now_ms()).date()
    old = certificates.bundles(
        session,
        CertificateRow.certificate_bundle_status == Status.ACTIVE.value,
        col(CertificateRow.expiry_datestamp) < today.isoformat(),
        lock=True,
    )
    if old:
        entries = Entries(house, session)
        for bundle in old:
            entries.change(Change(bundle, replace(bundle, status=Status.EXPIRED), None))
            entries.tell("expire", bundle, bundle.account, None)
        entries.write()
