"""Blocks: what goes in comes out, and nothing of it is shown."""

from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import Action
from tapir.model.blocks import ListBlock, NameBlock, RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import Name, parse_name

names = st.lists(st.sampled_from([parse_name("secret.example"), parse_name("a"), parse_name("*.b.example")]))
masks = st.integers(0, 0xFFFF_FFFF)


@given(names)
def test_names(content: list[Name]) -> None:
    block = NameBlock.of(iter(content))
    assert list(block) == content
    assert len(block) == len(content)


@given(names, st.data())
def test_tags(content: list[Name], data: st.DataObject) -> None:
    entries = [(name, data.draw(masks)) for name in content]
    block = ListBlock.of(iter(entries))
    assert list(block) == entries
    assert len(block) == len(entries)


def test_no_tags_take_no_room() -> None:
    assert ListBlock.of([(parse_name("a"), 0)]).tags == b""


def test_records() -> None:
    records = [(parse_name("a"), Action.DROP), (parse_name("b"), Action.PASSTHRU)]
    assert list(RecordBlock.of(iter(records))) == records


def test_a_representation_shows_sizes_and_no_name() -> None:
    name = parse_name("secret.example")
    records = RecordBlock.of([(name, Action.DROP)])
    delta = RecordDelta(added=records)
    shown = [
        repr(NameBlock.of([name])),
        repr(ListBlock.of([(name, 1)])),
        repr(records),
        repr(delta),
        repr(VersionDelta(from_serial=1, to_serial=2, at=0, delta=delta)),
    ]
    assert shown == [
        "<NameBlock of 1 names, 16 octets>",
        "<ListBlock of 1 names>",
        "<RecordBlock of 1 records>",
        "<RecordDelta -0 +1>",
        "<VersionDelta 1→2 <RecordDelta -0 +1>>",
    ]
    assert len(delta) == 1
