"""Lists as comma-separated values, fed whole, in pieces, and as garbage."""

import csv
import io
import itertools
import tracemalloc
from array import array
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.csvlist import MAX_RECORD, ListShapeError, parse_csv
from tapir.codec.lists import ListTooLongError, ParsedList
from tapir.model.messages.lists import Refusal
from tapir.model.names import format_name


def said(parsed: ParsedList) -> list[tuple[str, int]]:
    """Names with the lines where their records begin."""
    return [(format_name(name), line) for name, line in zip(parsed.names, array("I", parsed.lines), strict=True)]


def names_in(text: str, *, column: str | None = None) -> list[str]:
    return [name for name, _ in said(parse_csv(text.encode(), column=column))]


def refused_in(data: bytes) -> tuple[int, ...]:
    parsed = parse_csv(data)
    assert {refusal.reason for refusal in parsed.refusals} <= {"malformed"}
    return parsed.refusals[0].lines if parsed.refusals else ()


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ("1,example.com,x", ["example.com."]),
        ("1, Example.COM\t,x", ["example.com."]),
        (",räksmörgås.se,", ["xn--rksmrgs-5wao1o.se."]),
        ("1,*.example.com,x", ["*.example.com."]),
        ("1,.example.com,x", ["*.example.com."]),
        ("1,||example.com^,x", ["example.com.", "*.example.com."]),
        ('1,"example.com",x', ["example.com."]),
        ('"1","example.com","a ""quoted"", one"', ["example.com."]),
        ('"","example.com",""', ["example.com."]),
        ('"1,2",example.com,"two\nlines"', ["example.com."]),
        ('"1,2",example.com,"two\r\nlines, blank\r\n\r\nones"', ["example.com."]),
        ("", []),
        ("\n\r\n", []),
        (" ", None),
        ("# 1,example.com,x", ["example.com."]),
        ("1,,x", None),
        ("1,  ,x", None),
        ("1,example.com", None),
        ("1,example.com,x,y", None),
        ("example.com", None),
        ("1,two words,x", None),
        ("1,192.0.2.1,x", None),
        ("1,0.0.0.0 example.com,x", None),
        ("1,exa\x00mple.com,x", None),
        ('1,exa"mple.com,x', None),
        ('1,example.com,a "quoted" word', None),
        ('1,"example.com"x,y', None),
        ('1, "example.com",y', None),
        ('1,example.com,"', None),
        ('1,"example.com,x', None),
    ],
)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_record(record: str, names: list[str] | None, end: str) -> None:
    text = f"rank,domain,note\n{record}{end}"
    assert names_in(text) == (names or [])
    assert refused_in(text.encode()) == (() if names is not None else (2,))


def test_records_are_numbered_by_their_first_lines_whatever_lies_between() -> None:
    parsed = parse_csv(
        b'\r\nno,name,"title\r\non two lines"\r\n\r\n'
        b'1,a.example,"x\n\ny"\n2,b c,"\n"\n3,c.example,\xff\n4,d\xff.example,\n'
        b"5,||e.example^,"
    )
    assert said(parsed) == [("a.example.", 5), ("c.example.", 10), ("e.example.", 12), ("*.e.example.", 12)]
    assert parsed.refusals == (Refusal(reason="malformed", count=2, lines=(8, 11)),)


def test_a_quote_that_nobody_closes_costs_its_own_line_only() -> None:
    assert said(parse_csv(b'no,name\n1,a.example\n2,"b.example\n3,c.example\n4,d.example\n')) == [
        ("a.example.", 2), ("c.example.", 4), ("d.example.", 5),
    ]  # fmt: skip
    assert refused_in(b'no,name\n1,a.example\n2,"b.example\n3,c.example\n4,d.example\n') == (3,)


def test_a_quote_out_of_place_costs_no_line_below() -> None:
    data = b'no,name\n1,"a.example\n2,b.example\n3,"c.example"\n4,"d.example\n5,"e.example"\n'
    assert said(parse_csv(data)) == [("b.example.", 3), ("c.example.", 4), ("e.example.", 6)]
    assert refused_in(data) == (2, 5)


def test_a_record_may_lie_wholly_in_lines_that_were_given_back() -> None:
    data = b'no,name\n1,"a.example\n2,"b\n.example"\n"3\n4",c.example\n5,x"y\n'
    assert said(parse_csv(data)) == [("c.example.", 5)]
    assert refused_in(data) == (2, 3, 7)


def test_lines_that_were_given_back_do_not_pile_up() -> None:
    pairs = 20_000
    tracemalloc.start()
    try:
        parsed = parse_csv(b'x"\n1,a.example\n' if number else b"no,name\n" for number in range(pairs))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert len(parsed) == pairs - 1
    assert parsed.refusals[0].count == pairs - 1


@pytest.mark.parametrize(
    ("header", "column", "reason"),
    [
        ("", None, "it is empty, and not even a header tells that it should be"),
        ("\n\r\n", None, "it is empty, and not even a header tells that it should be"),
        ("name\na.example\n", None, "it has one column, and the second is read unless `column` names another"),
        ("<html>\n<p>502", None, "it has one column, and the second is read unless `column` names another"),
        ('no,"name\n1,a.example', None, "its header is broken, or too long"),
        ("x" * (MAX_RECORD + 1) + "\n1,a.example\n", None, "its header is broken, or too long"),
        ("no,name\n", "domain", "none of its columns are called 'domain'; they are 'no', 'name'"),
        ("a,b,a\n", "a", "2 of its columns are called 'a'; they are 'a', 'b', 'a'"),
        ("," * 11, "x", "none of its columns are called 'x'; they are " + "'', " * 10 + "..."),
    ],
)
def test_without_a_header_that_tells_where_the_names_are_it_is_no_list(
    header: str, column: str | None, reason: str
) -> None:
    with pytest.raises(ListShapeError) as caught:
        parse_csv(header.encode(), column=column)
    assert caught.value.reason == reason
    assert str(caught.value) == f"is no list in format csv: {reason}"


def test_the_column_is_found_by_its_title() -> None:
    text = '\ufeffDomain,domain," Name ",note\na.example,b.example,c.example,d.example\n'
    assert names_in(text, column="Domain") == ["a.example."]
    assert names_in(text, column="domain") == ["b.example."]
    assert names_in(text, column=" name") == ["c.example."]
    assert names_in(text) == ["b.example."]
    assert names_in("name\na.example\n", column="NAME") == ["a.example."]


def test_a_header_alone_is_an_empty_list() -> None:
    parsed = parse_csv(b"no,name")
    assert (len(parsed), parsed.refusals) == (0, ())


def test_more_names_than_allowed_are_an_error() -> None:
    assert len(parse_csv(b"no,name\n,a\n,b\n,c", max_names=3)) == 3
    with pytest.raises(ListTooLongError, match="more than 3 names"):
        parse_csv(b"no,name\n,a\n,b\n,||c^", max_names=3)


@pytest.mark.parametrize("spare", [0, 1])
def test_a_record_may_have_so_many_octets_and_no_more(spare: int) -> None:
    head = b'1,a.example,"'
    room = MAX_RECORD - len(head) - 1 + spare
    for filling in (b"x" * room, b"\n" * room, (b'""\n' * room)[:room // 3 * 3] + b"x" * (room % 3)):  # fmt: skip
        data = b"no,name,note\n" + head + filling + b'"\n2,b.example,\n'
        parsed = parse_csv(data)
        names = [name for name, _ in said(parsed)]
        assert names == ["a.example.", "b.example."][spare:]
        assert bool(parsed.refusals) == bool(spare)


def test_a_line_of_any_length_is_not_held() -> None:
    def blocks() -> Iterator[bytes]:
        yield b'no,name\n1,a.example\n2,"'
        for _ in range(64):
            yield b"x" * (1 << 20)
        yield b'"\n3,b.example'

    tracemalloc.start()
    try:
        parsed = parse_csv(blocks())
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert said(parsed) == [("a.example.", 2), ("b.example.", 4)]
    assert parsed.refusals == (Refusal(reason="malformed", count=1, lines=(3,)),)


pieces = st.sampled_from(
    [b"a.example", b"*.b.example", b"||c.example^", b"bad/name", b"", b" ", b"\xff", b'"', b'""', b'"d.example"',
     b'"x\ny"', b",", b",", b",", b"\n", b"\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b"x" * 70_000]
)  # fmt: skip
texts = st.lists(pieces, max_size=30).map(lambda parts: b"no,name\n" + b"".join(parts))


def summary(parsed: ParsedList) -> tuple[bytes, bytes, bytes, tuple[Refusal, ...]]:
    return parsed.names.data, parsed.names.offsets, parsed.lines, parsed.refusals


@given(texts, st.lists(st.integers(0, 200), max_size=6))
def test_any_split_reads_the_same(text: bytes, cuts: list[int]) -> None:
    whole = summary(parse_csv(text))
    ordered = [0, *sorted(cuts), len(text)]
    assert summary(parse_csv(text[start:end] for start, end in itertools.pairwise(ordered))) == whole
    assert summary(parse_csv(text[:1000][at : at + 1] for at in range(1000))) == summary(parse_csv(text[:1000]))


@given(st.one_of(texts, st.binary(max_size=200)), st.sampled_from([None, "name", "a.example"]))
def test_garbage_is_refused_and_counted(text: bytes, column: str | None) -> None:
    try:
        parsed = parse_csv(text, column=column)
    except ListShapeError:
        return
    numbers = array("I", parsed.lines)
    count = text.count(b"\n") + 1
    assert list(numbers) == sorted(numbers)
    assert all(1 < number <= count for number in numbers)
    assert sum(refusal.count for refusal in parsed.refusals) <= count


fields = st.text(st.sampled_from('ab."\n, é'), max_size=8)


@given(
    st.lists(st.tuples(fields, st.sampled_from(["a.example", "b.example"]), fields)), st.sampled_from(["\n", "\r\n"])
)
def test_what_a_csv_writer_wrote_is_read(rows: list[tuple[str, str, str]], end: str) -> None:
    written = [write_row(row, end) for row in [("rank", "domain", "note"), *rows]]
    parsed = parse_csv("".join(written).encode())
    lines = itertools.accumulate((row.count("\n") for row in written[:-1]), initial=1)
    assert parsed.refusals == ()
    assert said(parsed) == [(f"{row[1]}.", line) for row, line in zip(rows, list(lines)[1:], strict=True)]


def write_row(row: tuple[str, str, str], end: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end).writerow(row)
    return out.getvalue()
