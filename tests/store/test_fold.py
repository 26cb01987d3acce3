"""Folding changes into a block says what applying them one by one to a dict says."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.columns import joined_records
from tapir.model.actions import Action
from tapir.model.blocks import ListBlock, NameBlock, RecordBlock, RecordDelta
from tapir.model.names import Name, parse_name
from tapir.store.blobs import BlobError
from tapir.store.fold import fold_list, fold_records

# Few names, so that changes meet; some that differ in one octet or in their length only.
NAMES = [parse_name(text) for text in (".", "a", "b", "ab", "ba", "a.b", "b.a", "a.a.a", "x" * 63 + ".example")]
ENTRIES = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2**32 - 1) | st.just(0))
CHANGES = st.lists(st.tuples(st.sets(st.sampled_from(NAMES)), ENTRIES), max_size=6)
RECORDS = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([action for action in Action if action is not Action.NONE])
)


@given(ENTRIES, CHANGES)
def test_a_list_folds_like_a_dict(base: dict[Name, int], changes: list[tuple[set[Name], dict[Name, int]]]) -> None:
    expected = dict(base)
    for removed, upserted in changes:
        for name in removed:
            expected.pop(name, None)
        expected.update(upserted)
    folded = fold_list(
        ListBlock.of(base.items()),
        [(NameBlock.of(removed), ListBlock.of(upserted.items())) for removed, upserted in changes],
    )
    assert dict(folded) == expected
    assert len(folded) == len(expected)


@given(st.lists(RECORDS, min_size=1, max_size=6))
def test_records_fold_like_a_dict(versions: list[dict[Name, Action]]) -> None:
    deltas = [
        RecordDelta(
            removed=RecordBlock.of((name, action) for name, action in old.items() if new.get(name) != action),
            added=RecordBlock.of((name, action) for name, action in new.items() if old.get(name) != action),
        )
        for old, new in itertools.pairwise(versions)
    ]
    folded = joined_records(fold_records([RecordBlock.of(versions[0].items())], deltas))
    assert dict(folded) == versions[-1]
    assert len(folded) == len(versions[-1])


def one(text: str, action: Action = Action.NXDOMAIN) -> RecordBlock:
    return RecordBlock.of([(parse_name(text), action)])


@pytest.mark.parametrize(
    "delta",
    [
        RecordDelta(removed=one("other.example")),
        RecordDelta(added=one("a.example", Action.DROP)),
        RecordDelta(removed=one("a.example", Action.DROP)),
    ],
    ids=["removes what is not there", "adds what is there", "removes another action"],
)
def test_a_delta_that_does_not_fit_is_noticed(delta: RecordDelta) -> None:
    with pytest.raises(BlobError, match="delta"):
        fold_records([one("a.example")], [delta])


def test_a_name_that_is_twice_in_the_base_is_noticed() -> None:
    twice = RecordBlock.of([(NAMES[1], Action.DROP)] * 2)
    once = RecordBlock.of([(NAMES[1], Action.DROP)])
    for base in ([twice], [once, once], [once, RecordBlock.of([(NAMES[2], Action.DROP)]), once]):
        with pytest.raises(BlobError, match="there twice"):
            fold_records(base, [RecordDelta()])


def test_a_folded_list_is_in_order_whatever_the_base_is() -> None:
    base = ListBlock.of([(NAMES[4], 0), (NAMES[2], 0), (NAMES[3], 0), (NAMES[4], 7)])
    folded = fold_list(base, [(NameBlock.of([NAMES[2]]), ListBlock.of([(NAMES[1], 0), (NAMES[2], 0)]))])
    assert list(folded) == [(NAMES[1], 0), (NAMES[2], 0), (NAMES[3], 0), (NAMES[4], 7)]
    assert list(fold_list(base, [])) == [(NAMES[2], 0), (NAMES[3], 0), (NAMES[4], 7)]
