import attrs
import pytest

from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock
from tapir.services.evaluator.roster import SourceContent, SourceSettings, SourceState, judge_gate

CONTENT = SourceContent(block=ListBlock.of(()), digest="d", refusals=(), loaded_at=1)


def source(
    name: str,
    kind: ListKind = ListKind.DENY,
    *,
    content: bool = False,
    active: bool = True,
    required: bool = True,
    supported: bool = True,
) -> SourceState:
    settings = SourceSettings(id=name, name=name, kind=kind, active=active, required=required, supported=supported)
    return SourceState(settings=settings, content=CONTENT if content else None)


@pytest.mark.parametrize(
    ("state", "before_deadline", "after_deadline", "named"),
    [
        (source("s", content=True), True, True, False),
        (source("s"), False, True, True),
        (source("s", required=False), False, True, True),
        (source("s", active=False), True, True, False),
        (source("s", supported=False), True, True, False),
        (source("s", ListKind.ALLOW, content=True), True, True, False),
        (source("s", ListKind.ALLOW), False, False, True),
        (source("s", ListKind.ALLOW, required=False), False, True, True),
        (source("s", ListKind.ALLOW, supported=False), False, False, True),
        (source("s", ListKind.ALLOW, active=False), True, True, False),
    ],
)
def test_the_gate(state: SourceState, before_deadline: bool, after_deadline: bool, named: bool) -> None:
    others = (source("a", content=True), source("b", ListKind.ALLOW, content=True))
    for deadline_passed, publish in ((False, before_deadline), (True, after_deadline)):
        gate = judge_gate((*others, state), deadline_passed=deadline_passed)
        assert gate.publish is publish
        assert gate.waiting_for == (("s",) if named else ())


def test_no_sources_at_all_is_an_empty_zone_and_not_a_wait() -> None:
    assert judge_gate((), deadline_passed=False).publish


def test_the_words_of_a_source() -> None:
    state = source("s")
    assert state.word == "waiting"
    state = attrs.evolve(state, content=CONTENT)
    assert state.word == "restored"
    state = attrs.evolve(state, confirmed=True)
    assert state.word == "fresh"
    state = attrs.evolve(state, error="gone")
    assert state.word == "stale"
    assert attrs.evolve(state, pending=CONTENT).word == "held"
    assert source("s", supported=False).word == "unsupported"
    assert source("s", supported=False, active=False).word == "inactive"


def test_a_status_says_everything_that_is_wrong() -> None:
    state = attrs.evolve(
        source("s", content=True), pending=CONTENT, held_because="shrinks", error="no such file", saved=False
    )
    status = state.status(store_error="disk full")
    assert status.error == "no such file; shrinks; in effect, but not saved: disk full"
    assert (status.state, status.names, status.pending_names, status.loaded_at) == ("held", 0, 0, 1)
