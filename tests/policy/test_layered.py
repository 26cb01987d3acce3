"""A list in layers is a dictionary, however often it is changed and whenever it is written out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.names import Name, parse_name
from tapir.policy import layered
from tapir.policy.difference import difference
from tapir.policy.layered import LayeredList

NAMES = st.sampled_from([parse_name(f"{a}{b}.example") for a in "abc" for b in ("", "0", "00", "\\255")])
CONTENTS = st.dictionaries(NAMES, st.sampled_from([0, 1, 5]), max_size=12)


def changed(before: LayeredList, removed: set[Name], upserted: dict[Name, int]) -> LayeredList:
    after, told = before.changed(NameBlock.of(removed), ListBlock.of(upserted.items()))
    wanted = difference(before.flat(), after.flat())
    assert list(told.removed) == list(wanted.removed)
    assert list(told.upserted) == list(wanted.upserted)
    return after


class LayeredMachine(RuleBasedStateMachine):
    """One list, and the dictionary that it should be."""

    @initialize(entries=CONTENTS)
    def begin(self, entries: dict[Name, int]) -> None:
        self.held = dict(entries)
        self.list = LayeredList.of(ListBlock.of(entries.items()))

    @rule(removed=st.sets(NAMES, max_size=4), upserted=CONTENTS)
    def change(self, removed: set[Name], upserted: dict[Name, int]) -> None:
        before = self.list
        kept = list(before.flat())
        self.list = changed(before, removed, upserted)
        assert list(before.flat()) == kept
        for name in removed:
            self.held.pop(name, None)
        self.held.update(upserted)

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        if hasattr(self, "list"):
            assert list(self.list.flat()) == sorted(self.held.items())
            assert len(self.list) == len(self.held)


@pytest.mark.parametrize("least", [0, 3, 4096])
def test_a_layered_list_is_a_dictionary(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layered, "_LEAST", least)
    run_state_machine_as_test(LayeredMachine, settings=settings(max_examples=40, stateful_step_count=15))


@given(CONTENTS)
def test_what_changes_nothing_is_the_same_list(entries: dict[Name, int]) -> None:
    before = LayeredList.of(ListBlock.of(entries.items()))
    after, told = before.changed(NameBlock.of([parse_name("other.example")]), before.flat())
    assert after is before
    assert not told


def test_a_list_shows_its_size_and_no_name() -> None:
    held = LayeredList.of(ListBlock.of([(parse_name("secret.example"), 0)]))
    assert repr(held) == "<LayeredList of 1 names, 0 changed>"
