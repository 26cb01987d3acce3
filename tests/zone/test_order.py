import random
from itertools import pairwise

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.columns import is_ordered, order_of, taken
from tapir.model.blocks import NameBlock
from tapir.model.names import ROOT, Name, canonical_key, is_below, parse_name
from tapir.zone.order import order_key

ODD = st.sampled_from([b"\0", b"\1", b"\2", b"a", b"*", b"\0a", b"\1\1", b"\1\2", b"ab", b"\0\0", b"\xff"])
NAMES = st.lists(st.one_of(ODD, st.binary(min_size=1, max_size=4)), max_size=5).map(
    lambda labels: Name(dns.name.Name([*labels, b""]).to_digestable())
)


@given(left=NAMES, right=NAMES)
def test_keys_stand_in_canonical_order(left, right):
    assert (order_key(left) < order_key(right)) == (canonical_key(left) < canonical_key(right))
    assert (order_key(left) == order_key(right)) == (left == right)


@given(name=NAMES, other=NAMES)
def test_a_subtree_is_what_begins_with_the_key(name, other):
    below = Name(other[:-1] + name)
    assert order_key(below).startswith(order_key(name))
    assert order_key(other).startswith(order_key(name)) == (other == name or name == ROOT or is_below(other, name))


def test_the_order_of_rfc_4034():
    texts = [  # §6.1
        "example.",
        "a.example.",
        "yljkjljk.a.example.",
        "Z.a.example.",
        "zABC.a.EXAMPLE.",
        "z.example.",
        "\\001.z.example.",
        "*.z.example.",
        "\\200.z.example.",
    ]
    names = [Name(dns.name.from_text(text).to_digestable()) for text in texts]
    assert sorted(random.Random(1).sample(names, len(names)), key=order_key) == names


@pytest.mark.parametrize("count", [0, 1, 2048, 2049, 10_000])
@pytest.mark.parametrize("given_order", ["random", "sorted", "reversed", "equal"])
def test_blocks_come_in_order_whatever_their_size(count, given_order):
    shuffler = random.Random(count)
    names = [parse_name(f"n{shuffler.randrange(10**6)}.d{shuffler.randrange(50)}.example") for _ in range(count)]
    if given_order != "random":
        names.sort(key=order_key, reverse=given_order == "reversed")
    if given_order == "equal":
        names = names[:1] * count
    expected = sorted(range(count), key=lambda index: (order_key(names[index]), index))
    block = NameBlock.of(names)
    assert order_of(block).tolist() == expected
    assert list(taken(block, order_of(block))) == [names[index] for index in expected]
    keys = [order_key(name) for name in names]
    assert is_ordered(block) == all(left < right for left, right in pairwise(keys))


@given(names=st.lists(NAMES, max_size=40), first=st.integers(0, 3))
def test_any_names_are_sorted_as_by_their_keys(names, first):
    """Also those of a block that is a window on a longer one."""
    whole = NameBlock.of(names)
    block = NameBlock(data=whole.data, offsets=whole.offsets[4 * first :]) if first <= len(names) else whole
    names = list(block)
    assert order_of(block).tolist() == sorted(range(len(names)), key=lambda index: (order_key(names[index]), index))
    keys = [order_key(name) for name in names]
    assert is_ordered(block) == all(left < right for left, right in pairwise(keys))
    assert list(taken(block, order_of(block))) == sorted(names, key=order_key)
