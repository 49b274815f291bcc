"""The profiles: what vendors' sheets say, and errors that name file, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from metering.profiles import (
    ProfileError,
    Role,
    candidates,
    load_profile,
    parse_profile,
    profile_names,
)
from metering.registers import MAX_READ, TYPES, RegisterMap, RegisterType
from metering.sunspec import SunSpecLayout

MINIMAL = """
title = "A meter"
source = "its manual"
layout = "fixed"
function = 3

[[read]]
address = 10
count = 4

[quantity.import_total]
address = 10
type = "uint32"
unit = "kWh"
scale = "0.01"
"""

SUNSPEC = """
title = "A meter"
source = "its manual"
layout = "sunspec"
function = 3
bases = [40000]
[[model]]
ids = [203]
length = 105
[model.quantity.import_total]
address = 46
type = "acc32"
unit = "Wh"
scale_register = 54
"""

INVERTER = 'role = "production"' + MINIMAL.replace("import_total", "export_total")
TOLD = """
[[identify]]
address = 900
type = "text"
words = 2
prefix = ["X1"]
[[watch]]
name = "mode"
address = 901
type = "uint16"
safe = [1]
advice = "Set mode 1."
"""

# name, quantity, function, address, type, Wh or W per count, high word first
SHEETS = """
eastron_sdm630      import_total 4 0x0048 float32 1000 high
eastron_sdm630      export_total 4 0x004A float32 1000 high
eastron_sdm630      power        4 0x0034 float32 1    high
eastron_sdm120      power        4 0x000C float32 1    high
eastron_sdm120      import_total 4 0x0048 float32 1000 high
abb_b23             import_total 3 0x5000 uint64  10   high
abb_b23             export_total 3 0x5004 uint64  10   high
abb_b23             power        3 0x5B14 int32   0.01 high
carlo_gavazzi_em340 import_total 4 0x0034 int32   100  low
carlo_gavazzi_em340 export_total 4 0x004E int32   100  low
carlo_gavazzi_em340 power        4 0x0028 int32   0.1  low
janitza_umg604      import_total 3 0x4A7C float32 1    high
janitza_umg604      export_total 3 0x4A84 float32 1    high
janitza_umg96rm     import_total 3 0x4A7C float32 1    high
abb_b24             import_total 3 0x5000 uint64  10   high
carlo_gavazzi_em24_e1  import_total 4 0x0034 int32 100 low
carlo_gavazzi_em24_din import_total 4 0x003E int32 100 low
carlo_gavazzi_em24_din export_total 4 0x005C int32 100 low
carlo_gavazzi_em111 import_total 4 0x0010 int32   100  low
carlo_gavazzi_em111 export_total 4 0x0020 int32   100  low
carlo_gavazzi_em111 power        4 0x0004 int32   0.1  low
schneider_iem3155   import_total 3 0x0C83 int64   1    high
schneider_iem3155   export_total 3 0x0C87 int64   1    high
schneider_iem3155   power        3 0x0BF3 float32 1000 high
"""


def name_of(register_type: RegisterType) -> str:
    return next(name for name, known in TYPES.items() if known == register_type)


@pytest.mark.parametrize("row", SHEETS.strip().splitlines())
def test_profiles_say_what_the_sheets_say(row: str) -> None:
    name, quantity, function, address, kind, scale, order = row.split()
    layout = load_profile(name).layout
    assert isinstance(layout, RegisterMap)
    spec = layout.fields[quantity]
    assert (spec.function, spec.address) == (int(function), int(address, 16))
    assert name_of(spec.type) == kind
    assert float(spec.scale) == float(scale)
    assert spec.low_word_first == (order == "low")


@pytest.mark.parametrize(
    ("model", "quantity", "address", "scale_register"),
    [
        (201, "import_total", 46, 54),
        (203, "export_total", 38, 54),
        (204, "power", 18, 22),
        (211, "import_total", 68, None),
        (214, "export_total", 60, None),
        (213, "power", 28, None),
    ],
)
def test_sunspec_offsets_are_those_of_the_models(
    model: int, quantity: str, address: int, scale_register: int | None
) -> None:
    layout = load_profile("sunspec_meter").layout
    assert isinstance(layout, SunSpecLayout)
    assert set(layout.models) == {201, 202, 203, 204, 211, 212, 213, 214}
    spec = layout.models[model].fields[quantity]
    assert (spec.address, spec.scale_register) == (address, scale_register)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_loads_and_names_its_source(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert len(profile.source) > 10
    if isinstance(profile.layout, RegisterMap):
        assert all(read.count <= MAX_READ for read in profile.layout.reads)


def test_the_sdm630_never_bills_from_its_ambiguous_total() -> None:
    layout = load_profile("eastron_sdm630").layout
    assert isinstance(layout, RegisterMap)
    assert all(not read.covers(4, 0x156, 1) for read in layout.reads)
    assert all(read.count <= 80 and read.count % 2 == 0 for read in layout.reads)


def test_a_new_meter_needs_text_alone() -> None:
    layout = parse_profile("mine", MINIMAL).layout
    assert isinstance(layout, RegisterMap)
    assert layout.fields["import_total"].scale == 10


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        (MINIMAL, 'unit = "kWh"', 'unit = "W"', r"mine.toml: quantity.import_total.unit 'W'.*Wh"),
        (MINIMAL, 'unit = "kWh"', 'unit = "MWh"', r"mine.toml: quantity.import_total.unit: .*kWh"),
        (MINIMAL, '"uint32"', '"uint23"', r"mine.toml: quantity.import_total.type: .*uint32"),
        (MINIMAL, '"0.01"', "0.01", r"mine.toml: quantity.import_total.scale: .*string"),
        (MINIMAL, '"0.01"', '"0"', r"mine.toml: quantity.import_total.scale is 0"),
        (MINIMAL, "function = 3", "function = 5", r"mine.toml: function: .*3 or 4"),
        (MINIMAL, "count = 4", "count = 126", r"mine.toml: read.0.count: .*125"),
        (MINIMAL, "count = 4", "count = 1", r"quantity.import_total: register 10 .*\[\[read\]\]"),
        (MINIMAL, "address = 10\ntype", "type", r"quantity.import_total.address: is absent"),
        (MINIMAL, "import_total", "export_total", r"quantity.import_total is absent"),
        (MINIMAL, "import_total", "imports", r"mine.toml: quantity.imports.*import_total"),
        (MINIMAL, "scale =", "scales =", r"quantity.import_total.scales: unknown key: remove"),
        (MINIMAL, "scale =", 'missing = ["0x100000000"]\nscale =', r"missing is wider than uint32"),
        (MINIMAL, "scale =", 'missing = ["FFFF"]\nscale =', r"import_total.missing.0: .*0x"),
        (MINIMAL, "scale =", "scale_register = 99\nscale =", r"register 99 lies in no"),
        (MINIMAL, 'layout = "fixed"', 'layout = "free"', r"mine.toml: layout: .*'fixed'"),
        (MINIMAL, "scale =", 'modulus = "0.005"\nscale =', r"import_total.modulus is no whole"),
        (MINIMAL, "scale =", 'modulus = "99999999"\nscale =', r"import_total.modulus is no whole"),
        (MINIMAL, "scale =", 'modulus = "-1"\nscale =', r"import_total.modulus: .*pattern"),
        (MINIMAL, "scale =", "resolution = 1\nscale =", r"import_total.resolution: .*string"),
        (SUNSPEC, "scale_register = 54", 'scale_register = 54\nmodulus = "1"', r"does not belong"),
        (INVERTER, 'role = "production"', 'role = "sink"', r"mine.toml: role: .*'production'"),
        (INVERTER, "export_total", "import_total", r"export_total is absent: role 'production'"),
        (INVERTER, 'role = "production"', "", r"import_total is absent: .*role is .production."),
        (TOLD, 'prefix = ["X1"]', "", r"mine.toml: identify.0 matches nothing: give 'equals'"),
        (TOLD, "words = 2", "", r"mine.toml: identify.0.words is absent: a text has a length"),
        (TOLD, "safe = [1]", "words = 1", r"mine.toml: watch.0.words is given: only a text"),
        (TOLD, 'advice = "Set mode 1."', "", r"mine.toml: watch.0.advice: is absent: add it"),
        (TOLD, "safe = [1]", "safe = [1.5]", r"mine.toml: watch.0.safe.0"),
        (SUNSPEC, "[[model]]", "[[watch]]\n[[model]]", r"mine.toml: watch: unknown key"),
        (SUNSPEC, 'layout = "sunspec"', 'like = "nonesuch"', r"like: 'nonesuch' is no built-in"),
        (SUNSPEC, 'layout = "sunspec"', 'like = "abb_b24"', r"itself like abb_b23: name that one"),
        (MINIMAL, "title =", "title :", r"mine.toml is not TOML: .*line 2"),
        (SUNSPEC, "length = 105", "length = 50", r"model.0.quantity: an address lies beyond"),
        (SUNSPEC, "import_total", "power", r"unit 'Wh' does not fit"),
        (SUNSPEC, "bases = [40000]", "bases = []", r"mine.toml: bases: .*at least 1"),
    ],
)
def test_a_breach_names_file_key_and_remedy(text: str, old: str, new: str, expected: str) -> None:
    assert old in text
    text = MINIMAL + text if text is TOLD else text
    with pytest.raises(ProfileError, match=expected):
        parse_profile("mine", text.replace(old, new))


def test_an_unknown_profile_is_named_with_the_known_ones() -> None:
    with pytest.raises(ProfileError, match=r"'nonesuch'.*abb_b23"):
        load_profile("nonesuch")


def test_the_version_follows_what_the_file_says_and_not_how_it_is_written() -> None:
    versions = [
        parse_profile("mine", text).version
        for text in (
            MINIMAL,
            "# A word to the reader.\n" + MINIMAL.replace(" = ", "="),
            MINIMAL.replace("0.01", "0.1"),
        )
    ]
    assert versions[0] == versions[1] != versions[2]
    assert len(versions[0]) == 64


def test_a_profile_like_another_takes_its_registers_and_says_the_rest_itself() -> None:
    b23, b24 = load_profile("abb_b23"), load_profile("abb_b24")
    assert b24.layout == b23.layout
    assert (b23.rated_w, b24.rated_w) == (44_850, None)
    assert b24.identify[0].prefixes == ("B24",)
    assert b24.version != b23.version
    mine = parse_profile(
        "mine", 'title = "B21"\nsource = "s"\nlike = "abb_b23"\nrole = "production"'
    )
    assert (mine.role, mine.watch, mine.notes) == (Role.PRODUCTION, (), ())


def test_an_inverter_needs_no_import() -> None:
    profile = parse_profile("mine", INVERTER)
    assert isinstance(profile.layout, RegisterMap)
    assert set(profile.layout.fields) == {"export_total"}
    assert profile.role is Role.PRODUCTION


def test_a_scan_tries_the_surest_evidence_first() -> None:
    names = [profile.name for profile in candidates()]
    assert sorted(names) == list(profile_names())
    fixed = [bool(profile.identify) for profile in candidates()]
    assert fixed == sorted(fixed, reverse=True)
    assert names[-2:] == ["janitza_umg604", "janitza_umg96rm"]


def test_a_folder_of_ones_own_adds_profiles(tmp_path: Path) -> None:
    (tmp_path / "my_meter.toml").write_text(MINIMAL + TOLD, "utf-8")
    (tmp_path / "README.md").write_text("not a profile", "utf-8")
    assert profile_names(tmp_path) == tuple(sorted((*profile_names(), "my_meter")))
    profile = load_profile("my_meter", tmp_path)
    assert profile.identify[0].fits([0x5831, 0x3000])
    assert not profile.identify[0].fits([0x5832, 0x3000])
    assert [profile.watch[0].is_safe(value) for value in ("1", "2", None)] == [True, False, False]
    assert profile in candidates(tmp_path)
    assert load_profile("abb_b23", tmp_path) is load_profile("abb_b23")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("abb_b23", MINIMAL, r"abb_b23.toml: abb_b23 is built in already: choose another"),
        ("My Meter", MINIMAL, r"My Meter.toml: a profile's name has 1 to 64 lower-case"),
        ("mine", "title =", r"mine.toml is not TOML"),
        ("mine", b"\xff", r"mine.toml cannot be read as UTF-8 text"),
        ("mine", "", r"mine.toml: layout"),
    ],
)
def test_a_bad_file_in_a_folder_is_named(
    tmp_path: Path, name: str, text: str | bytes, expected: str
) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / f"{name}.toml").write_bytes(data)
    with pytest.raises(ProfileError, match=expected):
        candidates(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"gone: no folder of profiles: No such file"):
        profile_names(tmp_path / "gone")
