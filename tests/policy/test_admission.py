"""Admission: what a list may hold, by the words of pop.md D-07 and the policy zone's own limits."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.lists import parse_domains
from tapir.codec.suffixes import build_suffix_test
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.messages.lists import Refusal
from tapir.model.names import Name, format_name, parse_name
from tapir.policy.admission import Admitted, admit, content_digest

ZONE = parse_name("dnstapir.")
DENYING = [ListKind.DENY, ListKind.DOUBT]


is_public_suffix = build_suffix_test("co.uk\ngithub.io\n")


def admitted(text: str, kind: ListKind = ListKind.DENY, *, broad: bool = False, zone: Name = ZONE) -> Admitted:
    return admit(parse_domains(text.encode()), kind=kind, zone=zone, is_public_suffix=is_public_suffix, broad=broad)


def reasons(text: str, kind: ListKind = ListKind.DENY, *, broad: bool = False) -> list[str]:
    return [refusal.reason for refusal in admitted(text, kind, broad=broad).refusals]


@pytest.mark.parametrize("kind", list(ListKind))
@pytest.mark.parametrize("broad", [False, True])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (".", "too_broad"),
        ("*", "too_broad"),
        ("||.^", "too_broad"),
        ("bad/line", "malformed"),
        (r"a.\042.example", "malformed"),
        (r"*.\*.example", "malformed"),
        ("rpz-ip", "rpz_trigger"),
        ("32.1.2.0.192.rpz-ip", "rpz_trigger"),
        ("*.rpz-nsip", "rpz_trigger"),
        ("24.0.2.0.192.RPZ-CLIENT-IP.", "rpz_trigger"),
        ("ns1.example.com.rpz-nsdname", "rpz_trigger"),
    ],
)
def test_refused_on_every_list(text: str, reason: str, kind: ListKind, broad: bool) -> None:
    assert reasons(text, kind, broad=broad) == [reason]
    assert len(admitted(text, kind, broad=broad).content) == 0


BROAD = ["com", "*.com", ".com", "||com^", "co.uk", "*.co.uk", ".github.io", "||github.io^", "localhost"]


@pytest.mark.parametrize("kind", DENYING)
@pytest.mark.parametrize("text", BROAD)
def test_what_blocks_too_much_is_refused_where_it_blocks(text: str, kind: ListKind) -> None:
    assert reasons(text, kind) == ["too_broad"]
    assert len(admitted(text, kind).content) == 0


@pytest.mark.parametrize("text", BROAD)
def test_broad_names_may_be_allowed_or_meant(text: str) -> None:
    assert reasons(text, ListKind.ALLOW) == []
    assert reasons(text, ListKind.DENY, broad=True) == []


@pytest.mark.parametrize(
    "text",
    [
        "example.com",
        "*.example.com",
        "example.co.uk",
        "rpz-ip.example.com",
        "xrpz-ip.com",
        "rpz-ip.com",
        r"a\006rpz-ip.com",
        "a.com.uk",
        r"\*a.example",
    ],
)
@pytest.mark.parametrize("kind", list(ListKind))
def test_what_looks_like_a_reason_and_is_none(text: str, kind: ListKind) -> None:
    assert reasons(text, kind) == []
    assert len(admitted(text, kind).content) == 1


def test_a_trigger_is_a_label_and_not_the_end_of_one() -> None:
    name = Name(b"\x0aab\x06rpz-ip\0"[:-1] + b"x\0")
    assert reasons(format_name(name), ListKind.ALLOW) == []
    inside = Name(bytes((2 + 7,)) + b"ab" + b"\x06rpz-ip" + b"\0")
    assert inside.endswith(b"\x06rpz-ip\0")
    assert reasons(format_name(inside), ListKind.ALLOW) == []


def test_the_owner_has_to_fit_into_the_zone() -> None:
    room = 255 - len(ZONE) + 1
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * (room - 3 * 64 - 2)])
    assert len(parse_name(name)) == room
    assert len(parse_name(name)[:-1] + ZONE) == 255
    assert reasons(name) == []
    assert reasons(name + "d") == ["too_long"]
    assert reasons("x" + name[-60:] + "." + name[:-59]) == ["too_long"]
    result = admitted(f"||{name}^")
    assert [refusal.reason for refusal in result.refusals] == ["too_long"]
    assert list(result.content.names) == [parse_name(name)]


def test_lines_are_counted_by_reason_and_the_rest_is_used() -> None:
    result = admitted("# head\ngood.example\ncom\nbad/line\n||net^\n0.0.0.0 org a/b good.example\n32.1.rpz-ip\n")
    assert result.refusals == (
        Refusal(reason="malformed", count=2, lines=(4, 6)),
        Refusal(reason="rpz_trigger", count=1, lines=(7,)),
        Refusal(reason="too_broad", count=3, lines=(3, 5, 6)),
    )
    assert [format_name(name) for name in result.content.names] == ["good.example."]
    assert result.content.tags == b""


def test_equal_content_has_an_equal_digest_however_it_is_written() -> None:
    one = admitted("b.example\n*.a.example\nB.EXAMPLE.\n")
    other = admitted("# a list\r\n.a.example\r\n0.0.0.0 b.example\r\n")
    assert one.digest == other.digest == hashlib.sha256(one.content.names.data).hexdigest()
    assert admitted("b.example").digest != one.digest


def test_tags_are_part_of_the_digest() -> None:
    names = NameBlock.of([parse_name("a.example")])
    assert content_digest(ListBlock(names=names)) != content_digest(ListBlock.of([(parse_name("a.example"), 1)]))


@given(st.lists(st.text("ab", min_size=1, max_size=12), max_size=40))
def test_content_is_in_order_and_each_name_is_there_once(labels: list[str]) -> None:
    result = admitted("\n".join(f"{label}.example" for label in labels))
    assert list(result.content.names) == sorted({parse_name(f"{label}.example") for label in labels})


def test_many_names_that_begin_alike_are_sorted_in_parts() -> None:
    labels = [f"{number:05d}" for number in range(20_000)]
    result = admitted("\n".join(f"aaaaaaaaaa{label}.example" for label in reversed(labels)))
    assert list(result.content.names) == [parse_name(f"aaaaaaaaaa{label}.example") for label in labels]
