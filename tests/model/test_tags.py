"""Tags: the vocabulary of pop.md §4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.tags import ALIASES, TAGS, UnknownTagError, format_tags, parse_tags, tag_names


def test_the_vocabulary() -> None:
    assert TAGS == {
        "newname": 1,
        "highvolume": 2,
        "badip": 4,
        "cdntracker": 8,
        "likelymalware": 16,
        "likelybotnetcc": 32,
        "foo": 64,
        "bar": 128,
        "baz": 256,
        "gazonk": 512,
        "frotz": 1024,
    }
    assert ALIASES == {"globally_new": 1, "newly_registered": 4, "registry_investigation": 8, "looptest": 1024}


def test_parsing() -> None:
    assert parse_tags([]) == 0
    assert parse_tags(["LikelyMalware", "newname", "NEWNAME"]) == 17
    assert parse_tags(["globally_new", "looptest"]) == 1025


@pytest.mark.parametrize("tag", ["malware", "", " newname", "bit-11"])
def test_an_unknown_tag_is_named(tag: str) -> None:
    with pytest.raises(UnknownTagError, match="tags are newname, highvolume") as caught:
        parse_tags(["newname", tag])
    assert caught.value.tag == tag


def test_formatting() -> None:
    assert format_tags(0) == "-"
    assert format_tags(17) == "newname,likelymalware"
    assert tag_names(1 << 10 | 1 << 11 | 1 << 31) == ("frotz", "bit-11", "bit-31")


@pytest.mark.parametrize("mask", [-1, 1 << 32])
def test_a_mask_has_32_bits(mask: int) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        tag_names(mask)


@given(st.sets(st.sampled_from(sorted(TAGS))))
def test_round_trip(names: set[str]) -> None:
    assert set(tag_names(parse_tags(names))) == names
