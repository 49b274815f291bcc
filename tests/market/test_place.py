"""Places, levels and wishes: what their words mean, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.money import Price
from market.place import Level, Place, PlaceError, Product, Wish
from tests.conftest import LONG


@pytest.mark.parametrize(
    ("text", "place", "level"),
    [
        ("", Place(), Level.DISTRICT),
        ("F1", Place("F1"), Level.FEEDER),
        ("F1/B2", Place("F1", "B2"), Level.BUILDING),
        ("Feeder North/House 7", Place("Feeder North", "House 7"), Level.BUILDING),
    ],
)
def test_a_place_is_read_and_written(text, place, level):
    assert Place.parse(text) == place
    assert str(place) == text
    assert place.level is level


@pytest.mark.parametrize("text", ["/B", "F/", "F/B/C", "/", " F", "F ", "F/ B", "F\n", "x" * 65])
def test_what_names_no_place_is_refused(text):
    with pytest.raises(PlaceError):
        Place.parse(text)


def test_a_building_needs_its_feeder():
    with pytest.raises(PlaceError, match="FEEDER/BUILDING"):
        Place("", "B1")


def test_the_places_above_a_place():
    home = Place("F1", "B1")
    assert [home.at(level) for level in Level] == [home, Place("F1"), Place()]
    with pytest.raises(PlaceError, match="has no building"):
        Place("F1").at(Level.BUILDING)


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("F1/B1", "F1/B1", Level.BUILDING),
        ("F1/B1", "F1/B2", Level.FEEDER),
        ("F1/B1", "F1", Level.FEEDER),
        ("F1", "F1", Level.FEEDER),
        ("F1/B1", "F2/B1", Level.DISTRICT),
        ("F1", "", Level.DISTRICT),
        ("", "", Level.DISTRICT),
    ],
)
def test_how_far_energy_travels(one, other, level):
    assert Place.parse(one).level_to(Place.parse(other)) is level
    assert Place.parse(other).level_to(Place.parse(one)) is level


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("", Wish()),
        ("any", Wish()),
        ("green", Wish(Product.GREEN)),
        ("green+20000", Wish(Product.GREEN, Price(20000))),
        ("green-only max-feeder", Wish(Product.GREEN, only=True, level=Level.FEEDER)),
        ("local-first max-building", Wish(local_first=True, level=Level.BUILDING)),
        ("max-district", Wish()),
    ],
)
def test_a_wish_is_read(text, wish):
    assert Wish.parse(text) == wish


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("red", "is no wish"),
        ("green+", "is no wish"),
        ("green+-5", "is no wish"),
        ("green+1e3", "is no wish"),
        ("any green", "a second time"),
        ("green+5 green-only", "a second time"),
        ("max-feeder max-building", "a second time"),
        ("max-street", "is no wish"),
        ("GREEN", "is no wish"),
    ],
)
def test_what_is_no_wish_is_refused(text, words):
    with pytest.raises(PlaceError, match=words):
        Wish.parse(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"premium": Price(1)},
        {"only": True},
        {"product": Product.GREEN, "premium": Price(-1)},
        {"product": Product.GREEN, "premium": Price(1), "only": True},
    ],
)
def test_a_contradicting_wish_is_refused(fields):
    with pytest.raises(PlaceError):
        Wish(**fields)


WISHES = st.builds(
    lambda green, first, level: Wish(*green, local_first=first, level=level),
    st.one_of(
        st.just((Product.ANY, Price(0), False)),
        st.just((Product.GREEN, Price(0), True)),
        st.integers(0, 10**9 - 1).map(lambda micro: (Product.GREEN, Price(micro), False)),
    ),
    st.booleans(),
    st.sampled_from(Level),
)


@settings(max_examples=20_000 if LONG else 500)
@given(wish=WISHES)
def test_a_wish_survives_its_words(wish):
    assert Wish.parse(str(wish)) == wish
