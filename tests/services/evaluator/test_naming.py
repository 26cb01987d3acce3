"""Names of lists, page by page."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors import AskError
from tapir.model.actions import ListKind
from tapir.model.blocks import EMPTY_NAMES, ListBlock, LookupList
from tapir.model.messages.lists import MOST_NAMES, GetListNames, ListNamesPage, SourceChanged, SourceLoaded
from tapir.model.names import NameSyntaxError, format_name, parse_name
from tapir.services.evaluator import naming
from tapir.services.evaluator.naming import ListNamesError, page_of
from tapir.services.evaluator.roster import SourceContent, SourceSettings, SourceState

ONE = SourceSettings(id="one", name="one", kind=ListKind.DENY, format="csv")
TWO = SourceSettings(id="two", name="two", kind=ListKind.DOUBT)
NAMES = [f"{label}{number}.{zone}" for label in "abc" for number in range(3) for zone in ("example", "test")]


def content(block: ListBlock | LookupList) -> SourceContent:
    return SourceContent(block=block, digest="d", refusals=(), loaded_at=1)


def entries(names: list[str]) -> ListBlock:
    return ListBlock.of((name, len(name)) for name in map(parse_name, names))


def asked(contents: dict[str, ListBlock | LookupList | None]) -> list[Any]:
    states = [
        SourceState(
            settings=SourceSettings(id=id_, name=id_, kind=ListKind.DENY),
            content=None if block is None else content(block),
        )
        for id_, block in contents.items()
    ]
    return [(state.status(), state.content) for state in states]


def shown(page: ListNamesPage) -> list[tuple[str, str, int]]:
    return [(part.source, format_name(name), tags) for part in page.parts for name, tags in part.entries]


@given(
    st.lists(st.sampled_from(NAMES), unique=True),
    st.lists(st.sampled_from(NAMES), unique=True),
    st.integers(1, 7),
    st.sampled_from(["", ".", "example", "a1.test", "A1.example."]),
    st.sampled_from(["", "1", "B", "1.ex", "zz"]),
)
def test_the_pages_are_all_names_that_match(one: list[str], two: list[str], limit: int, suffix: str, part: str) -> None:
    sources = asked({"one": entries(one), "empty": None, "two": entries(two)})
    found: list[tuple[str, str, int]] = []
    cursor = ""
    while True:
        page = page_of(sources, GetListNames(limit=limit, suffix=suffix, containing=part, cursor=cursor))
        assert sum(len(each.entries) for each in page.parts) <= limit
        found += shown(page)
        cursor = page.next
        if not cursor:
            break
    ending = suffix.lower().strip(".")
    assert found == [
        (source, format_name(name), len(name))
        for source, names in (("one", one), ("two", two))
        for name in sorted(map(parse_name, names))
        if ("." + format_name(name)).endswith(f".{ending}." if ending else "") and part.lower() in format_name(name)
    ]


def test_a_page_has_so_many_names_at_most() -> None:
    many = entries([f"n{number}.example" for number in range(MOST_NAMES + 5)])
    page = page_of(asked({"many": many}), GetListNames(limit=10**9))
    assert len(page.parts[0].entries) == MOST_NAMES
    rest = page_of(asked({"many": many}), GetListNames(limit=10**9, cursor=page.next))
    assert (len(rest.parts[0].entries), rest.next) == (5, "")


def test_what_is_looked_up_is_not_listed_but_named() -> None:
    mapped = LookupList(path="/staging/one.dawg", digest="d", words=3, size=40)
    page = page_of(asked({"mapped": mapped, "one": entries(["a.example"])}), GetListNames())
    assert page.unlisted == ("mapped",)
    assert [status.id for status in page.sources] == ["mapped", "one"]
    assert shown(page) == [("one", "a.example.", 11)]


@pytest.mark.parametrize("cursor", ["one/xyz", "other/00", "no place", "/"])
def test_a_place_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(ListNamesError, match="begin anew"):
        page_of(asked({"one": entries(["a.example"])}), GetListNames(cursor=cursor))


def test_a_suffix_that_is_no_name_is_refused() -> None:
    with pytest.raises(NameSyntaxError):
        page_of(asked({}), GetListNames(suffix="a..b"))


async def test_the_keeper_lists_names_as_they_are(
    run_keeper: Any, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_keeper(ONE, TWO) as rig:
        await rig.lists.tell(
            SourceLoaded(source="one", content=entries(["a.example"]), digest="1", refusals=(), loaded_at=1)
        )
        await rig.lists.tell(
            SourceChanged(
                source="one",
                base="1",
                digest="2",
                removed=EMPTY_NAMES,
                upserted=entries(["b.example"]),
                refusals=(),
                loaded_at=2,
            )
        )
        page = await rig.lists.ask(GetListNames(source="one"))
        assert shown(page) == [("one", "a.example.", 11), ("one", "b.example.", 11)]
        assert [(status.id, status.format, status.names) for status in page.sources] == [("one", "csv", 2)]
        assert [status.id for status in (await rig.lists.ask(GetListNames())).sources] == ["one", "two"]
        with pytest.raises(AskError, match="there is no source 'three'; known are: one, two"):
            await rig.lists.ask(GetListNames(source="three"))
        with pytest.raises(AskError, match="begin anew"):
            await rig.lists.ask(GetListNames(cursor="x"))
        monkeypatch.setattr(naming, "_MOST", 0)
        with pytest.raises(AskError, match="ask again in a moment"):
            await rig.lists.ask(GetListNames())
