"""Standing limits in words: one sentence says what limit comes out, and why."""

from __future__ import annotations

from typing import Final

from web import present
from web.ports.limits import AskedLimits, LimitsView, LimitView, Outcome, PointLimits

STRATEGIES: Final = {
    "grid-parity": "Grid parity",
    "greedy": "Greedy",
    "by-forecast": "By forecast",
    "own-limits": "Own limits",
}
STRATEGY_HELP: Final = {
    "grid-parity": "Trade whenever it is no worse than the supplier. This is the default.",
    "greedy": "Keep a share of the spread for yourself: trade less often, gain more each time.",
    "by-forecast": "Stay near the expected price: a share of the spread beyond it is accepted.",
    "own-limits": "Set the prices yourself.",
}
GREEN: Final = {
    "any": "Any energy",
    "premium": "Green energy is worth more to me",
    "only": "Green energy only",
}
LEVELS: Final = {
    "building": "from my building only",
    "feeder": "from my feeder only",
    "district": "from anywhere in the district",
}
RULES: Final = {
    "mid-market": "All local trades are at one rate that your limit does not move: a limit that "
    "the rate is beyond keeps you out of the local market, and that is all it does.",
    "uniform": "All local trades are at one price, where offers and bids meet: a stricter limit "
    "may move it your way, or keep you out.",
    "pay-as-bid": "A buyer pays their own limit, and sellers get what their buyers pay: a lower "
    "limit costs less when it trades, and trades less often.",
    "sdr": "All local trades are at one price that follows from supply and demand: a limit that "
    "it is beyond keeps you out of the local market.",
}
WISHES: Final = {
    "green": "green",
    "green-only": "green energy only",
    "local-first": "near first",
    "max-building": "within the building",
    "max-feeder": "on the feeder",
}
_ROLES: Final = {"prosumer": "you", "building-manager": "the building manager"}


def order_wish(text: str) -> str:
    """Return an order's wish such as ``green+20000 local-first`` in words, or ``none``."""
    told = []
    for word in text.split():
        premium = word.removeprefix("green+")
        more = f"{present.price(int(premium))} more for green energy" if premium != word else word
        told.append(WISHES.get(word, more))
    return ", ".join(told) or "none"


def buys(view: LimitsView, point: PointLimits) -> str:
    """Return the sentence about buying."""
    all_in = view.buy.all_in_micro_per_kwh
    text = (
        f"Buys from neighbours at up to {present.price(all_in)} all-in, "
        f"{present.price(view.buy.net_micro_per_kwh)} before grid fee, levy and VAT: "
        f"{_why_buying(view, point)}."
    )
    if view.buy.capped:
        text += (
            f" {present.price(view.buy.wanted_micro_per_kwh)} was asked for, which is above your "
            "ceiling; nobody pays more than on the normal tariff."
        )
    if view.buy_green is not None:
        text += (
            f" For green energy it is up to {present.price(view.buy_green.all_in_micro_per_kwh)} "
            f"all-in, with your premium of {present.price(view.premium_micro_per_kwh)} net"
        )
        beyond = view.buy_green.net_micro_per_kwh > point.ceiling_micro_per_kwh
        text += ", more than the normal tariff." if beyond else "."
    return text


def sells(view: LimitsView, point: PointLimits) -> str:
    """Return the sentence about selling."""
    text = (
        f"Sells to neighbours from {present.price(view.sell.net_micro_per_kwh)} net: "
        f"{_why_selling(view, point)}."
    )
    if view.sell.capped:
        text += (
            f" {present.price(view.sell.wanted_micro_per_kwh)} was asked for, which is below your "
            "feed-in price; nobody sells for less than the supplier pays."
        )
    return text


def wish(asked: AskedLimits) -> str:
    """Return a wish in words, '' for none."""
    parts = []
    if asked.green == "premium":
        parts.append(f"{asked.premium or '0'}{present.NBSP}ct/kWh more for green energy")
    elif asked.green == "only":
        parts.append("green energy only")
    if asked.local_first:
        parts.append("near energy first")
    if asked.level != "district":
        parts.append(LEVELS[asked.level])
    return ", ".join(parts)


def version(asked: AskedLimits) -> str:
    """Return limits in a few words, for the list of versions."""
    text = STRATEGIES[asked.strategy]
    if asked.share:
        text += f", {asked.share}{present.NBSP}% of the spread"
    if asked.buy:
        text += f", buy up to {_typed(asked.buy)}{present.NBSP}ct/kWh all-in"
    if asked.sell:
        text += f", sell from {_typed(asked.sell)}{present.NBSP}ct/kWh net"
    wished = wish(asked)
    return f"{text}; {wished}" if wished else text


def outcome(found: Outcome) -> str:
    """Return what limits would have let through of the last day's trades."""
    verb = "bought" if found.side == "bid" else "sold"
    kept = "all" if found.kept_wh == found.wh else present.energy(found.kept_wh)
    saved, of_all = present.money(found.kept_saving_micro), present.money(found.saving_micro)
    gain = "saved" if found.side == "bid" else "earned on top of the feed-in price"
    return (
        f"Of {present.energy(found.wh)} {verb} locally in the last day’s quarter-hours, this limit "
        f"would have let {kept} through ({found.kept_intervals} of {found.intervals} "
        f"quarter-hours): {saved} of {of_all} {gain}."
    )


def role(name: str) -> str:
    """Return who entered something."""
    return _ROLES.get(name, name)


def _why_buying(view: LimitsView, point: PointLimits) -> str:
    ceiling = present.price(point.ceiling_micro_per_kwh)
    share = present.share(view.share_ppm)
    if view.buy.capped:
        return "your ceiling, at which a neighbour’s power costs what the supplier’s does"
    return {
        "share": f"{share} of the spread between feed-in price and ceiling below your ceiling of "
        f"{ceiling}",
        "forecast": f"the expected price and {share} of the spread above it",
        "no-forecast": "your ceiling, since no price is expected of that quarter-hour",
        "own": "the limit that you set" + _rounded(view.buy),
    }.get(
        view.buy.reason, "your ceiling, at which a neighbour’s power costs what the supplier’s does"
    )


def _why_selling(view: LimitsView, point: PointLimits) -> str:
    floor, share = present.price(point.floor_micro_per_kwh), present.share(view.share_ppm)
    if view.sell.capped:
        return "what the supplier pays for it"
    return {
        "share": f"{share} of the spread between feed-in price and ceiling above your feed-in "
        f"price of {floor}",
        "forecast": f"the expected price less {share} of the spread",
        "no-forecast": "your feed-in price, since no price is expected of that quarter-hour",
        "own": "the limit that you set",
    }.get(view.sell.reason, "what the supplier pays for it")


def _typed(number: str) -> str:
    return number.replace("-", present.MINUS)


def _rounded(view: LimitView) -> str:
    moved = view.net_micro_per_kwh != view.wanted_micro_per_kwh
    return ", rounded down to the district’s price tick" if moved else ""
