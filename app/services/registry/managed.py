"""Whose pages the building manager opens: those named, and who came to their points later."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Set

from app.services.house import House
from app.store import registry


class ManagedPeople(Set[str]):
    """The managed participants, as they are when somebody looks.

    ``named`` are those of the district's settings. Whoever follows them at a point that was theirs
    first is managed, too; where else such a person has a point, nobody is by that.
    """

    def __init__(self, house: House, named: Collection[str]) -> None:
        self._house = house
        self._named = frozenset(named)

    def __contains__(self, participant: object) -> bool:
        return participant in self._named or participant in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> frozenset[str]:
        with self._house.database.read() as session:
            return self._named | registry.successors(session, self._named)
