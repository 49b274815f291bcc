"""Forward orders between people and the market: what is typed, and what stands there in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal, cast

from app.services.forward.book import (
    Block,
    Content,
    Flexible,
    Steps,
    Storage,
    Stored,
    content_of,
    own_id_of,
)
from app.services.forward.orders import ForwardError
from app.services.typed import MICRO_OF_CENT, WH_OF_KWH, TypedError, scaled
from web import present
from web.ports.forward import Typed

_POSITIVE: Final = ("energy", "power", "capacity")
_VERBS: Final = {"bid": "buys", "offer": "sells"}
_BOUNDS: Final = {"bid": "or less", "offer": "or more"}


def read_form(typed: Typed, keys: Sequence[str]) -> Content:
    """Return the content of an order as typed; ``keys`` are the session's intervals.

    Raises:
        ForwardError: what is typed is no number, time or choice; it names the field.
    """
    match typed["kind"]:
        case "step":
            start, end = _window(typed, keys)
            profile = (_number(typed, "energy", WH_OF_KWH, "1.5 kWh"),) * (end - start)
            limit = _number(typed, "price", MICRO_OF_CENT, "12.5 ct/kWh")
            return Steps(
                side=_side(typed),
                start=start,
                profile_wh=profile,
                limits_micro_per_kwh=(limit,) * len(profile),
            )
        case "block":
            return _block(typed, keys)
        case "flexible":
            start, end = _window(typed, keys)
            return Flexible(
                energy_wh=_number(typed, "energy", WH_OF_KWH, "10 kWh"),
                power_w=_number(typed, "power", WH_OF_KWH, "11 kW"),
                start=start,
                deadline=end,
                limit_micro_per_kwh=_number(typed, "price", MICRO_OF_CENT, "12.5 ct/kWh"),
            )
        case "storage":
            return _storage(typed)
    raise ForwardError("choose what kind of order it is", "kind")


def _block(typed: Typed, keys: Sequence[str]) -> Block:
    start, end = _window(typed, keys)
    return Block(
        side=_side(typed),
        start=start,
        profile_wh=(_number(typed, "energy", WH_OF_KWH, "1.5 kWh"),) * (end - start),
        limit_micro_per_kwh=_number(typed, "price", MICRO_OF_CENT, "12.5 ct/kWh"),
        min_acceptance_ppm=_number(typed, "share", MICRO_OF_CENT, "100 %"),
        parent=typed["link"].strip(),
    )


def _storage(typed: Typed) -> Storage:
    power_w = _number(typed, "power", WH_OF_KWH, "3 kW")
    stored_wh = _number(typed, "stored", WH_OF_KWH, "0 kWh")
    return Storage(
        capacity_wh=_number(typed, "capacity", WH_OF_KWH, "5 kWh"),
        initial_wh=stored_wh,
        least_final_wh=stored_wh,
        charge_w=power_w,
        discharge_w=power_w,
        efficiency_ppm=_number(typed, "efficiency", MICRO_OF_CENT, "90 %"),
        least_gain_micro_per_kwh=_number(typed, "price", MICRO_OF_CENT, "2 ct/kWh"),
    )


def _side(typed: Typed) -> Literal["bid", "offer"]:
    if typed["side"] not in _VERBS:
        raise ForwardError("choose whether to buy or to sell", "side")
    return cast("Literal['bid', 'offer']", typed["side"])


def _window(typed: Typed, keys: Sequence[str]) -> tuple[int, int]:
    """Return the index of the first interval and that after the last one."""
    for name in ("first", "last"):
        if typed[name] not in keys:
            raise ForwardError("choose a quarter-hour of the session", name)
    start, end = keys.index(typed["first"]), keys.index(typed["last"]) + 1
    if end <= start:
        raise ForwardError("it ends before it begins: choose a later quarter-hour", "last")
    return start, end


def _number(typed: Typed, name: str, scale: int, example: str) -> int:
    """Return a field's number times ``scale``; it has to come out whole."""
    try:
        value = scaled(typed[name], scale, example)
    except TypedError as error:
        raise ForwardError(str(error), name) from error
    if name in _POSITIVE and value <= 0:
        raise ForwardError(
            f"{typed[name].strip()} is nothing to trade: more than 0 is wanted", name
        )
    return value


# --- In words ------------------------------------------------------------------------------------


def in_words(row: Stored, keys: Sequence[str], zone: str) -> str:
    """Return what an order asks for."""
    match content_of(row):
        case Steps() as steps:
            return _steps_in_words(steps, keys, zone)
        case Block() as block:
            when = _span(keys, block.start, len(block.profile_wh), zone)
            least = present.share(block.min_acceptance_ppm)
            whole = "as a whole" if block.min_acceptance_ppm == 1_000_000 else f"at least {least}"
            linked = f", only with order {block.parent}" if block.parent else ""
            return (
                f"{_VERBS[block.side]} {present.energy(sum(block.profile_wh))} {when}, {whole}, "
                f"at {present.price(block.limit_micro_per_kwh)} {_BOUNDS[block.side]} on average"
                f"{linked}"
            )
        case Flexible() as order:
            when = _span(keys, order.start, order.deadline - order.start, zone)
            return (
                f"buys {present.energy(order.energy_wh)} {when}, at most "
                f"{_kilo(order.power_w)}{present.NBSP}kW, whenever a kWh costs "
                f"{present.price(order.limit_micro_per_kwh)} or less"
            )
        case Storage() as order:
            return (
                f"buys cheap and sells dear: holds {present.energy(order.capacity_wh)}, "
                f"{_kilo(order.charge_w)}{present.NBSP}kW, "
                f"{present.share(order.efficiency_ppm)} efficient, for a gain of "
                f"{present.price(order.least_gain_micro_per_kwh)} or more"
            )


def _steps_in_words(steps: Steps, keys: Sequence[str], zone: str) -> str:
    wanted = [wh for wh in steps.profile_wh if wh]
    limits = sorted({p for wh, p in zip(*_lists(steps), strict=True) if wh})
    when = _span(keys, steps.start, len(steps.profile_wh), zone)
    if len(set(steps.profile_wh)) > 1:
        amount = f"{present.energy(sum(wanted))} in {len(wanted)} quarter-hours"
    else:
        amount = f"{present.energy(wanted[0])} in {'each' if len(wanted) > 1 else 'the'}"
        amount += " quarter-hour"
    limit = present.price(limits[0])
    if len(limits) > 1:
        limit = f"{present.cents(limits[0])} to {present.price(limits[-1])}"
    return f"{_VERBS[steps.side]} {amount} {when}, at {limit} {_BOUNDS[steps.side]}"


def _lists(steps: Steps) -> tuple[Sequence[int], Sequence[int]]:
    return steps.profile_wh, steps.limits_micro_per_kwh


def _span(keys: Sequence[str], start: int, length: int, zone: str) -> str:
    """Return the local times of consecutive intervals, such as 12:00–13:00 CEST."""
    return present.span(keys[start], keys[start + length - 1], zone)


def _kilo(value: int) -> str:
    return f"{Decimal(value) / WH_OF_KWH:f}"


# --- Back into the form --------------------------------------------------------------------------


def to_form(row: Stored, keys: Sequence[str]) -> Mapping[str, str]:
    """Return what to fill into the form to amend an order; nothing where it does not fit in."""
    shared = {"kind": row.kind, "order_id": own_id_of(row), "point": row.point}
    match content_of(row):
        case Steps() as steps if len({*zip(*_lists(steps), strict=True)}) == 1:
            return {
                **shared,
                **_times(keys, steps.start, len(steps.profile_wh)),
                "side": steps.side,
                "energy": _shown(steps.profile_wh[0], WH_OF_KWH),
                "price": _shown(steps.limits_micro_per_kwh[0], MICRO_OF_CENT),
            }
        case Block() as block if len(set(block.profile_wh)) == 1:
            return {
                **shared,
                **_times(keys, block.start, len(block.profile_wh)),
                "side": block.side,
                "energy": _shown(block.profile_wh[0], WH_OF_KWH),
                "price": _shown(block.limit_micro_per_kwh, MICRO_OF_CENT),
                "share": _shown(block.min_acceptance_ppm, MICRO_OF_CENT),
                "link": block.parent,
            }
        case Flexible() as order:
            return {
                **shared,
                **_times(keys, order.start, order.deadline - order.start),
                "energy": _shown(order.energy_wh, WH_OF_KWH),
                "power": _shown(order.power_w, WH_OF_KWH),
                "price": _shown(order.limit_micro_per_kwh, MICRO_OF_CENT),
            }
        case Storage() as order if (order.charge_w, order.initial_wh) == (
            order.discharge_w,
            order.least_final_wh,
        ):
            return {
                **shared,
                "capacity": _shown(order.capacity_wh, WH_OF_KWH),
                "stored": _shown(order.initial_wh, WH_OF_KWH),
                "power": _shown(order.charge_w, WH_OF_KWH),
                "efficiency": _shown(order.efficiency_ppm, MICRO_OF_CENT),
                "price": _shown(order.least_gain_micro_per_kwh, MICRO_OF_CENT),
            }
    return {}


def _times(keys: Sequence[str], start: int, length: int) -> Mapping[str, str]:
    return {"first": keys[start], "last": keys[start + length - 1]}


def _shown(value: int, scale: int) -> str:
    text = f"{Decimal(value) / scale:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
