"""The list kernels against the plain Python that they replaced: hostile lines, any split, either form."""

import itertools
import random
from pathlib import Path
from typing import Any

import list_oracle
import publicsuffixlist
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.csvlist import MAX_RECORD, parse_csv
from tapir.codec.lists import MAX_LINE, ParsedList, parse_domains
from tapir.codec.suffixes import build_suffix_test
from tapir.kernels.lists import LineReader
from tapir.model.actions import ListKind
from tapir.model.messages.lists import Refusal
from tapir.model.names import parse_name
from tapir.policy.admission import Admitted, admit

ZONE = parse_name("dnstapir.")
TEXT = Path(publicsuffixlist.PSLFILE).read_text(encoding="utf-8")
SUFFIXES, LIBRARY = build_suffix_test(TEXT), list_oracle.suffix_test(TEXT)
RULES = [line.split()[0].removeprefix("!") for line in TEXT.splitlines() if line.strip() and line[:2] != "//"]

# What lines are made of: much that is nearly plain, and what sits at a limit.
PIECES = [
    b"a", b"B1", b"_x", b"-", b"xn--bcher-kva", b"x" * 62, b"x" * 63, b"x" * 64, b"com", b"co.uk", b"127", b"0", b"1",
    b"256", b".", b".", b".", b"..", b"*", b"*.", b"||", b"^", b"|", b" ", b"\t", b"\r", b"\x0b", b"#", b" #", b";",
    b" ;", b"0.0.0.0 ", b"127.0.0.1 ", b"::1 ", b"0.0.0.1 ", b"127.0.0.2\t", b",", b"1,", b'"', b'""', b"\\046", b"\\",
    b"\x00", b"\x1c", b"\x85", b"\xff", b"\xef\xbb\xbf", b"rpz-ip", b"rpz-nsdname", b".rpz-client-ip", b"/", b"@",
    b"[", b"`", b"{", *(text.encode() for text in ("b\u00fccher", "\u3002", "\u00df", "\u0130", "\u00a0")),
]  # fmt: skip
ENDS = [b"\n", b"\n", b"\r\n", b"\n\n", b"\r\r\n"]
LONG = [b" " * MAX_LINE, b"x" * (MAX_LINE - 10), b"a.b " * 1024, b"#" * MAX_RECORD]


def said(parsed: ParsedList) -> tuple[bytes, bytes, bytes, tuple[Refusal, ...]]:
    return parsed.names.data, parsed.names.offsets, parsed.lines, parsed.refusals


def kept(admitted: Admitted) -> tuple[bytes, bytes, bytes, tuple[Refusal, ...], str]:
    content = admitted.content
    return content.names.data, content.names.offsets, content.tags, admitted.refusals, admitted.digest


def check(data: bytes, cuts: list[int], *, subtree: bool, kind: ListKind, broad: bool) -> None:
    blocks = [data[start:end] for start, end in itertools.pairwise([0, *sorted(cuts), len(data)])]
    expected = list_oracle.parse_domains(data, subtree=subtree)
    parsed = parse_domains(blocks, subtree=subtree)
    assert said(parsed) == said(expected)
    assert kept(admit(parsed, kind=kind, zone=ZONE, is_public_suffix=SUFFIXES, broad=broad)) == kept(
        list_oracle.admit(expected, kind=kind, zone=ZONE, is_public_suffix=LIBRARY, broad=broad)
    )
    if data:
        rows = b"no,name\n" + data
        shifted = [b"no,name\n", *blocks]
        assert said(parse_csv(shifted, subtree=subtree)) == said(list_oracle.parse_csv(rows, subtree=subtree))
        single = b"name\n" + data
        assert said(parse_csv(single, column="name")) == said(list_oracle.parse_csv(single, column="name"))


lines = st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join)
texts = st.lists(st.tuples(st.one_of(lines, st.sampled_from(LONG)), st.sampled_from(ENDS)), max_size=12).map(
    lambda pairs: b"".join(line + end for line, end in pairs)
)


@given(
    texts,
    lines,
    st.lists(st.integers(0, 300), max_size=6),
    st.booleans(),
    st.sampled_from(list(ListKind)),
    st.booleans(),
)
def test_kernels_read_and_admit_as_the_oracle(
    text: bytes, rest: bytes, cuts: list[int], subtree: bool, kind: ListKind, broad: bool
) -> None:
    check(text + rest, cuts, subtree=subtree, kind=kind, broad=broad)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3), st.booleans())
def test_any_octets_at_all(data: bytes, cuts: list[int], subtree: bool) -> None:
    check(data, cuts, subtree=subtree, kind=ListKind.DENY, broad=False)


@given(st.lists(st.sampled_from(RULES), max_size=8), st.sampled_from(["", "a.", "*.", "a.b.", "www.", "||", "."]))
def test_names_around_public_suffixes(rules: list[str], before: str) -> None:
    text = "\n".join(before + rule.removeprefix("*.") + "^" * (before == "||") for rule in rules)
    check(text.encode(), [], subtree=False, kind=ListKind.DOUBT, broad=False)


@pytest.mark.parametrize("width", [250, 251, 252, 253, 254, 255, 256])
@pytest.mark.parametrize("form", ["{}", "{}.", "*.{}", ".{}", "||{}^", "0.0.0.0 {}", "{} {}"])
def test_names_as_long_as_may_be(width: int, form: str) -> None:
    name = ".".join(["x" * 63, "x" * 63, "x" * 63, "x" * (width - 194)])
    for subtree in (False, True):
        check(form.format(name, name).encode(), [], subtree=subtree, kind=ListKind.ALLOW, broad=True)


def mutate(rng: random.Random, line: bytes) -> bytes:
    """`line` with a few octets changed, taken out, put in or repeated."""
    octets = bytearray(line)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 5])):
        at = rng.randrange(len(octets) + 1)
        match rng.randrange(5):
            case 0:
                octets[at:at] = rng.choice(PIECES)
            case 1:
                octets[at : at + rng.randrange(1, 4)] = b""
            case 2:
                octets[at : at + 1] = bytes((rng.randrange(256),))
            case 3:
                octets[at:at] = octets[at : at + rng.randrange(1, 70)]
            case _:
                octets[at : at + 1] = rng.choice(PIECES)
    return bytes(octets)


def test_a_million_mutated_lines(campaign: Any) -> None:
    rng = campaign.random()
    for _ in range(campaign.rounds(500)):
        names = (
            b".".join(
                rng.choice([b"www", b"ads", b"evil", b"%x" % rng.randrange(1 << 30)]) for _ in range(rng.randrange(3))
            )
            + rng.choice([b".", b".x.", b""])
            + rng.choice(RULES).encode()
            for _ in range(2000)
        )
        form = rng.choice([b"%s", b"%s", b"*.%s", b".%s", b"||%s^", b"0.0.0.0 %s", b"1,%s", b'"1","%s"'])
        data = b"".join(mutate(rng, form % name).replace(b"\n", b"") + rng.choice(ENDS) for name in names)
        cuts = [rng.randrange(len(data)) for _ in range(rng.randrange(4))]
        check(data, cuts, subtree=rng.random() < 0.5, kind=rng.choice(list(ListKind)), broad=rng.random() < 0.2)


def test_a_reader_takes_whole_lines_and_no_more_than_it_has_room_for() -> None:
    names, widths, lines = (memoryview(bytearray(size)) for size in (4 * 100 + 1024, 102, 4 * 102))
    reader = LineReader(names, widths, lines.cast("I"), longest=50)
    assert reader.read_lines(b"a\n" * 50, 0, 1) == (100, 51, 150, 50)
    assert reader.read_lines(b"", 0, 7) == (0, 7, 0, 0)
    for data in (b"a", b"a\nb", b"\n" * 101):
        with pytest.raises(ValueError, match="no whole lines"):
            reader.read_lines(data, 0, 1)
        with pytest.raises(ValueError, match="no whole lines"):
            reader.read_rows(data, 0, 1, width=1, column=0)
