"""Names are found as the existing EDM finds them: as themselves, or by the longest wildcard above, in any case."""

import random
from pathlib import Path

import attrs
import numpy as np
import pytest
from dnstap_frames import dns_message, frame, question, response
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dawg import Dawg, DawgError, encode_dawg, parse_dawg
from tapir.codec.dnstap import decode
from tapir.kernels.wellknown import NameIndex
from tapir.minimiser.wellknown import WellKnownNames, index_names
from tapir.model.blocks import FrameBlock
from tapir.model.names import MAX_NAME, Name, parse_name

SECRET = bytes(range(16))
UPSTREAM = Path(__file__).resolve().parents[3] / "shared/vectors/dawg"

# Few labels, so that names are above each other; a dot, a star, capitals' and digits' octets, and the longest label.
LABELS = st.sampled_from([b"a", b"b", b"www", b"a.b", b"*", b"\0", b"\xff", b"5", b"-", b"x" * 63])
NAMES = st.lists(LABELS, max_size=6).map(lambda labels: b"".join(bytes((len(one),)) + one for one in labels) + b"\0")
WHOLE = NAMES.filter(lambda name: len(name) <= MAX_NAME).map(Name)


def go_text(name: bytes) -> str:
    """A name as the DNS library of the existing EDM spells it (edm.md §3.4)."""
    out = ""
    at = 0
    while name[at]:
        for octet in name[at + 1 : at + 1 + name[at]]:
            out += (
                f"\\{octet:03d}"
                if not 0x20 <= octet <= 0x7E
                else ("\\" if chr(octet) in ". '@;()\"\\" else "") + chr(octet)
            )
        out += "."
        at += 1 + name[at]
    return out or "."


def dawg_of(*words: str) -> Dawg:
    return parse_dawg(encode_dawg(sorted(set(words))))


def index_of(*words: str) -> WellKnownNames:
    return index_names(dawg_of(*words), SECRET)


def block_of(*names: bytes):
    return decode(FrameBlock.of([frame(response_message=response(name)) for name in names]), SECRET)


def rows_of(index: WellKnownNames, *names: bytes) -> list[int]:
    block = block_of(*names)
    assert not block.outcome.any()
    return [int(row) for row in index.rows_of(block, block.outcome)]


def oracle(dawg: Dawg, name: bytes) -> int:
    """edm.md §6.3, on the text."""
    found = dawg.index(go_text(name.lower()))
    while found is None and name[0]:
        name = name[1 + name[0] :]
        found = dawg.index("." + go_text(name.lower())) if name[0] else None
        if not name[0]:
            break
    return -1 if found is None else found


@pytest.mark.parametrize(
    ("name", "row", "kind"),
    [
        ("example.com.", 1, 1),
        ("eXample.com.", 1, 1),
        ("www.example.com.", -1, 0),
        ("www.example.net.", 0, 2),
        ("wWw.eXample.net.", 0, 2),
        ("example.www.example.net.", 0, 2),
        ("eXample.wWw.eXample.net.", 0, 2),
        ("example.net.", -1, 0),
        (".", -1, 0),
        ("net.", -1, 0),
    ],
)
def test_names_of_the_existing_edm(name: str, row: int, kind: int) -> None:
    index = index_of(".example.net.", "example.com.")
    wire = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label) + b"\0"
    assert rows_of(index, wire) == [row]
    assert row < 0 or index.kinds[row] == kind


def test_exact_and_wildcard_are_rows_of_their_own_and_the_longest_wins() -> None:
    index = index_of(".net.", ".b.net.", "b.net.", ".", "net.")
    words = sorted([".net.", ".b.net.", "b.net.", ".", "net."])
    names = {
        "b.net.": "b.net.",
        "a.b.net.": ".b.net.",
        "c.net.": ".net.",
        "x.c.net.": ".net.",
        ".": ".",
        "net.": "net.",
    }
    rows = rows_of(index, *(parse_name(name) for name in names))
    assert [words[row] for row in rows] == list(names.values())


def test_a_dot_within_a_label_is_no_boundary() -> None:
    index = index_of(".example.net.")
    assert rows_of(index, b"\x0bwww.example\x03net\0", b"\x01a\x07example\x03net\0") == [-1, 0]


def test_the_star_itself_is_asked_for_like_any_name() -> None:
    index = index_of(".example.net.", "example.net.")
    assert rows_of(index, b"\x01*\x07example\x03net\0", b"\x01*\0") == [0, -1]


@given(st.lists(WHOLE, max_size=12), st.lists(WHOLE, max_size=12), st.lists(WHOLE, min_size=1, max_size=20))
def test_agrees_with_the_dawg(exact: list[Name], wild: list[Name], asked: list[Name]) -> None:
    # A word for a star, which lists do not mean, is no name of ours.
    words = [go_text(name) for name in exact if name[:2] != b"\x01*"] + [
        "." + go_text(name) for name in wild if name[0]
    ]
    dawg = dawg_of(*words)
    index = index_names(dawg, SECRET)
    below = [bytes((1,)) + b"q" + name for name in wild if len(name) <= MAX_NAME - 2]
    names = [*asked, *exact, *wild, *below]
    expected = [oracle(dawg, name) for name in names]
    assert rows_of(index, *names) == expected
    assert rows_of(index, *[upper(name) for name in names]) == expected
    assert [index.find(name) for name in names] == [None if row < 0 else row for row in expected]


def upper(name: bytes) -> bytes:
    out, at = bytearray(name), 0
    while name[at]:
        out[at + 1 : at + 1 + name[at]] = name[at + 1 : at + 1 + name[at]].upper()
        at += 1 + name[at]
    return bytes(out)


def test_words_that_are_no_names_keep_their_rows() -> None:
    words = ["", "Example.com.", "a", "b.", "c..", "d.", "\u00e9."]
    index = index_of(*words)
    assert index.refused == 5
    assert rows_of(index, b"\x01b\0", b"\x01d\0", b"\x01a\0") == [
        sorted(words).index("b."),
        sorted(words).index("d."),
        -1,
    ]


def test_a_list_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    dawg = dawg_of("a.", "b.", "c.")
    monkeypatch.setattr("tapir.minimiser.wellknown._OCTETS", 5)
    with pytest.raises(DawgError, match="octets"):
        index_names(dawg, SECRET)
    monkeypatch.setattr("tapir.minimiser.wellknown._MOST", 2)
    with pytest.raises(DawgError, match="3 words"):
        index_names(dawg, SECRET)
    assert repr(index_of("a.", "b.")) == "<WellKnownNames: 2 rows>"


def test_an_empty_list_finds_nothing() -> None:
    index = index_of()
    assert (len(index), rows_of(index, b"\0", b"\x01a\0")) == (0, [-1, -1])


def test_a_frame_with_an_outcome_is_not_looked_up() -> None:
    index = index_of("a.")
    block = block_of(b"\x01a\0", b"\x01a\0")
    assert index.rows_of(block, np.array([1, 0], np.uint8)).tolist() == [-1, 0]


def test_the_deepest_name_of_one_octet_labels() -> None:
    index = index_of("." + "a." * 126, ".a.")
    words = sorted(["." + "a." * 126, ".a."])
    deepest = b"\x01a" * 127 + b"\0"
    assert [words[row] for row in rows_of(index, deepest, deepest[2:])] == ["." + "a." * 126, ".a."]


@pytest.mark.parametrize("seed", range(3))
def test_octets_that_are_no_names_stay_inside(seed: int) -> None:
    """The kernel by itself, on what no decoder would give it."""
    rng = random.Random(seed)
    index = index_of(".example.net.", "example.com.", ".a.")
    names = np.frombuffer(rng.randbytes(600), np.uint8)
    starts = np.array([rng.randrange(700) for _ in range(500)], np.uint32)
    lengths = np.array([rng.randrange(300) for _ in range(500)], np.uint32)
    outcomes = np.zeros(500, np.uint8)
    index.lookup(names, starts, lengths, np.zeros(500, np.uint64), outcomes)
    for end in range(1, 14):
        name = np.frombuffer(b"\x07example\x03net\0"[:end], np.uint8)
        rows = index.lookup(name, starts[:1] * 0, np.array([end], np.uint32), np.zeros(1, np.uint64), outcomes[:1])
        assert rows.tolist() == [-1]


def test_names_that_share_a_hash_are_told_apart() -> None:
    index = index_of("aa.", "ab.", ".aa.")
    words = np.frombuffer(b"\x02aa\0\x02ab\0\x02ac\0", np.uint8)
    hashes = np.full(3, 0x0123456789ABCDEF, np.uint64)
    slots = np.zeros(8, np.uint64)
    same = NameIndex(
        words[:8].data,
        np.array([0, 4, 8], np.uint32).data,
        np.array([1, 1], np.uint8).data,
        hashes[:2].data,
        slots.data,
        np.zeros(128, np.uint8).data,
        1,
    )
    rows = np.empty(3, np.int32)
    starts, lengths = np.array([0, 4, 8], np.uint32), np.full(3, 4, np.uint32)
    assert same.lookup(words.data, starts.data, lengths.data, hashes.data, np.zeros(3, np.uint8).data, rows.data) == 2
    assert rows.tolist() == [0, 1, -1]
    assert len(index) == 3


@pytest.mark.parametrize(("slots", "depths", "hashes"), [(2, 128, 2), (6, 128, 2), (8, 127, 2), (8, 128, 1)])
def test_a_table_without_room_is_refused(slots: int, depths: int, hashes: int) -> None:
    with pytest.raises(ValueError, match=r"table|labels"):
        NameIndex(
            np.zeros(2, np.uint8).data,
            np.array([0, 1, 2], np.uint32).data,
            np.array([1, 1], np.uint8).data,
            np.zeros(hashes, np.uint64).data,
            np.zeros(slots, np.uint64).data,
            np.zeros(depths, np.uint8).data,
            1,
        )


# Question names that are ignored


VALID1 = ("0000002b07090218190052e3be55e0e57c385daf0763955cee72bd15d0017c385daf0763955ce3779dada0",)
VALID2 = ("0000002b07090218190052e3be55e0e57c385daf0763955ce5723d55d0017c385daf0763955cef791ceda0",)


@pytest.mark.parametrize(
    ("octets", "ignored", "taken"),
    [
        (
            VALID1[0],
            ["example.com.", "www.example.net.", "example.www.example.net."],
            ["www.example.com.", "example.net."],
        ),
        (
            VALID2[0],
            ["example.org.", "www.example.edu.", "example.www.example.edu."],
            ["www.example.org.", "example.edu.", "example.com.", "www.example.net."],
        ),
        ("0000000b00070001000000", [], ["example.com.", "."]),
    ],
)
def test_published_lists_of_names_to_ignore(octets: str, ignored: list[str], taken: list[str]) -> None:
    index = index_names(parse_dawg(bytes.fromhex(octets)), SECRET)
    block = block_of(*[parse_name(name) for name in [*ignored, *taken]], *[upper(parse_name(name)) for name in ignored])
    expected = [True] * len(ignored) + [False] * len(taken) + [True] * len(ignored)
    assert index.ask_all(block, block.outcome).tolist() == expected


def test_a_name_in_any_question_counts() -> None:
    index = index_of("example.com.", ".example.net.")
    other, one, two = parse_name("a.example"), parse_name("eXample.com"), parse_name("a.b.Example.net")
    messages = [
        dns_message([question(name) for name in names])
        for names in [(other, one), (other, two), (one, other), (other, other)]
    ]
    pointed = dns_message([question(b"\x01x\xc0\x14"), question(b"\x07EXAMPLE\x03com\0")])
    block = decode(FrameBlock.of([frame(response_message=message) for message in [*messages, pointed]]), SECRET)
    assert not block.outcome.any()
    assert index.ask_all(block, block.outcome).tolist() == [True, True, True, False, True]
    assert index.ask_all(block, np.ones(5, np.uint8)).tolist() == [False] * 5


def test_a_name_in_the_last_of_thousands_of_questions_counts() -> None:
    index = index_of("example.com.")
    # More than are looked up at once, by number and by octets.
    many, long = [question(b"\xc0\x0c")] * 9000, [question(b"\3abc\xc0\x0c")] * 9000
    last = question(b"\7Example\3com\0")
    messages = [
        dns_message([question(b"\x3f" + b"x" * 63 + b"\0"), *more]) for more in (many, [*many, last], [*long, last])
    ]
    block = decode(FrameBlock.of([frame(response_message=message) for message in messages]), SECRET)
    assert index.ask_all(block, block.outcome).tolist() == [False, True, True]


def test_a_message_that_is_none_is_refused() -> None:
    index = index_of("example.com.")
    block = decode(FrameBlock.of([frame(response_message=dns_message([question(b"\1a\0")] * 2))]), SECRET)
    broken = attrs.evolve(block, wire_length=block.wire_length - np.uint32(4))
    assert index.ask_all(broken, block.outcome).tolist() == [False]
    broken = attrs.evolve(block, wire_length=block.wire_length - np.uint32(5))
    with pytest.raises(ValueError, match="is none"):
        index.ask_all(broken, block.outcome)


@pytest.mark.upstream
@pytest.mark.skipif(not UPSTREAM.exists(), reason="the published vectors are not here")
def test_the_published_list() -> None:
    index = index_names(parse_dawg((UPSTREAM / "well-known-domains.dawg").read_bytes()), SECRET)
    names = {"example.com": 30339, "example.net": 30340, "google.com": 36973, "netnod.se": 60282}
    assert rows_of(index, *map(parse_name, names), parse_name("www.netnod.se")) == [*names.values(), -1]
    assert (len(index), index.refused) == (99_999, 0)
    assert set(index.kinds.tolist()) == {1}
    # Every name finds its own row.
    ends = index.offsets.tolist()
    data = index.data.tobytes()
    for row in range(0, 99_999, 997):
        assert index.find(data[ends[row] : ends[row + 1]]) == row
