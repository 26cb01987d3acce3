from hypothesis import given
from hypothesis import strategies as st

from tapir.model.blocks import ListBlock
from tapir.model.names import Name
from tapir.policy.difference import difference

# Few octets, NUL among them, so that names meet and differ only where a string type would not look.
LABELS = st.lists(st.sampled_from([0, 97, 98]), min_size=1, max_size=3).map(
    lambda octets: bytes((len(octets), *octets))
)
NAMES = st.lists(LABELS, max_size=2).map(lambda labels: Name(b"".join(labels) + b"\0"))
CONTENTS = st.dictionaries(NAMES, st.sampled_from([0, 1, 5]), max_size=12)


@given(before=CONTENTS, after=CONTENTS)
def test_the_difference_is_that_of_dictionaries(before: dict[Name, int], after: dict[Name, int]) -> None:
    found = difference(ListBlock.of(before.items()), ListBlock.of(after.items()))
    removed = list(found.removed)
    upserted = list(found.upserted)
    assert sorted(removed) == sorted(before.keys() - after.keys())
    assert sorted(upserted) == sorted((name, tags) for name, tags in after.items() if before.get(name) != tags)
    assert bool(found) is (before != after)


@given(st.lists(st.tuples(NAMES, st.sampled_from([0, 1])), max_size=8), CONTENTS)
def test_of_a_name_said_twice_the_last_entry_counts(entries: list[tuple[Name, int]], before: dict[Name, int]) -> None:
    found = difference(ListBlock.of(before.items()), ListBlock.of(entries))
    after = dict(entries)
    assert sorted(found.upserted) == sorted((name, tags) for name, tags in after.items() if before.get(name) != tags)
    assert sorted(found.removed) == sorted(before.keys() - after.keys())
