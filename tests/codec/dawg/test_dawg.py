"""DAWG files against published vectors, and against a sorted list of words."""

import hashlib
from bisect import bisect_left
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dawg import DawgError, encode_dawg, parse_dawg

REPOSITORY = Path(__file__).resolve().parents[3]
SMALL = REPOSITORY / "tests/vectors/dawg"
LARGE = REPOSITORY.parent / "shared/vectors/dawg/well-known-domains.dawg"

# Made by the Go library; the tenth is from the description of the existing POP.
VECTORS: list[tuple[list[str], str]] = [
    ([], "0000000b00070001000000"),
    ([""], "0000000b00070101008010"),
    (["a"], "0000000c070701020170c008"),
    (["", "a"], "0000000c0707020201f0c004"),
    (["a", "ab", "b"], "0000001207080303030056175c53f78a0020"),
    (["hello", "jello"], "00000015070802060a0056875d4bab95d8ec77c004"),
    (["blip", "cat", "catnip", "cats"], "0000001c070804080b005e276c6679d8e9784005c2f48056e7fe7488"),
    (["", "blip", "cat", "catnip", "cats"], "0000001c070805080b805e276c6a79d8e9784005c2f48056e7fe7488"),
    (
        [".example.com.", "example.com.", "www.example.com."],
        "0000002507090311290072e44e5525de81395f0e176bc1d8e55738ddeed574005eef72b912",
    ),
    (
        ["bad.example.", "evil.example.", "evil.test."],
        "0000002c070903151e005623be55cee1722b9caf870bb5e0ec72aba002f674bb15c00aca9be8ce9caf33d1a2",
    ),
    (["ä", "å", "ö"], "0000001308080302030077244f2b13ed44c004"),
    (["ö.se.", "😀.se."], "0000001d110802060a005003da27ec00c4a002e400e680195001740040"),
]  # fmt: skip

# Words, octets, nodes, prefixes, cbits, abits, SHA-256.
LONGER = [
    (
        ["a" * 126],
        (154, 127, 126, 7, 11),
        "eb6c6f17e64cfeb58aac3eaefbf2feefc73dc966d24de6b6e4d8c88f00a19239",
    ),
    (
        [f"{number:03}" for number in range(127)],
        (103, 6, 142, 6, 10),
        "8fd6f090f4d203ba5242e9a49ae17ff17f1fb0c9f656cfd278187f2c301c67bc",
    ),
]

FILES = [
    ("ignored-question-names.empty.dawg", [], (11, 1, 0, 0, 7)),
    ("ignored-question-names.valid1.dawg", [".example.net.", "example.com."], (43, 24, 25, 7, 9)),
    ("ignored-question-names.valid2.dawg", [".example.edu.", "example.org."], (43, 24, 25, 7, 9)),
    ("ignored.dawg", ["slaskzonen.se."], (27, 15, 14, 7, 8)),
]


def shape(data: bytes) -> tuple[int, int, int, int, int]:
    header = parse_dawg(data).header
    return header.size, header.nodes, header.edges, header.cbits, header.abits


@pytest.mark.parametrize(("words", "octets"), VECTORS, ids=[" ".join(words) or "none" for words, _ in VECTORS])
def test_a_vector(words: list[str], octets: str) -> None:
    assert encode_dawg(words).hex() == octets
    dawg = parse_dawg(memoryview(bytes.fromhex(octets)))
    assert list(dawg) == words
    assert len(dawg) == len(words)
    assert [dawg.index(word) for word in words] == list(range(len(words)))
    assert [dawg.word(index) for index in range(len(words))] == words


@pytest.mark.parametrize(("words", "numbers", "digest"), LONGER)
def test_a_longer_vector(words: list[str], numbers: tuple[int, ...], digest: str) -> None:
    data = encode_dawg(words)
    assert shape(data) == numbers
    assert hashlib.sha256(data).hexdigest() == digest
    assert list(parse_dawg(data)) == words


@pytest.mark.parametrize(("name", "words", "numbers"), FILES)
def test_a_published_file(name: str, words: list[str], numbers: tuple[int, ...]) -> None:
    data = (SMALL / name).read_bytes()
    assert shape(data) == numbers
    assert list(parse_dawg(data)) == words
    assert encode_dawg(words) == data


@pytest.mark.upstream
def test_the_published_list_of_well_known_domains() -> None:
    if not LARGE.exists():
        pytest.skip(f"there is no {LARGE}")
    data = LARGE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == "c726ab438ed35a6fc4082b7ecaab1cf7ebbd6a52ab1a18d1b3feb907b957403d"
    dawg = parse_dawg(data)
    assert shape(data) == (922_847, 198_777, 1_084_124, 7, 23)
    words = list(dawg)
    digest = hashlib.sha256("".join(f"{word}\n" for word in words).encode()).hexdigest()
    assert digest == "c6a6daff17f9adabec741089ac525ac184c30cabe4eb37ab44b9538c9508b8ed"
    assert encode_dawg(words) == data
    indices = {
        "google.com.": 36973, "youtube.com.": 99319, "github.com.": 36057, "wikipedia.org.": 96544,
        "en.wikipedia.org.": 28499, "iis.se.": 42539, "example.com.": 30339, "0.gravatar.com.": 0,
        "zzz.bwh.harvard.edu.": 99998, "www.google.com.": None, "com.": None, ".com.": None, ".": None, "": None,
        "GOOGLE.com.": None,
    }  # fmt: skip
    assert {word: dawg.index(word) for word in indices} == indices
    assert [dawg.word(index) for index in (1000, 12345, 50000)] == [
        "abortionfunds.org.", "britonthemove.com.", "lcs.on.ca.",
    ]  # fmt: skip


def test_what_a_dawg_says_of_itself() -> None:
    dawg = parse_dawg(encode_dawg(["a", "ab", "b"]))
    assert repr(dawg) == "<Dawg of 3 words, 18 octets>"
    assert "ab" in dawg
    assert "ba" not in dawg
    assert b"ab" not in dawg
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"has 3 words, and none at {index}"):
            dawg.word(index)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["b", "a"], "'a' stands behind 'b': words must be in order, and each once"),
        (["a", "a"], "'a' stands behind 'a': words must be in order, and each once"),
        (["", ""], "'' stands behind '': words must be in order, and each once"),
        (["a", "\ud800"], r"'\ud800' is no Unicode text"),
    ],
)
def test_words_that_make_no_dawg(words: list[str], reason: str) -> None:
    with pytest.raises(DawgError) as caught:
        encode_dawg(words)
    assert str(caught.value) == reason


def test_more_than_the_format_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapir.codec.dawg.writing.MAX_COUNT", 3)
    with pytest.raises(DawgError, match=r"^4 words are more than the format can count \(3\)$"):
        encode_dawg("abcd")
    monkeypatch.setattr("tapir.codec.dawg.writing.MAX_SIZE", 16)
    with pytest.raises(DawgError, match=r"^18 octets are more than the format can hold \(16\)$"):
        encode_dawg(["a", "ab", "b"])


@pytest.mark.parametrize("count", [126, 127, 128, 16_382, 16_383, 16_384])
def test_counts_where_a_7code_gets_longer(count: int) -> None:
    words = [chr(0x10000 + number) for number in range(count)]
    data = encode_dawg(words)
    dawg = parse_dawg(data)
    assert (dawg.header.words, dawg.header.nodes, dawg.header.edges) == (count, 2, count)
    assert (dawg.index(words[-1]), dawg.word(count - 1)) == (count - 1, words[-1])
    assert dawg.header.root == 48 + 8 * (2 * (1 if count < 127 else 2 if count < 16_383 else 3) + 1)


letters = st.sampled_from("abc.") | st.sampled_from("aé日😀\U0010ffff\x00")
sets = st.lists(st.text(letters, max_size=7), max_size=40).map(lambda words: sorted(set(words)))


@given(sets, st.lists(st.text(letters, max_size=7), max_size=10))
def test_a_dawg_is_a_sorted_list(words: list[str], others: list[str]) -> None:
    data = encode_dawg(words)
    dawg = parse_dawg(data)
    assert list(dawg) == words
    for word in [*words, *others]:
        place = bisect_left(words, word)
        assert dawg.index(word) == (place if words[place : place + 1] == [word] else None)
    assert [dawg.word(index) for index in range(len(words))] == words
    assert dawg.header.edges == len({word[:end] for word in words for end in range(1, len(word) + 1)})
    ends = {
        frozenset(word[len(prefix) :] for word in words if word.startswith(prefix)) for prefix in prefixes_of(words)
    }
    assert dawg.header.nodes == len(ends) + 1, "the root stands apart, all others are merged with their like"


def prefixes_of(words: list[str]) -> set[str]:
    return {word[:end] for word in words for end in range(1, len(word) + 1)}
