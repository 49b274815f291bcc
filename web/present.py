"""Turn units into text: the one place where integers become what people read.

Energy is shown in kWh, power in kW, prices in ct/kWh and money in euros, each with its unit and a
no-break space before it; moments in the district's local time with the zone's name. Import is
positive: a metering point that takes from the street has positive power, one that feeds in has
negative power. Money that comes in carries a plus, money that goes out a minus.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from metering.interval import Interval, from_ms

NBSP: Final = "\u00a0"
MINUS: Final = "\u2212"
MICRO_PER_CENT: Final = 10_000
MICRO_PER_EURO: Final = 1_000_000

STATE_WORDS: Final = {
    "open": "Running",
    "closed": "Over, waiting for the last readings",
    "metered": "Metered",
    "cleared": "Cleared",
    "settled": "Settled",
    "sealed": "Sealed",
    "final": "Final",
}
PAYMENT_WORDS: Final = {
    "none": "Nothing to pay yet",
    "submitted": "On its way",
    "confirmed": "Paid and confirmed",
}
ANCHOR_WORDS: Final = {"pending": "Waiting for the ledger", "confirmed": "On the ledger"}
BLOCK_WORDS: Final = {
    "milestone": "Milestone",
    "anchor": "Anchor of the district’s log",
    "payment": "Payment",
    "transfer": "Transfer",
    "data": "Data",
    "empty": "Empty",
    "other": "Of a kind that is not read here",
}
BLOCK_STATE_WORDS: Final = {
    "pending": "Waiting for a milestone",
    "confirmed": "Confirmed",
    "conflicting": "Ignored: it conflicts",
}
CHECKPOINT_WORDS: Final = {
    "pending": "Waiting for the ledger",
    "submitted": "Sent to the ledger",
    "confirmed": "On the ledger",
}
KEY_WORDS: Final = {
    "log": "Log",
    "mldsa": "Log, second signature",
    "registry": "Registry",
    "receipts": "Receipts",
    "milestone": "Ledger milestones",
    "witness": "Witness",
}
KEY_USES: Final = {
    "log": "signs the checkpoints",
    "mldsa": "signs the checkpoints by ML-DSA-44 as well",
    "registry": "signs which meter speaks for which point",
    "receipts": "signs the receipts of readings",
    "milestone": "signs what the ledger confirms",
    "witness": "cosigns checkpoints that only grew",
}
KIND_WORDS: Final = {
    "home": "Home",
    "home-pv": "Home with solar roof",
    "school": "School",
    "office": "Office",
    "bakery": "Bakery",
    "heat-pump": "Heat-pump block",
    "ev-hub": "Charging hub",
}
STEP_WORDS: Final = {
    "keys": "The public keys can be read",
    "file": "The file can be read",
    "milestone": "The ledger confirmed it",
    "anchor": "The district’s checkpoint stands on the ledger",
    "inclusion": "The ledger holds the block",
    "old": "The district signed the older checkpoint",
    "new": "The district signed the newer checkpoint",
    "consistency": "The log only grew",
    "equivocation": "Two histories were signed",
    "checkpoint": "The district signed its log",
    "seal": "The quarter-hour is sealed in that log",
    "time": "The times agree",
    "enrolment": "The meter is enrolled",
    "roster": "The meter belongs to the sealed quarter-hour",
    "slot": "Its readings stand in the seal",
    "reading": "The meter signed its reading",
    "border": "The reading is from the quarter-hour’s border",
    "tariff": "The tariff stands in the seal",
    "order": "The order stands in the seal",
    "statement": "The statement stands in the seal",
    "energy": "The energy adds up",
    "lines": "The amounts add up",
    "carry": "Nothing is lost on the way to the payment",
    "payment": "The money arrived on the ledger",
    "correction": "The corrections stand in the log",
    "receipt": "The receipt is signed",
    "promise": "The seal keeps what the receipt promised",
    "late": "The readings that came late stand in the seal",
    "entries": "The log’s entries lie between two anchors",
    "window": "When it was signed lies between two milestones",
    "epoch": "The new beginning of the counters was approved",
}
RULE_WORDS: Final = {
    "mid-market": "one rate for all, halfway between the feed-in price and the most that a "
    "neighbour’s power may cost before the supplier’s is the cheaper one",
    "uniform": "one price for all, where offers and bids meet",
    "pay-as-bid": "each buyer pays their own limit, and the seller gets it",
    "sdr": "one rate for all, the lower the more there is to sell for each kWh that is wanted",
    "sharing": "the surplus is shared out by agreed keys",
}
RULE_NAMES: Final = {
    "mid-market": "Mid-market rate",
    "uniform": "Uniform price",
    "pay-as-bid": "Pay as bid",
    "sdr": "Supply-demand ratio",
    "sharing": "Sharing keys",
}
MODE_WORDS: Final = {
    "metered": "After delivery: what the meters measured is traded",
    "forward": "Before delivery: orders were taken until the gate closed",
    "sharing": "Shared out by keys, without a market",
}


def words(table: dict[str, str], key: str) -> str:
    """Return the plain words for ``key``, or the key itself with spaces when there are none."""
    return table.get(key, key.replace("-", " ").capitalize())


def signed(text: str, value: int, *, plus: bool = False) -> str:
    """Put a typographic minus (or, when asked, a plus) before the text of ``abs(value)``."""
    if value < 0:
        return MINUS + text
    return f"+{text}" if plus and value > 0 else text


def _decimal(value: int, scale: int, decimals: int) -> str:
    """Return ``abs(value) / scale`` with that many decimals, rounded half up, grouped by comma."""
    factor = 10**decimals
    scaled = (2 * abs(value) * factor + scale) // (2 * scale)
    whole, fraction = divmod(scaled, factor)
    return f"{whole:,}.{fraction:0{decimals}d}" if decimals else f"{whole:,}"


def energy(wh: int) -> str:
    """Return watt-hours as kWh: two decimals below 10 kWh, one below 1,000 kWh."""
    decimals = 2 if abs(wh) < 10_000 else 1 if abs(wh) < 1_000_000 else 0
    return signed(f"{_decimal(wh, 1000, decimals)}{NBSP}kWh", wh)


def power(w: int) -> str:
    """Return watts as kW: one decimal below 10 kW, whole kW above, and a plain 0 for nothing."""
    if abs(w) < 50:
        return f"0{NBSP}kW"
    decimals = 1 if abs(w) < 9_950 else 0
    return signed(f"{_decimal(w, 1000, decimals)}{NBSP}kW", w)


def point_power(w: int) -> str:
    """Return a metering point's power in words: what it draws or feeds in."""
    if abs(w) < 50:
        return power(w)
    return f"draws {power(w)}" if w > 0 else f"feeds in {power(-w)}"


def price(micro_per_kwh: int | None) -> str:
    """Return micro-euros per kWh as ct/kWh with two decimals; None means that nothing traded."""
    if micro_per_kwh is None:
        return "no trade"
    return signed(f"{_decimal(micro_per_kwh, MICRO_PER_CENT, 2)}{NBSP}ct/kWh", micro_per_kwh)


def local_price(micro_per_kwh: int | None, traded_wh: int) -> str:
    """Return the price of an interval's trades; without one it may have had several."""
    return "several prices" if micro_per_kwh is None and traded_wh else price(micro_per_kwh)


def step(micro_per_kwh: int) -> str:
    """Return a price step of whole micro-euros per kWh as ct/kWh, with all its digits."""
    whole, rest = divmod(micro_per_kwh, MICRO_PER_CENT)
    return f"{whole}{f'.{rest:04d}'.rstrip('0') if rest else ''}{NBSP}ct/kWh"


def money(micro: int, *, plus: bool = False) -> str:
    """Return micro-euros as euros: four decimals below one euro, for quarter-hours are small."""
    decimals = 4 if 0 < abs(micro) < MICRO_PER_EURO else 2
    return signed(f"€{_decimal(micro, MICRO_PER_EURO, decimals)}", micro, plus=plus)


def exact_money(micro: int, *, plus: bool = False) -> str:
    """Return micro-euros as euros with all six decimals, as the journal holds them."""
    return signed(f"€{_decimal(micro, MICRO_PER_EURO, 6)}", micro, plus=plus)


def amount(micro: int, *, plus: bool = False) -> str:
    """Return money of a bank as euros: whole cents with two decimals, parts of one with all six."""
    decimals = 6 if micro % MICRO_PER_CENT else 2
    return signed(f"€{_decimal(micro, MICRO_PER_EURO, decimals)}", micro, plus=plus)


def cents(micro_per_kwh: int) -> str:
    """Return a price's number alone, for the second and later ones of a sentence."""
    return signed(_decimal(micro_per_kwh, MICRO_PER_CENT, 2), micro_per_kwh)


def per_kwh(micro: int, wh: int) -> str:
    """Return what each kWh came to, as ct/kWh; a dash when there was no energy."""
    if wh <= 0:
        return "–"
    return price((2 * micro * 1000 + wh) // (2 * wh))


def share(ppm: int | None) -> str:
    """Return parts per million as a percentage; None means that it is not known yet."""
    return "not known yet" if ppm is None else f"{_decimal(ppm, 10_000, 1)}{NBSP}%"


def local(moment_ms: int, zone: str) -> datetime:
    """Return a moment of UTC milliseconds in the zone's local time."""
    return from_ms(moment_ms).astimezone(ZoneInfo(zone))


def clock(moment_ms: int, zone: str) -> str:
    """Return the local time with the zone's name, such as 11:15 CEST."""
    return f"{local(moment_ms, zone):%H:%M %Z}"


def day(moment_ms: int, zone: str) -> str:
    """Return the local day, such as Tue 23 Jun 2026."""
    moment = local(moment_ms, zone)
    return f"{moment:%a} {moment.day} {moment:%b %Y}"


def second(moment_ms: int, zone: str) -> str:
    """Return the local time to the second, such as 11:15:09 CEST."""
    return f"{local(moment_ms, zone):%H:%M:%S %Z}"


def age(moment_ms: int, now_ms: int) -> str:
    """Return how long ago a moment was: seconds, minutes, hours or days, rounded down.

    A milestone's time may run ahead, since each is at least a second after the one before.
    """
    seconds = (now_ms - moment_ms) // 1000
    if seconds < 0:
        return f"{count(-seconds, 'second', 'seconds')} ahead of the clock"
    for length, one, many in ((86_400, "day", "days"), (3_600, "hour", "hours")):
        if seconds >= 2 * length:
            return f"{count(seconds // length, one, many)} ago"
    if seconds >= 120:
        return f"{count(seconds // 60, 'minute', 'minutes')} ago"
    return f"{count(seconds, 'second', 'seconds')} ago" if seconds else "just now"


def groups(digits: str) -> str:
    """Return hex digits in groups of four, to be read out and compared."""
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def short(identifier: str) -> str:
    """Return an id's ends; the whole id belongs in the title beside it."""
    return f"{identifier[:8]}…{identifier[-4:]}" if len(identifier) > 16 else identifier


def date(iso: str) -> str:
    """Return a day such as 2026-06-23 as people write it: Tue 23 Jun 2026."""
    found = datetime.fromisoformat(iso)
    return f"{found:%a} {found.day} {found:%b %Y}"


def quarter(key: str, zone: str) -> str:
    """Return an interval's local times, such as 11:00-11:15 CEST (both zones where they differ)."""
    interval = Interval.parse(key)
    start, end = local(interval.start_ms, zone), local(interval.end_ms, zone)
    first = f"{start:%H:%M}" if start.tzname() == end.tzname() else f"{start:%H:%M %Z}"
    return f"{first}–{end:%H:%M %Z}"


def quarter_start(key: str, zone: str) -> str:
    """Return the local time at which an interval begins, such as 11:00 CEST."""
    return clock(Interval.parse(key).start_ms, zone)


def quarter_end(key: str, zone: str) -> str:
    """Return the local time at which an interval ends, such as 11:15 CEST."""
    return clock(Interval.parse(key).end_ms, zone)


def span(first: str, last: str, zone: str) -> str:
    """Return the local times from the begin of one interval to the end of another."""
    return f"{quarter(first, zone).partition('–')[0]}–{quarter(last, zone).partition('–')[2]}"


def quarter_day(key: str, zone: str) -> str:
    """Return the local day on which an interval starts."""
    return day(Interval.parse(key).start_ms, zone)


def next_close(moment_ms: int, zone: str) -> str:
    """Return the local time at which the interval that holds the moment closes."""
    return clock(Interval.containing_ms(moment_ms).end_ms, zone)


def sentence(text: str) -> str:
    """Return an error's text as a sentence: a capital first, one full stop or ``?`` last."""
    told = f"{text[:1].upper()}{text[1:].rstrip('.')}"
    return told if told.endswith("?") else f"{told}."


def count(number: int, one: str, many: str) -> str:
    """Return a number with its noun in the right form."""
    return f"{number}{NBSP}{one if number == 1 else many}"
