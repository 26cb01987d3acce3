"""Sorting and merging of names is that of their keys; columns of names are checked as plain Python checks them."""

import itertools
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tapir.kernels.columns
import tapir.kernels.order
from tapir.codec.columns import follow_in_order, is_ordered, net_of, order_of, scratch, steps_of, taken
from tapir.model.actions import Action
from tapir.model.blocks import NameBlock, RecordBlock
from tapir.model.names import Name
from tapir.zone.order import order_key

LABELS = st.one_of(st.sampled_from([b"a", b"*", b"\0", b"\1", b"\0\1", b"d" * 63]), st.binary(min_size=1, max_size=4))
NAMES = (
    st.lists(LABELS, max_size=5)
    .map(lambda labels: Name(b"".join(bytes((len(label),)) + label.lower() for label in labels) + b"\0"))
    .filter(lambda name: len(name) <= 255)
)


@given(left=st.lists(NAMES, max_size=30), right=st.lists(NAMES, max_size=30))
def test_two_runs_in_order_are_merged(left: list[Name], right: list[Name]) -> None:
    """What is equal stays in the order given: the left before the right."""
    names = [*sorted(set(left), key=order_key), *sorted(set(right), key=order_key)]
    expected = sorted(range(len(names)), key=lambda index: (order_key(names[index]), index))
    assert order_of(NameBlock.of(names)).tolist() == expected


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_names_with_long_common_ends(seed: int) -> None:
    shuffler = random.Random(seed)
    ends = [b"", b"\x01\0", b"\x3f" + b"e" * 63, b"\x01*", b"\x02\1\0"]
    names = [
        Name(
            bytes((4,))
            + shuffler.randbytes(4).lower()
            + b"".join(shuffler.choices(ends, k=shuffler.randrange(3)))
            + b"\x03com\0"
        )
        for _ in range(2000)
    ]
    names += names[:500] * 2
    expected = sorted(range(len(names)), key=lambda index: (order_key(names[index]), index))
    block = NameBlock.of(names)
    assert order_of(block).tolist() == expected
    assert list(taken(block, order_of(block))) == [names[index] for index in expected]


@given(blocks=st.lists(st.lists(NAMES, max_size=6), max_size=4))
def test_blocks_that_follow_each_other(blocks: list[list[Name]]) -> None:
    for given_blocks in (blocks, [sorted(block, key=order_key) for block in sorted(blocks, key=lambda b: sorted(b))]):
        keys = [order_key(name) for block in given_blocks for name in block]
        ordered = all(a < b for a, b in itertools.pairwise(keys))
        assert follow_in_order([NameBlock.of(block) for block in given_blocks]) == ordered


def problem_of(name: bytes) -> int:
    """What `check` says of one name, in plain Python."""
    if not 1 <= len(name) <= 255:
        return 1
    at = 0
    upper = False
    while 0 < name[at] <= 63 and at + 1 + name[at] < len(name):
        label = name[at + 1 : at + 1 + name[at]]
        upper |= any(0x41 <= octet <= 0x5A for octet in label)
        at += 1 + name[at]
    if upper:
        return 2
    if name[at] > 63:
        return 3
    if name[at]:
        return 5
    return 0 if at + 1 == len(name) else 4


@given(names=st.lists(st.one_of(NAMES, st.binary(max_size=12), st.binary(min_size=250, max_size=260)), max_size=8))
@example(names=[b"\x01A\0"])
@example(names=[b"\x40" + b"a" * 64 + b"\0"])
def test_names_are_checked(names: list[bytes]) -> None:
    block = NameBlock.of(map(Name, names))
    expected = next((problem for problem in map(problem_of, names) if problem), 0)
    assert tapir.kernels.columns.check(block.data, memoryview(block.offsets).cast("I")) == expected


@given(steps=st.lists(st.lists(st.tuples(st.sampled_from([b"\0", b"\1a\0", b"\1b\0"]), st.integers(1, 3)), max_size=3)))
def test_steps_come_to_what_a_dict_says(steps: list[list[tuple[bytes, int]]]) -> None:
    parts = [RecordBlock.of((Name(name), Action(action)) for name, action in step) for step in steps]
    before: dict[bytes, int] = {}
    now: dict[bytes, int] = {}
    fits = True
    for number, step in enumerate(steps):
        for name, action in step:
            wanted = 0 if number & 1 else action
            before.setdefault(name, wanted)
            fits = fits and now.get(name, before[name]) == wanted
            now[name] = action if number & 1 else 0
    names, adds, actions = steps_of(parts)
    changes, misfit = net_of(names, adds, actions, order_of(names))
    assert (misfit is None) == fits
    if fits:
        found = {name: (old, new) for name, old, new in zip(changes.names, changes.before, changes.after, strict=True)}
        assert found == {name: (before[name], now[name]) for name in before}
        assert is_ordered(changes.names)


@given(
    data=st.binary(max_size=60),
    offsets=st.lists(st.integers(0, 80) | st.just(0xFFFFFFFF), min_size=1, max_size=8),
    octets=st.binary(max_size=8),
)
@example(data=b"", offsets=[0, 0xFFFFFFFF, 0xFFFFFFFF], octets=b"")
def test_broken_columns_raise_and_reach_no_further(data: bytes, offsets: list[int], octets: bytes) -> None:
    """Nothing of ours hands such to a kernel; were it to, the process must go on."""
    places = memoryview(b"".join(offset.to_bytes(4, "little") for offset in offsets)).cast("I")
    numbers = memoryview(bytearray(64)).cast("I")
    out = memoryview(bytearray(64))
    calls = (
        lambda: tapir.kernels.order.disorder(data, places, scratch()),
        lambda: tapir.kernels.order.weave(data, places, len(offsets) // 2, numbers, scratch()),
        lambda: tapir.kernels.order.key_octets(data, places),
        lambda: tapir.kernels.order.make_keys(data, places, scratch(), out, numbers),
        lambda: tapir.kernels.columns.check(data, places),
        lambda: tapir.kernels.columns.take(data, places, places, out, numbers),
        lambda: tapir.kernels.columns.net(data, places, places, octets, octets, numbers, out, out),
        lambda: tapir.kernels.columns.amend(
            data, places, octets, data, places, octets, octets, out, numbers, memoryview(bytearray(16)), scratch()
        ),
    )
    for call in calls:
        try:
            call()
        except (IndexError, ValueError, OverflowError):
            continue


@given(
    labels=st.lists(
        st.sampled_from([b"a", b"abcdefg", b"ab", b"\0", b"\1", b"\0\0\0\0", b"abc\0", b"z" * 63]), max_size=4
    ),
    children=st.permutations([b"a", b"\0", b"\1", b"abcdefg", b"b" * 7]),
)
def test_a_name_comes_before_those_below_it_wherever_its_key_ends(labels: list[bytes], children: list[bytes]) -> None:
    parent = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    names = [bytes((len(child),)) + child + parent for child in children]
    given_names = [Name(name) for name in (*names, parent, *names[:2], parent) if len(name) <= 255]
    block = NameBlock.of(given_names)
    expected = sorted(range(len(given_names)), key=lambda number: order_key(given_names[number]))
    assert order_of(block).tolist() == expected
