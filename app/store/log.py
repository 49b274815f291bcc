"""The append-only log over two tables: entries with their leaf hashes, and complete subtrees.

The hashes are RFC 9162's. Nothing is cached, so every process sees the same log, and a root or a
path reads O(log n) rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlmodel import Session, col, func, insert, select

from app.tables import LogEntryRow, LogNodeRow
from ledger_client import log
from ledger_client.verify import leaf_hash


class LogStoreError(LookupError):
    """The log has no such entry or size: ask for one that it has (404)."""


def append(session: Session, kind: str, body: str | Mapping[str, object]) -> int:
    """Append one entry (canonical text or a mapping) in the caller's writing transaction.

    Returns its position.

    Two writers queue: the second sees the first one's entry, or fails with it.

    Raises:
        ledger_client.log.LogError: unknown kind, or a body outside canonical JSON.
    """
    entry = log.encode_entry(kind, body)
    _lock(session)
    position = size(session)
    done = log.append(_nodes(session), position, entry)
    session.execute(
        insert(LogEntryRow), [{"position": position, "entry": entry, "leaf": leaf_hash(entry)}]
    )
    inner = [
        {"level": level, "place": place, "hash": digest} for (level, place), digest in done if level
    ]
    if inner:
        session.execute(insert(LogNodeRow), inner)
    return position


def size(session: Session) -> int:
    """Return how many entries there are."""
    return session.exec(select(func.coalesce(func.max(LogEntryRow.position) + 1, 0))).one()


def entry(session: Session, position: int) -> bytes:
    """Return one entry, verbatim.

    Raises:
        LogStoreError: there is no such entry.
    """
    found = session.exec(select(LogEntryRow.entry).where(LogEntryRow.position == position)).first()
    if found is None:
        raise LogStoreError(f"the log has no entry {position}; it has {size(session)} entries")
    return found


def leaves(session: Session, upto: int | None = None) -> Sequence[bytes]:
    """Return the leaf hashes of the first ``upto`` entries (all when None), in order."""
    query = select(LogEntryRow.leaf).order_by(col(LogEntryRow.position))
    if upto is not None:
        query = query.where(LogEntryRow.position < _checked(session, upto))
    return session.exec(query).all()


def root(session: Session, upto: int | None = None) -> bytes:
    """Return the root of the first ``upto`` entries (all when None).

    Raises:
        LogStoreError: the log is smaller.
    """
    return log.root_at(_nodes(session), _checked(session, upto))


def inclusion_path(session: Session, position: int, upto: int | None = None) -> list[bytes]:
    """Return the audit path of an entry in the log of ``upto`` entries, bottom up.

    Raises:
        LogStoreError: the log is smaller, or the entry lies outside.
    """
    bound = _checked(session, upto)
    if not 0 <= position < bound:
        raise LogStoreError(f"entry {position} does not stand in a log of {bound} entries")
    return log.inclusion_path(_nodes(session), position, bound)


def consistency_path(session: Session, old: int, upto: int | None = None) -> list[bytes]:
    """Return the proof that the log of ``upto`` entries only appended to that of ``old``.

    Raises:
        LogStoreError: the log is smaller, or ``old`` is not within 1 to ``upto``.
    """
    bound = _checked(session, upto)
    if not 1 <= old <= bound:
        raise LogStoreError(f"no proof from size {old} to {bound}: ask for 1 to {bound}")
    return log.consistency_path(_nodes(session), old, bound)


def _checked(session: Session, upto: int | None) -> int:
    bound = size(session)
    if upto is None:
        return bound
    if not 0 <= upto <= bound:
        raise LogStoreError(f"the log has {bound} entries, not {upto}")
    return upto


def _nodes(session: Session) -> log.Nodes:
    """Return the look-up of complete subtrees that the pure log asks for."""

    def node(where: log.Place) -> bytes:
        level, place = where
        if level == 0:
            return session.exec(select(LogEntryRow.leaf).where(LogEntryRow.position == place)).one()
        return session.exec(
            select(LogNodeRow.hash).where(LogNodeRow.level == level, LogNodeRow.place == place)
        ).one()

    return node


def _lock(session: Session) -> None:
    """Keep other writers of the log out until this transaction ends.

    SQLite's writing transactions exclude each other from their BEGIN on; PostgreSQL has to be
    asked, and readers go on meanwhile.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE log_entry IN SHARE ROW EXCLUSIVE MODE"))
