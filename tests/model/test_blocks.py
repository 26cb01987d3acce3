"""Blocks: what goes in comes out, and nothing of it is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import Action
from tapir.model.blocks import FrameBlock, ListBlock, NameBlock, RecordBlock, RecordDelta, VersionDelta
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


@given(st.lists(st.binary(min_size=1, max_size=300)))
def test_frames_come_back_and_their_octets_are_a_stream(frames: list[bytes]) -> None:
    block = FrameBlock.of(iter(frames))
    assert (len(block), list(block)) == (len(frames), frames)
    assert block.data == b"".join(len(frame).to_bytes(4) + frame for frame in frames)


def test_an_empty_frame_is_refused_for_it_would_read_as_a_control_frame() -> None:
    with pytest.raises(ValueError, match="control frame"):
        FrameBlock.of([b"a", b""])


def test_a_block_of_frames_shows_nothing_of_them() -> None:
    assert repr(FrameBlock.of([b"secret", b"b"])) == "<FrameBlock of 2 frames, 15 octets>"
