"""What a change does, in sentences: the same on the command line and on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from app.services.registry.changes import Effects
from app.services.registry.view import WORDS, Names
from market.registry import Role
from metering.interval import Interval
from web.present import money


def told(
    effects: Effects,
    names: Names,
    points: Mapping[str, str],
    zone: tzinfo,
) -> Sequence[str]:
    """Return a sentence for each link, newcomer and leaver that a change concerns."""
    called = dict(names)
    if effects.newcomer is not None:
        called[Role.PARTICIPANT, effects.newcomer.id] = effects.newcomer.name
    lines = []
    for each in effects.links:
        before, after = (
            called.get((each.role, target)) or target for target in (each.before, each.after)
        )
        until = f" until {moment(each.until, zone)}" if each.until else ""
        lines.append(
            f"{points.get(each.point, each.point)}: {WORDS[each.role]} {after} instead of {before} "
            f"from {moment(each.begin, zone)} on{until}."
        )
    if effects.newcomer is not None:
        where = ", ".join(effects.newcomer.postal_address.splitlines())
        lines.append(
            f"{effects.newcomer.name} is new ({effects.newcomer.id}"
            + (f"; statements go to {where}" if where else "; without a postal address")
            + "), with an empty wallet and the default limits."
        )
    for leaver in effects.leavers:
        name = called.get((Role.PARTICIPANT, leaver.id), leaver.id)
        lines.append(
            f"{name} has no metering point from {moment(leaver.left_from, zone)} on: a final "
            f"statement follows, and they keep their pages. {wallet_words(leaver.wallet_micro)}"
        )
    return lines


def moment(interval: Interval, zone: tzinfo) -> str:
    """Return an interval's start in local time, such as ``Sun 25 Oct 2026 02:15 CEST``."""
    local = interval.start.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y %H:%M %Z}"


def wallet_words(micro: int) -> str:
    """Say what is in the wallet of somebody who leaves, and what becomes of it."""
    euros = money(abs(micro))
    if micro < 0:
        return (
            f"Their wallet is overdrawn by {euros} now: nothing can be withdrawn, and they have to "
            "pay that in."
        )
    if not micro:
        return "Their wallet is empty now."
    return f"Their wallet holds {euros} now, which they can withdraw then as before."
