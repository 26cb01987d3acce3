"""Names: text to wire and back, held to dnspython and to the limits of RFC 1035."""

import dns.name
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapir.model.names import (
    MAX_TEXT,
    ROOT,
    Name,
    NameSyntaxError,
    canonical_key,
    format_name,
    is_below,
    is_wildcard,
    parent_of,
    parse_name,
    split_labels,
)


def wire(*labels: bytes) -> Name:
    return Name(b"".join(bytes((len(label),)) + label for label in labels) + ROOT)


def fits(name: Name) -> bool:
    return len(name) <= 255


label_octets = st.binary(min_size=1, max_size=63).map(bytes.lower)
any_names = st.lists(label_octets, max_size=8).map(lambda labels: wire(*labels)).filter(fits)
hostname_labels = st.text("abcXYZ059-_", min_size=1, max_size=63)
hostnames = st.lists(hostname_labels, min_size=1, max_size=6).map(".".join).filter(lambda text: len(text) <= 253)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (".", ROOT),
        ("example.com", wire(b"example", b"com")),
        ("example.com.", wire(b"example", b"com")),
        ("ExAmPlE.COM", wire(b"example", b"com")),
        ("_dmarc.example.com", wire(b"_dmarc", b"example", b"com")),
        ("*.example.com", wire(b"*", b"example", b"com")),
        ("*", wire(b"*")),
        ("*.", wire(b"*")),
        (r"*.a\.b.c", wire(b"*", b"a.b", b"c")),
        (r"a\.b.c", wire(b"a.b", b"c")),
        (r"a\.b.c.", wire(b"a.b", b"c")),
        (r"\097\066.c", wire(b"ab", b"c")),
        (r"\000\255.c", wire(b"\x00\xff", b"c")),
        (r"\A\\\ .c", wire(b"a\\ ", b"c")),
        ("räksmörgås.se", wire(b"xn--rksmrgs-5wao1o", b"se")),
        ("RÄKSMÖRGÅS.SE.", wire(b"xn--rksmrgs-5wao1o", b"se")),
        ("*.räksmörgås.se", wire(b"*", b"xn--rksmrgs-5wao1o", b"se")),
        ("_dmarc.räksmörgås.se", wire(b"_dmarc", b"xn--rksmrgs-5wao1o", b"se")),
        ("faß.de", wire(b"xn--fa-hia", b"de")),
        ("例え。テスト", wire(b"xn--r8jz45g", b"xn--zckzah")),
        ("a" * 63 + ".b", wire(b"a" * 63, b"b")),
    ],
)
def test_what_spells_a_name(text: str, name: Name) -> None:
    assert parse_name(text) == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("..", "empty label"),
        (".example.com", "empty label"),
        ("example..com", "empty label"),
        ("example.com..", "empty label"),
        (r"a\..", None),
        (r"a\...", "empty label"),
        ("a" * 64, "a label has 64 octets, 63 are allowed"),
        ("a." * 128, "it has 257 octets, 255 are allowed"),
        ("a" * (MAX_TEXT + 1), "characters"),
        ("example.com/path", "the character '/'"),
        ("http://example.com", "the character ':'"),
        ("foo.*.example", "the character '*'"),
        ("*foo.example", "the character '*'"),
        ("*.*.example", "the character '*'"),
        (r"*f\.oo.example", "the character '*'"),
        (r"*.*.a\.b", "the character '*'"),
        ("two words", "the character ' '"),
        ("tab\tbed", "the character"),
        ("nul\0", "the character"),
        ("user@example.com", "the character '@'"),
        ("a\\", "an escape"),
        (r"a\25", "an escape"),
        (r"a\25x", "an escape"),
        (r"a\256", "an escape"),
        ("a\\b\u00e4", "IDNA"),
        ("\u2028.se", "IDNA"),
        ("a\u0301\ufffd.se", "IDNA"),
    ],
)
def test_what_spells_no_name(text: str, reason: str | None) -> None:
    if reason is None:
        assert parse_name(text) == wire(b"a.")
        return
    with pytest.raises(NameSyntaxError, match=reason.replace("*", r"\*")) as caught:
        parse_name(text)
    assert reason in caught.value.reason


def test_the_error_shows_the_text_and_not_all_of_it() -> None:
    with pytest.raises(NameSyntaxError) as caught:
        parse_name("x/" * 400)
    assert str(caught.value).startswith("'x/x/")
    assert len(str(caught.value)) < 200


@given(any_names)
@example(ROOT)
@example(wire(b"*"))
@example(wire(b"*a"))
@example(wire(b"a", b"*"))
@example(wire(b"0\\.1"))
def test_what_is_formatted_is_parsed_back(name: Name) -> None:
    text = format_name(name)
    assert text.isascii()
    assert text.isprintable()
    assert parse_name(text) == name


@given(any_names)
def test_dnspython_reads_what_we_format(name: Name) -> None:
    assert dns.name.from_text(format_name(name)).to_wire() == name


@given(any_names)
def test_we_read_what_dnspython_escapes(name: Name) -> None:
    labels = [r"".join(f"\\{octet:03d}" for octet in label) for label in split_labels(name)]
    assert parse_name(".".join(labels) + ".") == name


@given(hostnames)
def test_dnspython_agrees_on_hostnames(text: str) -> None:
    assert parse_name(text) == dns.name.from_text(text).canonicalize().to_wire()
    assert parse_name(text + ".") == parse_name(text.upper()) == parse_name(text)


@given(st.one_of(st.text(max_size=80), st.text("a*.\\0129-_ \u00e4\u3002/", max_size=24), hostnames))
def test_garbage_is_a_name_or_a_syntax_error(text: str) -> None:
    try:
        name = parse_name(text)
    except NameSyntaxError:
        return
    assert dns.name.from_wire(name, 0)[0].to_wire() == name
    assert name == name.lower()
    assert parse_name(format_name(name)) == name


def test_going_up() -> None:
    name = parse_name("a.b.c")
    assert parent_of(name) == parse_name("b.c")
    assert parent_of(ROOT) == ROOT
    assert split_labels(name) == [b"a", b"b", b"c"]
    assert split_labels(ROOT) == []


@pytest.mark.parametrize(
    ("name", "ancestor", "below"),
    [
        ("a.b.c", "b.c", True),
        ("a.b.c", "c", True),
        ("a.b.c", ".", True),
        ("b.c", "b.c", False),
        ("c", "b.c", False),
        ("ab.c", "b.c", False),
        (".", ".", False),
    ],
)
def test_is_below(name: str, ancestor: str, below: bool) -> None:
    assert is_below(parse_name(name), parse_name(ancestor)) is below


def test_is_below_heeds_label_boundaries() -> None:
    assert not is_below(wire(b"ab\x01c"), wire(b"c"))


def test_is_wildcard() -> None:
    assert is_wildcard(parse_name("*.a"))
    assert is_wildcard(parse_name("*"))
    assert not is_wildcard(parse_name(r"\*a.b"))
    assert not is_wildcard(ROOT)


@given(st.lists(any_names, max_size=6))
def test_canonical_order_is_that_of_dnspython(names: list[Name]) -> None:
    ordered = sorted(dns.name.from_wire(name, 0)[0] for name in names)
    assert [dns.name.from_wire(name, 0)[0] for name in sorted(names, key=canonical_key)] == ordered
