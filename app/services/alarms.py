"""Tells people that something stands still until they look at it."""

from __future__ import annotations

import logging

from sqlmodel import Session

from app.services.house import House
from app.store import people

_log = logging.getLogger(__name__)


def alarm(house: House, ref: str, text: str) -> bool:
    """Log a failure and put it before people, once per ``ref``; return whether it is news."""
    with house.database.write() as session:
        return alarm_with(house, session, ref, text)


def alarm_with(house: House, session: Session, ref: str, text: str) -> bool:
    """Do so in the caller's transaction: the alarm stands if what it tells of does."""
    _log.error(text)
    return people.notify(
        session,
        ref=f"alarm/{ref}",
        at_ms=house.clock.now_ms(),
        level="alarm",
        text=text,
        point=None,
    )
