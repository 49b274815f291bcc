"""Web sessions: an opaque cookie, only its hash at rest; demo logins in the demo alone."""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import ColumnElement
from sqlmodel import col, delete, or_

from app.clock import wall_ms
from app.db import Database
from app.tables import SessionRow
from web.ports import NotFoundError, Role, Viewer

IDLE_MS = 30 * 60_000
LONGEST_MS = 12 * 3_600_000


class SessionStore:
    """Satisfies :class:`web.ports.Sessions` over the database.

    ``demo_participant`` is whom the demo's prosumer is; None means that demo logins do not exist.
    Sessions live by the wall clock: 30 minutes idle, 12 hours at most.
    """

    def __init__(self, database: Database, demo_participant: str | None) -> None:
        self._database = database
        self._demo_participant = demo_participant

    def demo(self) -> bool:
        """Return whether demo logins exist here."""
        return self._demo_participant is not None

    def viewer(self, cookie: str | None) -> Viewer | None:
        """Return who holds the cookie, None when it is unknown or expired."""
        if not cookie:
            return None
        now = wall_ms()
        with self._database.read() as session:
            row = session.get(SessionRow, _hash(cookie))
        if row is None or now - row.seen_ms > IDLE_MS or now - row.created_ms > LONGEST_MS:
            return None
        if now - row.seen_ms > 60_000:  # one write a minute is enough to keep a session alive
            with self._database.write() as session:
                living = session.get(SessionRow, row.cookie_hash)
                if living is None:
                    return None  # left meanwhile
                living.seen_ms = now
        return Viewer(Role(row.role), row.participant, row.csrf_token)

    def demo_enter(self, role: Role) -> str:
        """Open a demo session and return its cookie.

        Raises:
            NotFoundError: this is not the demo.
        """
        if self._demo_participant is None:
            raise NotFoundError("demo logins do not exist in this district")
        cookie, now = secrets.token_urlsafe(32), wall_ms()
        with self._database.write() as session:
            session.exec(delete(SessionRow).where(_expired(now)))
            session.add(
                SessionRow(
                    cookie_hash=_hash(cookie),
                    role=role.value,
                    participant=self._demo_participant if role is Role.PROSUMER else None,
                    csrf_token=secrets.token_urlsafe(32),
                    created_ms=now,
                    seen_ms=now,
                )
            )
        return cookie

    def leave(self, cookie: str) -> None:
        """Forget a session; an unknown one is forgotten already."""
        with self._database.write() as session:
            row = session.get(SessionRow, _hash(cookie))
            if row is not None:
                session.delete(row)


def _expired(now_ms: int) -> ColumnElement[bool]:
    return or_(
        col(SessionRow.seen_ms) < now_ms - IDLE_MS, col(SessionRow.created_ms) < now_ms - LONGEST_MS
    )


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
