"""Octets that are no DAWG: cut, flipped, made up and malicious ones are refused before anything of them is used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dawg import Dawg, DawgError, encode_dawg, parse_dawg
from tapir.codec.dawg.layout import MAX_LENGTH, count_octets

SETS = [
    [],
    [""],
    ["a", "ab", "b"],
    ["", "blip", "cat", "catnip", "cats"],
    [".example.com.", "example.com.", "www.example.com."],
    ["bad.example.", "evil.example.", "evil.test."],
    ["ö.se.", "😀.se."],
]


def bits_of(*fields: tuple[int, int]) -> bytes:
    """Fields of (value, width), packed."""
    text = "".join(f"{value:0{width}b}" for value, width in fields if width)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def crafted(cbits: int, abits: int, words: int, nodes: int, edges: int, *fields: tuple[int, int]) -> bytes:
    """A file with these numbers in its header, whose size is right."""
    counts = b"".join(map(count_octets, (words, nodes, edges)))
    rest = bytes((cbits, abits)) + counts + bits_of(*fields)
    return (len(rest) + 4).to_bytes(4, "big") + rest


def consistent(dawg: Dawg) -> bool:
    """Whether everything that can be asked of it fits together."""
    words = list(dawg)
    return (
        words == sorted(set(words))
        and len(words) == len(dawg)
        and [dawg.index(word) for word in words] == list(range(len(words)))
        and [dawg.word(index) for index in range(len(words))] == words
    )


@pytest.mark.parametrize("words", SETS)
def test_a_file_that_was_cut_is_refused(words: list[str]) -> None:
    data = encode_dawg(words)
    for length in range(len(data)):
        with pytest.raises(DawgError):
            parse_dawg(data[:length])
        # A size that fits does not help.
        with pytest.raises(DawgError):
            parse_dawg((length.to_bytes(4, "big") + data[4:])[:length])
    for more in (b"\0", b"\xff", data):
        longer = (len(data + more)).to_bytes(4, "big") + data[4:] + more
        for octets in (data + more, longer):
            with pytest.raises(DawgError):
                parse_dawg(octets)


@pytest.mark.parametrize("words", SETS)
def test_a_file_of_which_a_part_was_changed_is_refused_or_a_dawg(words: list[str]) -> None:
    data = encode_dawg(words)
    for place in range(len(data)):
        for mask in (*(1 << bit for bit in range(8)), 0xFF):
            changed = bytearray(data)
            changed[place] ^= mask
            try:
                dawg = parse_dawg(bytes(changed))
            except DawgError:
                continue
            assert consistent(dawg)
            assert list(dawg) != words
            rebuilt = encode_dawg(list(dawg))
            assert rebuilt == bytes(changed) or len(rebuilt) <= len(changed), "or nodes that could be merged"


@given(st.binary(max_size=40), st.sampled_from(SETS), st.integers(0, 60), st.integers(0, 40))
def test_garbage_is_refused_or_a_dawg(garbage: bytes, words: list[str], start: int, length: int) -> None:
    data = encode_dawg(words)
    spliced = data[:start] + garbage + data[start + length :]
    for octets in (garbage, spliced, len(spliced).to_bytes(4, "big") + spliced[4:]):
        try:
            dawg = parse_dawg(octets)
        except DawgError:
            continue
        assert consistent(dawg)


A = (0x61, 7)
B = (0x62, 7)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 octets are no DAWG: it takes 11 at least"),
        (bytes(11), "it says that it has 0 octets, and has 11"),
        (crafted(22, 7, 0, 1, 0, (0, 16)), "22 bits of a character are more than there can be (21)"),
        (crafted(7, 36, 0, 1, 0, (0, 16)), "36 bits of an address are more than there can be (35)"),
        (crafted(0, 7, 1 << 28, 1, 0, (0, 16)), "268435456 words are more than there can be (268435454)"),
        (crafted(0, 7, 0, 0, 0, (0, 16)), "it has no root, or no room for an address"),
        (crafted(0, 0, 0, 1, 0, (0, 16)), "it has no root, or no room for an address"),
        (b"\0\0\0\x0c\0\x07\x80\0\x01\0\0\0", "a number is longer than it need be (at bit 48)"),
        (b"\0\0\0\x0e\0\x07\xff\xff\xff\xff\xff\xff\xff\0", "a number is longer than it need be (at bit 48)"),
        # The root leads to itself: `a` and again `a`.
        (crafted(7, 7, 1, 1, 1, (0b001, 3), A, (72, 7)), "words have no end: a node is behind itself (at bit 72)"),
        # An edge into the middle of a node, and one behind the end.
        (crafted(7, 7, 1, 2, 1, (0b001, 3), A, (73, 7), (0b100, 3), (0, 8), (1, 1)),
         "an edge leads to where no node begins (at bit 73)"),
        (crafted(7, 7, 1, 1, 1, (0b01, 2), A, (0, 7)), "an edge leads to where no node begins (at bit 81)"),
        # Edges: out of order, equal, one that is counted, no character, one with an address that it does not need.
        (crafted(7, 7, 2, 2, 2, (0, 3), (2, 8), (2, 2), B, (72, 7), A, (1, 2), (72, 7)),
         "a node's edges are not in order (at bit 72)"),
        (crafted(7, 7, 2, 2, 2, (0, 3), (2, 8), (2, 2), A, (72, 7), A, (1, 2), (72, 7)),
         "a node's edges are not in order (at bit 72)"),
        (crafted(7, 7, 1, 2, 1, (0, 3), (1, 8), (1, 1), A, (98, 7), (0b100, 3), (0, 8), (1, 1)),
         "a node counts its only edge (at bit 72)"),
        (crafted(16, 7, 1, 1, 1, (0b01, 2), (0xD800, 16)), "0xd800 is no character (at bit 72)"),
        (crafted(21, 7, 1, 1, 1, (0b01, 2), (0x110000, 21)), "0x110000 is no character (at bit 72)"),
        (crafted(7, 7, 1, 2, 1, (0b001, 3), A, (89, 7), (0b100, 3), (0, 8), (1, 1)),
         "an edge that needs no address has one (at bit 72)"),
        # More edges than the file has room for, and a record that ends behind the file.
        (crafted(7, 7, 2, 1, 2, (0, 3), (100, 8), (2, 2), A), "it ends in the middle of a node (at bit 72)"),
        (crafted(7, 7, 1, 9, 1, *[(0b01, 2), A] * 3), "it ends in the middle of a node (at bit 102)"),
        # Bits behind the last node.
        (crafted(0, 7, 0, 1, 0, (0, 11), (1, 1)), "there is more behind the last node (at bit 83)"),
        (crafted(0, 7, 0, 1, 0, (0, 24)), "there is more behind the last node (at bit 83)"),
        # Widths that no writer would choose.
        (crafted(1, 7, 0, 1, 0, (0, 11)), "1 bits of a character are not what the highest takes: 0"),
        (crafted(0, 8, 0, 1, 0, (0, 11)), "8 bits of an address are not what the last takes"),
        # Counts: of words, of prefixes, of nodes; and what leads nowhere.
        (crafted(7, 7, 1, 2, 2, (0b01, 2), A, (0b100, 3), (0, 8), (1, 1)),
         "it says that it has 1 words with 2 prefixes, and has 1 words with 1 prefixes"),
        (crafted(7, 7, 1, 2, 0, (0b01, 2), A, (0b100, 3), (0, 8), (1, 1)),
         "there are more words or prefixes than the header says (at bit 72)"),
        (crafted(7, 7, 1, 3, 1, (0b01, 2), A, (0b100, 3), (0, 8), (1, 1), (0b100, 3), (0, 8), (1, 1)),
         "no word leads to a node (at bit 93)"),
        (crafted(7, 7, 1, 2, 1, (0b01, 2), A, (0b000, 3), (0, 8), (0, 1)), "a node leads to no word (at bit 81)"),
        (crafted(7, 7, 1, 2, 1, (0b01, 2), A, (0b100, 3), (0, 8), (0, 1)),
         "a node's skips are not as wide as its words need (at bit 81)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(DawgError) as caught:
        parse_dawg(data)
    assert str(caught.value) == reason


def test_counts_that_double_with_every_node_end_early() -> None:
    """Thirty thousand nodes of two edges each to the next one: as many words as there are no numbers for."""
    nodes = 30_000
    cbits, abits, words = 1, 21, 1
    width = 3 + 8 + 1 + 2 * (cbits + 1 + abits) - 1
    counts = len(count_octets(words) + count_octets(nodes + 1) + count_octets(2 * nodes))
    root = 48 + 8 * counts
    fields: list[tuple[int, int]] = []
    for number in range(nodes):
        target = root + (number + 1) * width
        fields += [(0, 3), (2, 8), (1, 1), (0, cbits), (target, abits), (1, cbits), (1, 1), (target, abits)]
    fields += [(0b100, 3), (0, 8), (1, 1)]
    with pytest.raises(DawgError, match="more words or prefixes than the header says"):
        parse_dawg(crafted(cbits, abits, words, nodes + 1, 2 * nodes, *fields))


@pytest.mark.parametrize("length", [MAX_LENGTH, MAX_LENGTH + 1])
def test_the_longest_word_that_is_read(length: int) -> None:
    """One octet a character: a file of a hundred megabytes must not make a path of gigabytes."""
    chain = b"".join(b"\x7f" for _ in range(length))  # fallthrough, and a character of six bits
    bits = "".join(f"01{octet & 0x3F:06b}" for octet in chain) + "100" + "00000000" + "1"
    bits += "0" * (-len(bits) % 8)
    counts = b"".join(map(count_octets, (1, length + 1, length)))
    end = 48 + 8 * len(counts) + 8 * length + 12
    rest = bytes((6, end.bit_length())) + counts + int(bits, 2).to_bytes(len(bits) // 8, "big")
    data = (len(rest) + 4).to_bytes(4, "big") + rest
    if length > MAX_LENGTH:
        with pytest.raises(DawgError, match=f"a word is longer than {MAX_LENGTH} characters"):
            parse_dawg(data)
        with pytest.raises(DawgError, match=f"a word is longer than {MAX_LENGTH} characters"):
            encode_dawg(["?" * length])
    else:
        assert encode_dawg(["?" * length]) == data
        assert parse_dawg(data).word(0) == "?" * length


def test_nodes_in_another_order_are_refused() -> None:
    """`ab` and `ba`, the node behind `b` before the one behind `a`."""
    behind_b, behind_a, leaf = 117, 135, 144
    data = crafted(
        7, 8, 2, 4, 4, (0, 3), (2, 8), (2, 2), A, (behind_a, 8), B, (1, 2), (behind_b, 8),
        (0b001, 3), A, (leaf, 8), (0b01, 2), B, (0b100, 3), (0, 8), (1, 2),
    )  # fmt: skip
    with pytest.raises(DawgError, match=r"^the nodes are not in order \(at bit 135\)$"):
        parse_dawg(data)
