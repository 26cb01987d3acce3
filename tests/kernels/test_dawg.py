"""The DAWG kernel against the check in plain Python, and against a set of words and `format_name`."""

from bisect import bisect_left
from pathlib import Path

import dawg_oracle as oracle
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapir.codec.dawg import Dawg, DawgError, encode_dawg, join_names, parse_dawg
from tapir.codec.dawg.checking import check_nodes
from tapir.codec.dawg.layout import Bits, read_header
from tapir.model.blocks import NameBlock
from tapir.model.names import ROOT, Name, format_name, is_below, is_wildcard, parent_of

SMALL = Path(__file__).resolve().parents[1] / "vectors/dawg"
SETS = [
    [],
    [""],
    ["a", "ab", "b"],
    ["", "blip", "cat", "catnip", "cats"],
    [".example.com.", "example.com.", "www.example.com."],
    ["bad.example.", "evil.example.", "evil.test."],
    ["ö.se.", "😀.se."],
    [chr(number) for number in range(200, 400)],
]  # fmt: skip


def verdict(check: object, data: bytes) -> str:
    bits = Bits(data)
    try:
        check(bits, read_header(bits))  # type: ignore[operator]
    except DawgError as exc:
        return str(exc)
    return "a DAWG"


def same(data: bytes) -> None:
    assert verdict(check_nodes, data) == verdict(oracle.check_nodes, data)


@pytest.mark.parametrize("words", SETS)
def test_every_cut_and_flip_is_judged_as_in_python(words: list[str]) -> None:
    data = encode_dawg(words)
    for place in range(len(data)):
        cut = data[:place]
        same(cut)
        same(place.to_bytes(4, "big") + cut[4:])
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            same(bytes(changed))


@given(st.binary(max_size=60), st.sampled_from(SETS), st.integers(0, 60), st.integers(0, 40))
def test_garbage_is_judged_as_in_python(garbage: bytes, words: list[str], start: int, length: int) -> None:
    data = encode_dawg(words)
    spliced = data[:start] + garbage + data[start + length :]
    same(garbage)
    same(len(spliced).to_bytes(4, "big") + spliced[4:])


# Names and what may be taken for one

octets = st.sampled_from(b"abz09-_.\\*@ /!\x00\xff")
labels = st.lists(octets, min_size=1, max_size=4).map(bytes)
# A star below a star is no name that a list may hold.
wires = (
    st.lists(labels, min_size=1, max_size=4)
    .map(lambda parts: Name(b"".join(bytes((len(part),)) + part for part in parts) + ROOT))
    .filter(lambda name: not (is_wildcard(name) and is_wildcard(parent_of(name))))
)


def ours(name: Name) -> str:
    return f".{format_name(parent_of(name))}" if is_wildcard(name) else format_name(name)


def theirs(name: Name) -> str:
    """As the DNS library for Go writes it."""
    text = ""
    base = parent_of(name) if is_wildcard(name) else name
    while base[0]:
        for octet in base[1 : 1 + base[0]]:
            sign = chr(octet)
            if sign in ". '@;()\"\\":
                text += "\\" + sign
            else:
                text += sign if " " <= sign <= "~" else f"\\{octet:03}"
        text += "."
        base = parent_of(base)
    return ("." if is_wildcard(name) else "") + text


def is_name(name: Name) -> bool:
    return (parent_of(name) if is_wildcard(name) else name) != ROOT


scraps = st.text(st.sampled_from("ab.*\\059@ A!é"), max_size=8)
words_of = st.lists(wires.map(ours) | wires.map(theirs) | scraps, max_size=20).map(lambda words: sorted(set(words)))


def naive(words: list[str], names: list[Name]) -> list[bool]:
    return [is_name(name) and (ours(name) in words or theirs(name) in words) for name in names]


def dawg_of(words: list[str]) -> Dawg:
    return parse_dawg(encode_dawg(words))


@given(words_of, st.lists(wires, max_size=20), st.data())
@example(["a.", "a\\b."], [Name(b"\x01a\0"), Name(b"\x03a\\b\0")], None)
def test_names_are_found_in_either_spelling(words: list[str], names: list[Name], data: st.DataObject | None) -> None:
    dawg = dawg_of(words)
    asked = [*names, *(name for block, _ in dawg.names() for name in block), ROOT, Name(b"\x01*\0")]
    assert dawg.holds(NameBlock.of(asked)).tolist() == naive(words, asked)


@given(words_of)
def test_going_through_the_words_finds_each_name_in_order(words: list[str]) -> None:
    walk = dawg_of(words).names()
    found: list[tuple[int, Name]] = []
    for block, places in walk:
        found += zip(places, block, strict=True)
    for place, name in found:
        assert words[place - 1] in (ours(name), theirs(name)) or words[place - 1] == "."
    assert [place for place, _ in found] == sorted({place for place, _ in found})
    refused = [place for place in range(1, len(words) + 1) if place not in dict(found)]
    assert [refusal.count for refusal in walk.refusals] == ([len(refused)] if refused else [])
    for refusal in walk.refusals:
        assert list(refusal.lines) == refused[:10]
    assert (walk.words, walk.characters) == (len(words), sum(map(len, words)))


@given(st.lists(wires, max_size=20))
def test_every_name_that_is_spelt_as_it_should_be_comes_back(names: list[Name]) -> None:
    wanted = sorted({name for name in names if is_name(name)})
    for spell in (ours, theirs):
        walk = dawg_of(sorted({spell(name) for name in wanted})).names()
        assert sorted(name for block, _ in walk for name in block) == wanted


@given(st.lists(wires, max_size=20), st.lists(wires, min_size=1, max_size=5, unique=True))
def test_only_names_below_some_are_given(names: list[Name], tops: list[Name]) -> None:
    wanted = sorted({name for name in names if is_name(name)})
    walk = dawg_of(sorted({ours(name) for name in wanted})).names(below=NameBlock.of(tops))
    found = join_names([block for block, _ in walk])
    assert sorted(found) == [
        name for name in wanted if any(is_below(parent_of(name) if is_wildcard(name) else name, top) for top in tops)
    ]


def test_a_block_that_lies_is_not_read_beyond_its_end() -> None:
    dawg = dawg_of(["a.b."])
    for octets in (b"\x01a", b"\x05a", b"\x01a\x01", b"\x01*", b"\x01*\x05", b"\xffa\0", b"", b"\x01a\x01b"):
        block = NameBlock(data=octets, offsets=NameBlock.of([Name(octets)]).offsets)
        assert not dawg.holds(block).any()
        longer = NameBlock(data=octets, offsets=NameBlock.of([Name(octets + b"123")]).offsets)
        assert not dawg.holds(longer).any()


def test_octets_that_change_after_the_check_lead_nowhere() -> None:
    """A mapped file may be changed by who may: answers are wrong then, and nothing else happens."""
    words = sorted(f"{sign}.{other}.example." for sign in "abcdefgh" for other in "klmnop")
    data = bytearray(encode_dawg(words))
    dawg = parse_dawg(memoryview(data))
    asked = NameBlock.of(name for block, _ in dawg.names() for name in block)
    for place in range(11, len(data)):
        for mask in (0x01, 0x80, 0xFF):
            data[place] ^= mask
            dawg.holds(asked)
            for number, _ in enumerate(dawg.names()):
                if number > 2:
                    break
            data[place] ^= mask
    assert dawg.holds(asked).all()


def test_a_long_word_is_no_name_and_a_name_of_255_octets_is() -> None:
    longest = ".".join(("a" * 63, "b" * 63, "c" * 63, "d" * 61)) + "."
    words = sorted([longest, "x" + longest, "y" * 64 + ".", "z" * 5000 + ".", "\\000" * 63 + "."])
    walk = dawg_of(words).names()
    assert [words[place - 1] for _, places in walk for place in places] == ["\\000" * 63 + ".", longest]
    assert bisect_left(words, longest) == 1
    assert walk.refusals[0].count == 3
