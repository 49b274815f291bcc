"""One-time tokens: leave for whoever stands at the meter to bring one enrolment of one point.

A token lives 15 minutes of the wall clock, is shown once, and only its SHA-256 is kept. Wrong ones
are counted per address and hour with what else is refused at the door
(:mod:`app.services.refusals`), which raises an alarm and bounds how many can be tried.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, delete, select

from app.services import refusals
from app.services.commissioning.errors import (
    TokenRefusedError,
    TooManyGuessesError,
    UnknownRequestError,
)
from app.services.house import House
from app.store import refusals as counters
from app.tables import EnrolmentRow, EnrolmentTokenRow, MeteringPointRow
from metering.commissioning.wire import (
    ALPHABET,
    GROUP,
    TOKEN_GROUPS,
    MalformedTokenError,
    spell_token,
    token_hash,
)
from metering.interval import Interval

LIVES_MS: Final = 15 * 60_000
MAX_ATTEMPTS: Final = 5
MAX_GUESSES: Final = 10
"""Wrong tokens within an hour from one address; the next is refused unread."""

GUESS: Final = "wrong enrolment token"
_HOUR_MS: Final = 3_600_000
_KEPT_MS: Final = 90 * 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class Token:
    """A new token in plain text, to be shown once; ``expires_ms`` by the wall clock."""

    text: str
    point: str
    purpose: str
    expires_ms: int


def issue(house: House, point: str, made_by: str, now_ms: int) -> Token:
    """Make a token for a point; an earlier one of the point that nobody used is void.

    The purpose is ``replace`` where a meter is enrolled at the point, else ``add``.

    Raises:
        UnknownRequestError: the district has no such point.
    """
    letters = [secrets.choice(ALPHABET) for _ in range(TOKEN_GROUPS * GROUP)]
    text = spell_token("".join(letters))
    with house.database.write() as session:
        # The point's row serialises tokens of one point; SQLite's writers queue anyway.
        if session.get(MeteringPointRow, point, with_for_update=True) is None:
            raise UnknownRequestError(
                f"no metering point {point[:40]!r}: add it first, with `wattloom point add`",
                "point",
            )
        row, used = EnrolmentTokenRow, col(EnrolmentTokenRow.used_ms)
        session.exec(delete(row).where(col(row.point) == point, used.is_(None)))
        session.exec(delete(row).where(used < now_ms - _KEPT_MS))
        purpose = "add" if holder(session, house, point) is None else "replace"
        made = EnrolmentTokenRow(
            hash=token_hash(text),
            point=point,
            purpose=purpose,
            made_by=made_by,
            made_ms=now_ms,
            expires_ms=now_ms + LIVES_MS,
        )
        session.add(made)
        return Token(text, point, purpose, made.expires_ms)


def holder(session: Session, house: House, point: str) -> EnrolmentRow | None:
    """Return the enrolment whose key signs for a point now or from a later interval on."""
    now = Interval.containing_ms(house.clock.now_ms()).key
    rows = session.exec(
        select(EnrolmentRow)
        .where(EnrolmentRow.point == point)
        .order_by(col(EnrolmentRow.valid_from).desc(), col(EnrolmentRow.id).desc())
    )
    return next((row for row in rows if row.revoked_from is None or row.revoked_from > now), None)


def find(session: Session, text: str, now_ms: int, *, lock: bool = False) -> EnrolmentTokenRow:
    """Return a token's row, whether it was used or not; ``lock`` it in a writing transaction.

    Raises:
        TokenRefusedError: there is none, it is over, or too much was refused with it.
    """
    try:
        hashed = token_hash(spell_token(text))
    except MalformedTokenError as error:
        raise TokenRefusedError(str(error)) from error
    row = session.get(EnrolmentTokenRow, hashed, with_for_update=lock or None)
    if row is None:
        raise TokenRefusedError("no such token: look for a typing error, or have a new one made")
    if row.used_ms is None and now_ms >= row.expires_ms:
        raise TokenRefusedError("the token is over: it lives 15 minutes; have a new one made")
    if row.attempts >= MAX_ATTEMPTS:
        raise TokenRefusedError("too much was refused with this token: have a new one made")
    return row


def check_guesses(house: House, address: str, now_ms: int) -> None:
    """Refuse an address from which too many wrong tokens came within this hour of the wall clock.

    Beyond a bound of addresses the newer ones are counted together, and not refused: whoever has
    many addresses would else keep everybody out, and guesses none of 80 bits with them.

    Raises:
        TooManyGuessesError: wait until the hour is over.
    """
    with house.database.read() as session:
        counts = counters.of_hour(session, now_ms // _HOUR_MS)
    times = {each.subject: each.times for each in counts if each.kind == GUESS}
    if times.get(address, 0) >= MAX_GUESSES:
        wait_s = (_HOUR_MS - now_ms % _HOUR_MS) // 1_000 + 1
        raise TooManyGuessesError(
            f"too many wrong tokens from here: try again in {wait_s // 60 + 1} minutes", wait_s
        )


def report_guess(house: House, address: str) -> None:
    """Count a wrong token; when they come thick, people are told."""
    with house.database.write() as session:
        refusals.report(session, [refusals.Event(GUESS, address, 1)], house.clock.now_ms())
