import attrs
import pytest

from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock
from tapir.model.names import Name
from tapir.services.evaluator.brake import BrakeSettings
from tapir.services.evaluator.roster import (
    Reaction,
    SourceContent,
    SourceSettings,
    SourceState,
    accept_pending,
    judge_gate,
    reconfigure,
    take_content,
    waive_missing,
)

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
    for states, publish in (
        ((*others, state), before_deadline),
        (waive_missing((*others, state)), after_deadline),
    ):
        gate = judge_gate(states)
        assert gate.publish is publish
        assert gate.waiting_for == (("s",) if named else ())


@pytest.mark.parametrize(
    ("kind", "content", "waits"),
    [(ListKind.ALLOW, True, True), (ListKind.ALLOW, False, False), (ListKind.DENY, True, False)],
)
def test_an_allowlist_that_is_read_in_another_way_is_waited_for(kind: ListKind, content: bool, waits: bool) -> None:
    before = attrs.evolve(source("s", kind, content=content, required=False), confirmed=True, waived=True)
    read_anew = attrs.evolve(before.settings, reading=("subtree",))
    (same,), _ = reconfigure([before], [before.settings])
    assert judge_gate([same]).publish
    (after,), _ = reconfigure([before], [read_anew])
    assert judge_gate([after]).publish is not waits
    (again,), _ = reconfigure([after], [read_anew])
    assert again.outdated is after.outdated is waits
    assert judge_gate(waive_missing([after])).publish
    said, _ = take_content(after, CONTENT, brake=BrakeSettings())
    assert judge_gate([said]).publish
    (later,), _ = reconfigure([said], [read_anew])
    assert judge_gate([later]).publish


def test_no_sources_at_all_is_an_empty_zone_and_not_a_wait() -> None:
    assert judge_gate(()).publish


def test_sources_that_this_version_cannot_hear_leave_the_secondaries_what_they_have() -> None:
    mqtt = source("tapir1", supported=False)
    gate = judge_gate((mqtt, source("off", active=False)))
    assert (gate.publish, gate.blocking, gate.waiting_for) == (False, ("tapir1",), ("tapir1",))
    assert judge_gate((mqtt, source("list", content=True))).publish


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


def content(digest: str, names: int = 0) -> SourceContent:
    block = ListBlock.of((Name(b"\x04%04d\x00" % number), 0) for number in range(names))
    return SourceContent(block=block, digest=digest, refusals=(), loaded_at=2)


BRAKE = BrakeSettings(minimum=10)


def test_the_first_content_is_never_held_back() -> None:
    state, reaction = take_content(source("s"), content("a", 10_000), brake=BRAKE)
    assert reaction is Reaction.TAKEN
    assert state.word == "fresh"


def test_what_is_held_back_is_replaced_by_the_newest_and_by_what_is_within_limits() -> None:
    state, _ = take_content(source("s"), content("a", 20), brake=BRAKE)
    state, reaction = take_content(state, content("b", 2), brake=BRAKE)
    assert reaction is Reaction.HELD
    state, reaction = take_content(state, content("c", 3), brake=BRAKE)
    assert reaction is Reaction.HELD
    assert state.pending is not None
    assert state.content is not None
    assert (state.content.digest, state.pending.digest) == ("a", "c")
    assert state.held_because == "shrinks from 20 to 3 names, by more than 50%"
    accepted = accept_pending(state)
    assert accepted.content is state.pending
    assert (accepted.pending, accepted.held_because) == (None, "")
    state, reaction = take_content(state, content("d", 19), brake=BRAKE)
    assert reaction is Reaction.TAKEN
    assert state.pending is None


def test_saying_again_what_is_in_effect_clears_what_is_held_back() -> None:
    state, _ = take_content(source("s"), content("a", 20), brake=BRAKE)
    state, _ = take_content(state, content("b", 2), brake=BRAKE)
    state, reaction = take_content(state, content("a", 20), brake=BRAKE)
    assert reaction is Reaction.SAME
    assert (state.pending, state.held_because) == (None, "")


def test_a_source_of_another_kind_is_another_source() -> None:
    before = (source("a", content=True), source("b", content=True), source("c", content=True))
    wanted = (
        attrs.evolve(before[0].settings, name="other"),
        attrs.evolve(before[1].settings, kind=ListKind.ALLOW),
        source("d").settings,
    )
    after, gone = reconfigure(before, wanted)
    assert [(state.settings, state.content is not None) for state in after] == [
        (wanted[0], True),
        (wanted[1], False),
        (wanted[2], False),
    ]
    assert [settings.id for settings in gone] == ["b", "c"]


def test_nothing_waits_for_what_a_feed_says_by_the_way() -> None:
    feed = SourceSettings(id="feed", name="feed", kind=ListKind.DENY)
    aside = SourceSettings(
        id="feed:allow", name="allow_catchall", kind=ListKind.ALLOW, required=False, internal=True, derived=True
    )
    waiting = [SourceState(settings=feed), SourceState(settings=aside)]
    assert judge_gate(waiting).waiting_for == ("feed",)
    assert judge_gate([attrs.evolve(waiting[0], content=CONTENT), waiting[1]]).publish
    assert not judge_gate([waiting[0], attrs.evolve(waiting[1], content=CONTENT)]).publish
