"""Lists in format `domains`: every kind of line, any split of the octets, any garbage."""

import itertools
import tracemalloc
from array import array
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.lists import (
    MAX_LINE,
    ListTooLongError,
    ParsedList,
    RefusalTally,
    merge_refusals,
    parse_domains,
)
from tapir.model.messages.lists import Refusal
from tapir.model.names import format_name


def said(parsed: ParsedList) -> list[tuple[str, int]]:
    """Names with their lines."""
    return [(format_name(name), line) for name, line in zip(parsed.names, array("I", parsed.lines), strict=True)]


def names_in(text: str | bytes) -> list[str]:
    return [name for name, _ in said(parse_domains(text if isinstance(text, bytes) else text.encode()))]


def refused_in(text: bytes) -> tuple[int, ...]:
    parsed = parse_domains(text)
    assert {refusal.reason for refusal in parsed.refusals} <= {"malformed"}
    return parsed.refusals[0].lines if parsed.refusals else ()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("example.com", ["example.com."]),
        ("example.com.", ["example.com."]),
        ("  Example.COM \t", ["example.com."]),
        ("com", ["com."]),
        (".", ["."]),
        ("*", ["*."]),
        ("*.example.com", ["*.example.com."]),
        (".example.com", ["*.example.com."]),
        ("||example.com^", ["example.com.", "*.example.com."]),
        ("räksmörgås.se", ["xn--rksmrgs-5wao1o.se."]),
        ("||räksmörgås.se^", ["xn--rksmrgs-5wao1o.se.", "*.xn--rksmrgs-5wao1o.se."]),
        ("# comment", []),
        ("#comment", []),
        ("; comment", []),
        ("   # comment", []),
        ("", []),
        (" \t ", []),
        ("example.com # because", ["example.com."]),
        ("example.com #because of #that", ["example.com."]),
        ("example.com\t; because", ["example.com."]),
        ("0.0.0.0 example.com", ["example.com."]),
        ("127.0.0.1\texample.com", ["example.com."]),
        (":: example.com", ["example.com."]),
        ("::1 example.com", ["example.com."]),
        ("0.0.0.0 a.example b.example # two", ["a.example.", "b.example."]),
        ("0.0.0.0 # none", None),
        ("127.0.0.1 localhost", ["localhost."]),
        ("127.0.0.1 LocalHost.localdomain", ["localhost.localdomain."]),
        ("0.0.0.0 0.0.0.0", None),
        ("0.0.0.0", None),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("192.0.2.1 example.com", None),
        ("two words", None),
        ("example.com#comment", None),
        ("||example.com^$third-party", None),
        ("||example.com", None),
        ("|example.com^", None),
        ("||^", None),
        ("||*.example.com^", None),
        (".*.example.com", None),
        ("@@||example.com^", None),
        ("! comment of another format", None),
        ("..", None),
        ("http://example.com/", None),
        ("a." + "b" * 64, None),
        ("." + "a." * 127, None),
        ("1.2.3", ["1.2.3."]),
        ("1.2.3.4.5", ["1.2.3.4.5."]),
        ("1.2.3.4.example", ["1.2.3.4.example."]),
    ],
)
def test_a_line(line: str, names: list[str] | None) -> None:
    if names is None:
        assert names_in(line) == []
        assert refused_in(line.encode()) == (1,)
    else:
        assert names_in(line) == names
        assert refused_in(line.encode()) == ()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("example.com", ["example.com.", "*.example.com."]),
        ("räksmörgås.se", ["xn--rksmrgs-5wao1o.se.", "*.xn--rksmrgs-5wao1o.se."]),
        (".", [".", "*."]),
        ("*", ["*."]),
        ("*.example.com", ["*.example.com."]),
        (".example.com", ["*.example.com."]),
        ("||example.com^", ["example.com.", "*.example.com."]),
        ("0.0.0.0 a.example b.example", ["a.example.", "*.a.example.", "b.example.", "*.b.example."]),
        ("192.0.2.1", []),
        ("a/b", []),
    ],
)
def test_a_line_of_a_list_of_subtrees(line: str, names: list[str]) -> None:
    parsed = parse_domains(line.encode(), subtree=True)
    assert [name for name, _ in said(parsed)] == names
    assert bool(parsed.refusals) is not bool(names)


def test_a_name_with_no_room_below_has_nothing_below() -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(names_in(longest)) == 1
    assert names_in(f"||{longest}^") == [f"{longest}."]
    assert refused_in(f".{longest}".encode()) == (1,)


def test_lines_are_numbered_from_one_whatever_is_on_them() -> None:
    parsed = parse_domains(
        b"# head\r\n\r\na.example\r\nb c\r\n0.0.0.0 c.example d.example\r\n\xff.example\r\n.e.example"
    )
    assert said(parsed) == [("a.example.", 3), ("c.example.", 5), ("d.example.", 5), ("*.e.example.", 7)]
    assert parsed.refusals == (Refusal(reason="malformed", count=2, lines=(4, 6)),)
    assert repr(parsed) == "<ParsedList of 4 names, 2 refused>"
    assert len(parsed) == 4


@pytest.mark.parametrize("rest", [b"", b"\n", b"\nb.example\n"])
def test_a_byte_order_mark_is_no_part_of_a_name(rest: bytes) -> None:
    assert names_in(b"\xef\xbb\xbfa.example" + rest)[0] == "a.example."
    assert names_in(b"\xef\xbb\xbf# comment" + rest) == names_in(rest)


def test_a_byte_order_mark_further_down_is_no_name() -> None:
    assert refused_in(b"a.example\n\xef\xbb\xbf\xffb.example") == (2,)


def test_octets_that_are_not_utf8_spoil_their_entry_only() -> None:
    assert names_in(b"a.example # caf\xe9\n0.0.0.0 b\xe9.example c.example\n# caf\xe9") == ["a.example.", "c.example."]
    assert refused_in(b"a.example # caf\xe9\n0.0.0.0 b\xe9.example c.example\n# caf\xe9") == (2,)


def test_only_the_first_refused_lines_are_named_and_each_counts_once() -> None:
    parsed = parse_domains(b"0.0.0.0 / / /\n" * 25)
    assert parsed.refusals == (Refusal(reason="malformed", count=25, lines=tuple(range(1, 11))),)


@pytest.mark.parametrize("end", [b"", b"\n", b"\nb.example", b"\nb.example\r\n"])
def test_a_line_may_have_so_many_octets_and_no_more(end: bytes) -> None:
    fits = b"a.example" + b" " * (MAX_LINE - 10) + b"#"
    assert len(fits) == MAX_LINE
    assert names_in(fits + end)[0] == "a.example."
    parsed = parse_domains(b"\n" + fits + b"#" + end)
    assert parsed.refusals[0].lines == (2,)
    assert said(parsed) == ([("b.example.", 3)] if len(end) > 1 else [])


@pytest.mark.parametrize("spare", [0, 1])
def test_a_byte_order_mark_takes_no_room_on_its_line(spare: int) -> None:
    line = b"\xef\xbb\xbfa.example" + b" " * (MAX_LINE - 10 + spare) + b"#"
    for cut in (0, 1, 3, MAX_LINE, MAX_LINE + 1, MAX_LINE + 3, len(line)):
        parsed = parse_domains((line[:cut], line[cut:] + b"\n", b"b.example"))
        assert said(parsed) == [("a.example.", 1), ("b.example.", 2)][spare:]
        assert [refusal.lines for refusal in parsed.refusals] == [(1,)] * spare


def test_a_line_of_any_length_is_not_held() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"a.example\n"
        for _ in range(64):
            yield b"x" * (1 << 20)
        yield b"\nb.example"

    tracemalloc.start()
    try:
        parsed = parse_domains(blocks())
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert said(parsed) == [("a.example.", 1), ("b.example.", 3)]
    assert parsed.refusals == (Refusal(reason="malformed", count=1, lines=(2,)),)


def test_more_names_than_allowed_are_an_error() -> None:
    assert len(parse_domains(b"a\nb\nc", max_names=3)) == 3
    with pytest.raises(ListTooLongError, match="more than 3 names") as caught:
        parse_domains(b"a\nb\n||c^", max_names=3)
    assert caught.value.limit == 3


def test_more_octets_than_offsets_can_tell_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapir.codec.lists.MAX_OCTETS", 9)
    assert len(parse_domains(b"a\nb\nc")) == 3
    for entry in (b"d", "ä".encode()):
        with pytest.raises(ListTooLongError, match="more than 9 octets of names"):
            parse_domains(b"a\nb\nc\n" + entry)


lines = st.sampled_from(
    [
        b"a.example", b"*.b.example", b".c.example", b"||d.example^", b"0.0.0.0 e.example f.example", b"# comment",
        b"", b"  ", b"g.example ; why", b"bad/line", b"\xff", b"\xef\xbb\xbf", "ä.example".encode(), b"x" * 5000,
    ]
)  # fmt: skip
texts = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n"])), max_size=8).map(
    lambda pairs: b"".join(line + end for line, end in pairs)
)


def summary(parsed: ParsedList) -> tuple[bytes, bytes, bytes, tuple[Refusal, ...]]:
    return parsed.names.data, parsed.names.offsets, parsed.lines, parsed.refusals


@given(texts, st.lists(st.integers(0, 6000), max_size=6))
def test_any_split_reads_the_same(text: bytes, cuts: list[int]) -> None:
    whole = summary(parse_domains(text))
    ordered = [0, *sorted(cuts), len(text)]
    assert summary(parse_domains(text[start:end] for start, end in itertools.pairwise(ordered))) == whole
    assert summary(parse_domains(bytes((octet,)) for octet in text)) == whole


@given(
    st.one_of(
        st.binary(max_size=200), st.lists(st.sampled_from(list(b"a.*|^#; \t\r\n\\0:\xc3\xa4")), max_size=60).map(bytes)
    )
)
def test_garbage_is_refused_and_counted(text: bytes) -> None:
    parsed = parse_domains(text)
    numbers = array("I", parsed.lines)
    count = text.count(b"\n") + 1
    assert list(numbers) == sorted(numbers)
    assert all(1 <= number <= count for number in numbers)
    assert sum(refusal.count for refusal in parsed.refusals) <= count


def test_refusals_of_two_looks_are_one() -> None:
    first = (
        Refusal(reason="malformed", count=11, lines=tuple(range(2, 22, 2))),
        Refusal(reason="x", count=1, lines=(1,)),
    )
    second = (Refusal(reason="malformed", count=2, lines=(3, 50)), Refusal(reason="a", count=1, lines=(9,)))
    assert merge_refusals(first, second) == (
        Refusal(reason="a", count=1, lines=(9,)),
        Refusal(reason="malformed", count=13, lines=(2, 3, 4, 6, 8, 10, 12, 14, 16, 18)),
        Refusal(reason="x", count=1, lines=(1,)),
    )
    assert merge_refusals((), ()) == ()


def test_a_tally_counts_a_line_once_a_reason() -> None:
    tally = RefusalTally()
    for reason, line in [("b", 1), ("a", 1), ("b", 1), ("b", 2)]:
        tally.add(reason, line)
    assert tally.refusals() == (Refusal(reason="a", count=1, lines=(1,)), Refusal(reason="b", count=2, lines=(1, 2)))
