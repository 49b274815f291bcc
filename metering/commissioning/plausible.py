"""Is that a meter one can bill by? Values beside what is plausible, with a verdict each. Pure.

Sources: EN 50160 for the mains (here with room for other grids: 50 to 300 V a phase, 45 to
65 Hz); facts about word order and "easy connection" from the vendors' protocol descriptions that
the profiles name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from metering.commissioning.seen import (
    COUNTERS,
    LABELS,
    MAX_HZ,
    MAX_V,
    MIN_HZ,
    MIN_V,
    VOLTAGES,
    Seen,
    number,
    possible,
    turned,
)
from metering.commissioning.wire import Finding, Report, Verdict

_LEAST_W: Final = 50  # below that, noise may decide the sign
_MS_PER_H: Final = 3_600_000
_ABOVE_FUSE: Final = Fraction(11, 10)
_STEPS: Final = 4  # of a counter, before its pace says something
_PACE: Final = 2  # how far counters and power may differ


@dataclass(frozen=True, slots=True)
class Expected:
    """What a person knows beforehand: the label's serial number, the fuse, settings by name."""

    serial: str = ""
    max_power_w: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def report(seen: Seen, expected: Expected, read_ms: int) -> Report:
    """Return all findings on a meter, for the person at it and for the one who confirms it."""
    return Report(
        read_ms=read_ms,
        profile=seen.profile.name,
        version=seen.profile.version,
        findings=list(judge(seen, expected)),
    )


def judge(seen: Seen, expected: Expected) -> Iterator[Finding]:
    """Yield each finding: what the meter shows, what is plausible, the verdict, what to do."""
    yield from _identity(seen, expected)
    yield from _word_order(seen)
    yield from _mains(seen)
    yield _power(seen, expected)
    yield from _counters(seen)
    yield from _direction(seen)
    yield from _pace(seen)
    yield from _settings(seen, expected)


def _finding(
    check: str,
    shown: tuple[str, str, str],
    plausible: str,
    verdict: Verdict,
    advice: str = "",
) -> Finding:
    """Make a finding; ``shown`` is (label, value, unit)."""
    label, value, unit = (
        "".join(char for char in text if char.isprintable())[:limit]
        for text, limit in zip(shown, (64, 240, 16), strict=True)
    )
    return Finding(
        check=check,
        label=label or check,
        value=value,
        unit=unit,
        plausible=plausible,
        verdict=verdict,
        advice=advice[:240],
    )


def _identity(seen: Seen, expected: Expected) -> Iterator[Finding]:
    if seen.identified is not None:
        yield _finding(
            "type",
            ("Type", seen.profile.title, ""),
            "as its registers say",
            "good" if seen.identified else "wrong",
            ""
            if seen.identified
            else "The registers that tell the type say otherwise: find it by wattloom meter scan.",
        )
    shown = ("Serial number", seen.serial or expected.serial or "none", "")
    if seen.serial is None and not expected.serial:
        advice = "The meter shows none: read it off the label and name it with --serial."
        yield _finding("serial", shown, "as on the label", "look", advice)
    elif seen.serial is not None and expected.serial not in ("", seen.serial):
        advice = f"The label says {expected.serial}: is this another unit on the line?"
        yield _finding("serial", shown, f"{expected.serial}"[:240], "wrong", advice)
    else:
        yield _finding("serial", shown, "as on the label", "good")


def _word_order(seen: Seen) -> Iterator[Finding]:
    """Warn where the values make sense only with the words of each register turned round."""
    fields = {
        name: spec
        for name, spec in seen.register_map.fields.items()
        if name in (*VOLTAGES, "frequency") and spec.type.words > 1
    }
    read = {name: seen.last.value(spec) for name, spec in fields.items()}
    if any(possible(name, value) for name, value in read.items()):
        return
    for name, spec in fields.items():
        other = seen.last.value(turned(spec))
        if possible(name, other):
            order = "high" if spec.low_word_first else "low"
            unit = "Hz" if name == "frequency" else "V"
            yield _finding(
                "word_order",
                ("Word order", number(read[name]), unit),
                f"{number(other)} {unit}, decoded {order}-word-first",
                "wrong",
                f"{LABELS[name]} is {number(read[name])} {unit} here; decoded {order}-word-first "
                f"it would be {number(other)} {unit}. Choose another profile, or mend its "
                "word_order; values are never swapped silently.",
            )
            return


def _mains(seen: Seen) -> Iterator[Finding]:
    plausible = f"{MIN_V} to {MAX_V}"
    for name in VOLTAGES:
        spec = seen.register_map.fields.get(name)
        if spec is None:
            continue
        value = seen.last.value(spec)
        shown = (LABELS[name], number(value), "V")
        if possible(name, value):
            yield _finding(name, shown, plausible, "good")
        elif value is None or abs(value) < 1:
            advice = "No voltage on this phase: is it connected, or the meter a single-phase one?"
            verdict: Verdict = "wrong" if name == "voltage_l1" else "look"
            yield _finding(name, shown, plausible, verdict, advice)
        else:
            advice = "No mains voltage: check the profile, its word order and the wiring."
            yield _finding(name, shown, plausible, "wrong", advice)
    if "frequency" in seen.register_map.fields:
        value = seen.both("frequency")[1]
        good = possible("frequency", value)
        yield _finding(
            "frequency",
            (LABELS["frequency"], number(value, 2), "Hz"),
            f"{MIN_HZ} to {MAX_HZ}",
            "good" if good else "wrong",
            "" if good else "No mains frequency: check the profile and its word order.",
        )


def _power(seen: Seen, expected: Expected) -> Finding:
    value = seen.both("power")[1]
    shown = (LABELS["power"], number(value, 0), "W")
    rated = expected.max_power_w or seen.profile.rated_w
    if value is None:
        return _finding("power", shown, "a value", "look", "The meter shows no power.")
    if rated is None:
        return _finding("power", shown, "any: no rating is known", "good")
    most = rated * _ABOVE_FUSE
    plausible = f"-{number(most, 0)} to {number(most, 0)}"
    if abs(value) <= most:
        return _finding("power", shown, plausible, "good")
    advice = "More than the fuse allows: check the transformer ratio and the profile's scale."
    return _finding("power", shown, plausible, "wrong", advice)


def _counters(seen: Seen) -> Iterator[Finding]:
    for name in COUNTERS:
        if name not in seen.register_map.fields:
            continue
        before, after = seen.both(name)
        shown = (LABELS[name], number(after, 0), "Wh")
        if before is None or after is None:
            advice = "The meter shows no such counter: check its variant and the profile."
            yield _finding(name, shown, "not falling", "look", advice)
        elif after < before or after < 0:
            advice = f"It was {number(before, 0)} Wh at first: a counter never falls; do not use it"
            yield _finding(name, shown, "not falling", "wrong", f"{advice} before that is clear.")
        else:
            yield _finding(name, shown, "not falling", "good")


@dataclass(frozen=True, slots=True)
class _Flow:
    """Power of one sign over the time between two polls, and what the counters made of it."""

    power_w: Fraction
    import_wh: Fraction
    export_wh: Fraction
    step_wh: int
    elapsed_ms: int

    @property
    def energy_wh(self) -> Fraction:
        return abs(self.power_w) * self.elapsed_ms / _MS_PER_H


def _flow(seen: Seen) -> _Flow | None:
    """Return what flowed, ``None`` where that cannot be said."""
    first, last = seen.both("power")
    if first is None or last is None or min(abs(first), abs(last)) < _LEAST_W:
        return None
    if (first > 0) != (last > 0) or seen.elapsed_ms <= 0:
        return None
    rises = []
    for name in COUNTERS:
        before, after = seen.both(name)
        rises.append(Fraction(0) if before is None or after is None else after - before)
    if min(rises) < 0:
        return None
    step = max(seen.step_wh(name) for name in COUNTERS)
    return _Flow((first + last) / 2, rises[0], rises[1], step, seen.elapsed_ms)


def _direction(seen: Seen) -> Iterator[Finding]:
    """Judge the sign of power by the counter that rises."""
    if "power" not in seen.register_map.fields:
        return
    flow = _flow(seen)
    label = "Direction"
    if flow is None:
        advice = f"Switch on (or feed in) at least {_LEAST_W} W and test again."
        yield _finding("direction", (label, "not seen", ""), "sign = counter", "unseen", advice)
        return
    value = (
        f"{number(flow.power_w, 0)} W; import +{number(flow.import_wh, 0)} Wh, "
        f"export +{number(flow.export_wh, 0)} Wh"
    )
    verdict, advice = _verdict(flow)
    yield _finding("direction", (label, value, ""), "the sign's counter rises", verdict, advice)


def _verdict(flow: _Flow) -> tuple[Verdict, str]:
    drawn = flow.power_w > 0
    right, other = (flow.import_wh, flow.export_wh) if drawn else (flow.export_wh, flow.import_wh)
    if right and not other:
        return "good", ""
    if right and other:
        return "look", "Both counters rise: the meter may count each phase for itself."
    if other and drawn:
        return "wrong", (
            "Power is drawn and export rises: a transformer or the meter is connected the wrong "
            "way round, or the profile's sign is."
        )
    if other:
        return "wrong", (
            "Power is fed in and import rises: the connection is the wrong way round, or the "
            "meter is in 'easy connection' mode, which counts both directions as import."
        )
    if flow.energy_wh > _STEPS * flow.step_wh:
        return "wrong", "Power flows and neither counter moves: check the profile's counters."
    need_s = int(_STEPS * flow.step_wh * _MS_PER_H / abs(flow.power_w) / 1_000) + 1
    return "unseen", (
        f"The counters step by {flow.step_wh} Wh: at this power test for {need_s} s "
        f"(--seconds {need_s})."
    )


def _pace(seen: Seen) -> Iterator[Finding]:
    """Compare how fast the counters run with the power, once they moved enough."""
    flow = _flow(seen)
    counted = Fraction(0) if flow is None else flow.import_wh + flow.export_wh
    if flow is None or counted < _STEPS * flow.step_wh:
        return
    low, high = flow.energy_wh / _PACE - flow.step_wh, flow.energy_wh * _PACE + flow.step_wh
    good = low <= counted <= high
    yield _finding(
        "pace",
        ("Counters beside power", number(counted, 0), "Wh"),
        f"{number(max(low, Fraction(0)), 0)} to {number(high, 0)}",
        "good" if good else "wrong",
        ""
        if good
        else "Counters and power differ in scale: look at the current transformer ratio.",
    )


def _settings(seen: Seen, expected: Expected) -> Iterator[Finding]:
    for place, setting in enumerate(seen.profile.watch, start=1):
        value = seen.settings.get(setting.name)
        wanted = expected.settings.get(setting.name)
        label = setting.name[:1].upper() + setting.name[1:]
        shown = (label, "none" if value is None else value, "")
        safe = ", ".join(sorted(setting.safe)) or "any; a change is reported"
        check = f"setting_{place}"
        if value is None:
            advice = "This variant shows no such setting: look at the meter's display."
            yield _finding(check, shown, (wanted or safe)[:240], "unseen", advice)
        elif wanted is not None:
            advice = "" if value == wanted else f"Not what was expected. {setting.advice}"
            verdict: Verdict = "good" if value == wanted else "wrong"
            yield _finding(check, shown, wanted[:240], verdict, advice)
        else:
            good = setting.is_safe(value)
            advice = "" if good else setting.advice
            yield _finding(check, shown, safe[:240], "good" if good else "wrong", advice)
