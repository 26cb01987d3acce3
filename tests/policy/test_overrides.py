"""The operator's own lists against a dictionary, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import ListKind
from tapir.model.blocks import NameBlock
from tapir.model.names import NameSyntaxError, format_name, parse_name
from tapir.policy.overrides import OverrideBook, OverrideError, admitted_names, difference_of, is_in_force
from tapir.services.sources.suffixes import load_suffix_test

ZONE = parse_name("dnstapir.")


def names(text: str, kind: ListKind = ListKind.DENY) -> list[str]:
    found = admitted_names(text, kind, zone=ZONE, is_public_suffix=load_suffix_test())
    return [format_name(name) for name in found]


def put(book: OverrideBook, text: str, kind: ListKind, *, at: int = 1, until: int | None = None) -> None:
    block = NameBlock.of([parse_name(name) for name in names(text, kind)])
    book.take(book.setting(block, kind=kind, user="ops", at=at, until=until, reason=""))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Bad.Example", ["bad.example."]),
        ("*.bad.example", ["*.bad.example."]),
        (".bad.example", ["*.bad.example."]),
        ("||bad.example^", ["*.bad.example.", "bad.example."]),
        ("bücher.example", ["xn--bcher-kva.example."]),
    ],
)
def test_it_is_written_as_in_a_list(text: str, found: list[str]) -> None:
    assert sorted(names(text)) == sorted(found)


@pytest.mark.parametrize("kind", [ListKind.DENY, ListKind.DOUBT])
@pytest.mark.parametrize("text", ["se", "co.uk", "*.co.uk", "||com^", "."])
def test_what_is_too_broad_is_refused_with_the_reason(text: str, kind: ListKind) -> None:
    with pytest.raises(OverrideError, match=f"cannot be on the local {kind.value}: it is too broad"):
        names(text, kind)


def test_an_allowlist_may_hold_what_is_broad() -> None:
    assert names("co.uk", ListKind.ALLOW) == ["co.uk."]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("32.1.2.0.192.rpz-ip", "RPZ trigger"), (".".join(["a" * 62] * 4), "longer than a name can be")],
)
def test_what_no_record_can_say_is_refused(text: str, reason: str) -> None:
    with pytest.raises(OverrideError, match=reason):
        names(text)


@pytest.mark.parametrize("text", ["", "a..b", "192.0.2.1", "http://x.example/", "a b", "||x.example"])
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(NameSyntaxError):
        names(text)


def test_setting_again_renews_and_another_list_takes_the_name_over() -> None:
    book = OverrideBook()
    put(book, "||bad.example^", ListKind.DENY, until=5)
    put(book, "bad.example", ListKind.ALLOW, at=2)
    assert [(each.entry, each.kind, each.at, each.until) for each in book.ordered()] == [
        ("bad.example.", ListKind.ALLOW, 2, None),
        ("*.bad.example.", ListKind.DENY, 1, 5),
    ]
    assert book.next_end() == 5
    put(book, "*.bad.example", ListKind.DENY, at=3)
    assert (len(book), book.next_end()) == (2, None)


def test_what_is_on_another_list_is_not_taken_off_by_mistake() -> None:
    book = OverrideBook()
    put(book, "bad.example", ListKind.DENY)
    block = NameBlock.of([parse_name("bad.example")])
    with pytest.raises(OverrideError, match="not on the local allowlist, but on the local denylist"):
        book.removing(block, kind=ListKind.ALLOW, text="bad.example")
    book.take(book.removing(block, kind=ListKind.DENY, text="bad.example"))
    assert len(book) == 0
    with pytest.raises(OverrideError, match=r"not on the local denylist$"):
        book.removing(block, kind=ListKind.DENY, text="bad.example")


def test_there_is_a_limit_that_renewing_does_not_meet() -> None:
    book = OverrideBook(most=2)
    put(book, "||bad.example^", ListKind.DENY)
    put(book, "||bad.example^", ListKind.ALLOW)
    with pytest.raises(OverrideError, match="at most 2 names: put them into a list file"):
        put(book, "more.example", ListKind.DENY)


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 1001, "\x1b[31m"])
def test_a_reason_is_one_line(reason: str) -> None:
    with pytest.raises(OverrideError, match="one line"):
        OverrideBook().setting(
            NameBlock.of([parse_name("a.example")]), kind=ListKind.DENY, user="", at=0, until=None, reason=reason
        )


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["a.example", "*.a.example", "||a.example^", "b.example"]),
        st.sampled_from(ListKind),
        st.one_of(st.none(), st.integers(1, 20)),
    ),
    max_size=12,
)


@given(ORDERS, st.integers(0, 25))
def test_any_orders_come_to_what_a_dictionary_says(orders: list[tuple[str, ListKind, int | None]], now: int) -> None:
    book = OverrideBook()
    oracle: dict[str, tuple[ListKind, int | None]] = {}
    stored: dict[str, object] = {}
    for text, kind, until in orders:
        block = NameBlock.of([parse_name(name) for name in names(text, kind)])
        change = book.setting(block, kind=kind, user="ops", at=0, until=until, reason="")
        upserted, removed = difference_of(change)
        assert removed == ()
        stored |= {each.entry: each for each in upserted}
        book.take(change)
        oracle |= {format_name(name): (kind, until) for name in block}
    assert {each.entry: (each.kind, each.until) for each in book} == oracle
    assert {each.entry: each for each in book} == stored
    ending = book.expiring(now)
    assert {each.entry for each in ending.before} == {each.entry for each in book if not is_in_force(each, now)}
    book.take(ending)
    alive = {entry: kind for entry, (kind, until) in oracle.items() if until is None or until > now}
    for kind in ListKind:
        held = [format_name(name) for name in book.content(kind).names]
        assert set(held) == {entry for entry, each in alive.items() if each is kind}
        assert [parse_name(each) for each in held] == sorted(parse_name(each) for each in held)
