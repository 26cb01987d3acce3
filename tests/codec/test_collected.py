"""What is left of observations that were gathered one by one."""

from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.collected import CollectedObservations
from tapir.model.names import Name, parse_name

NAMES = st.sampled_from([parse_name(text) for text in (".", "a.", "a.example.", "b.example.", "aa.example.")])
ENTRIES = st.lists(st.tuples(NAMES, st.integers(0, 2**32 - 1), st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1)))


@given(ENTRIES)
def test_each_name_once_and_as_it_was_observed_last(entries: list[tuple[Name, int, int, int]]) -> None:
    collected = CollectedObservations()
    expected: dict[Name, tuple[Name, int, int, int]] = {}
    for entry in entries:
        collected.add(*entry)
        if entry[0] not in expected or expected[entry[0]][2] <= entry[2]:
            expected[entry[0]] = entry
    assert len(collected) == len(entries)
    found = collected.done()
    assert len(found) == len(expected)
    assert {entry[0]: entry for entry in found} == expected


def test_without_repeats_the_order_stays() -> None:
    collected = CollectedObservations()
    names = [parse_name(f"{text}.example.") for text in ("c", "a", "b")]
    for number, name in enumerate(names):
        collected.add(name, number, -number, number)
    assert [*collected.done()] == [(name, number, -number, number) for number, name in enumerate(names)]
