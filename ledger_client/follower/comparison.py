"""Where two nodes part: the first block in white-flag order that they judge otherwise."""

from __future__ import annotations

from dataclasses import replace

from ledger_client.follower.report import Halt
from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode.confirmation import Mutation
from ledger_client.localnode.semantics import ConflictReason
from ledger_client.remotenode.answers import BlockMetadata
from ledger_client.remotenode.client import NodeClient


def explain(client: NodeClient, halt: Halt, mutation: Mutation) -> Halt:
    """Return the report of a root that differs, with the block that makes it differ.

    When the node judges every block as we do, its root contradicts its own words, and the report
    says so. The node's silence is no reason not to report.
    """
    index = mutation.cone.index
    judged = zip(mutation.cone.block_ids, mutation.conflicts, strict=True)
    for position, (identifier, conflict) in enumerate(judged):
        try:
            there = client.block_metadata(identifier)
        except LedgerUnavailableError as error:
            return replace(halt, what=f"{halt.what} (which block is unknown: {error})")
        if not _agrees(there, index, position, conflict):
            return replace(
                halt,
                block=identifier.hex(),
                block_ours=_words(index, position, conflict),
                block_theirs=_their_words(there),
            )
    return replace(
        halt,
        what=f"{halt.what}, though the node judges all {len(mutation.conflicts)} blocks as we do: "
        "its milestone contradicts its own words",
    )


def _agrees(there: BlockMetadata | None, index: int, position: int, conflict: int | None) -> bool:
    if there is None or there.referenced_by_milestone_index != index:
        return False
    if there.white_flag_index not in {None, position}:
        return False
    if there.ledger_inclusion_state != _state(conflict):
        return False
    # An unsound transaction may be ignored for another reason, whichever is looked at first.
    return conflict in {None, ConflictReason.INVALID_SIGNATURE, there.conflict_reason}


def _state(conflict: int | None) -> str:
    if conflict is None:
        return "noTransaction"
    return "included" if conflict == ConflictReason.NONE else "conflicting"


def _words(index: int, position: int, conflict: int | None) -> str:
    reason = f", conflict reason {int(conflict)}" if conflict else ""
    return f"{_state(conflict)}{reason}, number {position} of milestone {index}"


def _their_words(there: BlockMetadata | None) -> str:
    if there is None:
        return "unknown"
    if there.referenced_by_milestone_index is None:
        return "referenced by no milestone"
    reason = f", conflict reason {there.conflict_reason}" if there.conflict_reason else ""
    place = "" if there.white_flag_index is None else f"number {there.white_flag_index} of "
    return f"{there.ledger_inclusion_state}{reason}, {place}milestone " + str(
        there.referenced_by_milestone_index
    )
