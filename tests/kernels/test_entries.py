"""Looking for names says what looking at their text says; what is no block is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.columns import offsets_of, scratch
from tapir.kernels import entries
from tapir.model.blocks import NameBlock
from tapir.model.names import Name, is_below, parse_name

WORDS = st.sampled_from(["a", "b", "ab", "ba", "a-b"])
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(".".join)


def selected(names: list[Name], suffix: bytes, part: bytes, room: int, first: int = 0) -> tuple[list[int], int]:
    block = NameBlock.of(names)
    out = np.empty(room, np.uint32)
    count, reached = entries.select(block.data, offsets_of(block), first, suffix, part, scratch(), out.data)
    return out[:count].tolist(), reached


@given(st.lists(TEXTS, max_size=20), TEXTS | st.just(""), st.sampled_from(["", "a", "a.", ".b", "b.a", "-", "x"]))
def test_names_are_found_by_suffix_and_text(texts: list[str], suffix: str, part: str) -> None:
    names = [parse_name(text) for text in texts]
    below = parse_name(suffix) if suffix else b""
    wanted = [
        index
        for index, (name, text) in enumerate(zip(names, texts, strict=True))
        if (not below or name == below or is_below(name, Name(below))) and part in text + "."
    ]
    assert selected(names, below, part.encode(), len(names)) == (wanted, len(names))


def test_a_search_goes_on_where_it_ended() -> None:
    names = [parse_name(f"{word}.example") for word in "abcde"]
    assert selected(names, b"", b"", 2) == ([0, 1], 2)
    assert selected(names, b"", b"", 2, 2) == ([2, 3], 4)
    assert selected(names, b"", b"", 2, 4) == ([4], 5)


def test_octets_that_end_like_the_suffix_are_not_below_it() -> None:
    # The label holds the octets of "\3com\0" without its end being a name's.
    name = Name(b"\5x\3com\0")
    assert selected([name], b"\3com\0", b"", 1) == ([], 1)


def test_offsets_past_the_octets_are_refused() -> None:
    block = NameBlock.of([parse_name("a.example"), parse_name("b.example")])
    wrong = np.array([0, 11, 400], np.uint32)
    places, same = np.zeros(1, np.uint32), np.zeros(1, np.uint8)
    one = NameBlock.of([parse_name("b.example")])
    with pytest.raises(IndexError):
        entries.seek(block.data[:12], wrong.data, one.data, offsets_of(one), places.data, same.data)
    with pytest.raises(IndexError):
        entries.splice(
            block.data,
            wrong.data,
            one.data,
            offsets_of(one),
            places.data,
            same.data,
            same.data,
            np.empty(500, np.uint8).data,
            np.empty(9, np.uint32).data,
        )
    with pytest.raises(IndexError):
        entries.select(block.data, wrong.data, 0, b"", b"", scratch(), np.empty(2, np.uint32).data)
