"""What the lists of a feed hold, and what changes of them, against the same done rule by rule."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.transfer import RecordKind
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.names import format_name, parse_name
from tapir.services.sources import feedcontent
from tapir.services.sources.feedcontent import MisfitError, between, canonical, source_ids
from tapir.services.sources.feedstate import FeedIdentity, confirmed, content_of, restored, taken
from tapir.store.feeds import StoredFeed
from tapir.zone.collecting import OpaqueDelta
from tapir.zone.inbound import Transferred
from tapir.zone.schedule import Timers

SAID = [action for action in Action if action not in {Action.NONE, Action.REDIRECT}]
NAMES = [f"{prefix}n{i}.example" for i in range(6) for prefix in ("", "*.", "a.")] + ["com", "example"]
RULES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(SAID), max_size=20)
KINDS = st.sampled_from(ListKind)
TIMERS = Timers(refresh=1, retry=2, expire=3, minimum=4)


def identity(kind: ListKind) -> FeedIdentity:
    return FeedIdentity(source="feed", zone=parse_name("feed.example"), kind=kind, output=parse_name("rpz.example"))


def block(rules: Mapping[str, Action]) -> RecordBlock:
    return RecordBlock.of((parse_name(name), action) for name, action in rules.items())


def transferred(serial: int, *, content=None, delta=None, others=None) -> Transferred:
    return Transferred(
        serial=serial,
        timers=TIMERS,
        held=None,
        content=None if content is None else tuple(content),
        delta=delta,
        opaque=OpaqueDelta(),
        counts={},
        unevaluated=others or {},
        octets=0,
    )


def expected(rules: dict[str, Action], kind: ListKind) -> dict[str, set[str]]:
    passing, suspect = source_ids("feed", kind)
    found: dict[str, set[str]] = {passing: set(), suspect: set()}
    for name, action in rules.items():
        target = passing if action is Action.PASSTHRU else suspect
        if name in {"com", "example"} and target == suspect:
            continue  # too broad to block
        found[target].add(format_name(parse_name(name)))
    return found


def said(lists) -> dict[str, set[str]]:
    return {source: {format_name(name) for name in names} for source, names in lists.items()}


def rules_in(parts) -> dict[str, Action]:
    return {format_name(name).rstrip("."): action for part in parts for name, action in part}


@given(st.lists(RULES, min_size=1, max_size=3), KINDS)
def test_a_whole_feed_is_sorted_out_and_the_last_rule_of_a_name_counts(contents, kind):
    feed = identity(kind)
    done = taken(None, transferred(1, content=map(block, contents)), feed, primary="p", epoch="e", now=5)
    merged: dict[str, Action] = {}
    for content in contents:
        merged |= content
    assert rules_in(done.held.parts) == merged
    content = content_of(done.held, feed)
    assert said(content.lists) == expected(merged, kind)
    for names in content.lists.values():
        assert list(names) == sorted(names)
    assert dict(done.held.standing.refused) == dict(content.refused)


@given(st.lists(st.tuples(RULES, st.booleans()), min_size=2, max_size=5), KINDS)
def test_steps_lead_from_the_lists_before_to_the_lists_after(versions, kind):
    feed = identity(kind)
    (first, _), *rest = versions
    held = taken(None, transferred(1, content=[block(first)]), feed, primary="p", epoch="e0", now=5).held
    lists = said(content_of(held, feed).lists)
    before = first
    for serial, (after, whole) in enumerate(rest, 2):
        if whole:
            result = transferred(serial, content=[block(after)])
        else:
            removed = {name: action for name, action in before.items() if after.get(name) != action}
            added = {name: action for name, action in after.items() if before.get(name) != action}
            result = transferred(serial, delta=RecordDelta(removed=block(removed), added=block(added)))
        done = taken(held, result, feed, primary="p", epoch=f"e{serial}", now=6)
        for source, step in done.steps.items():
            gone, come = set(map(format_name, step.removed)), set(map(format_name, step.added))
            assert gone <= lists[source]
            assert not come & lists[source]
            lists[source] = lists[source] - gone | come
        for source in lists:
            assert (done.held.digests[source] != held.digests[source]) == (source in done.steps)
        held, before = done.held, after
        assert rules_in(held.parts) == after
        assert lists == expected(after, kind)
        assert dict(held.standing.refused) == dict(content_of(held, feed).refused)


@pytest.mark.parametrize("little", [0, 1000])
@given(before=RULES, after=RULES)
def test_the_difference_between_two_feeds_is_the_least(little, before, after):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feedcontent, "_LITTLE", little)
        delta = between(canonical([block(before)]), canonical([block(after)]))
    assert rules_in([delta.removed]) == {name: action for name, action in before.items() if after.get(name) != action}
    assert rules_in([delta.added]) == {name: action for name, action in after.items() if before.get(name) != action}


@pytest.mark.parametrize("size", [1, 3, 7])
def test_pieces_make_no_difference(monkeypatch, size):
    monkeypatch.setattr(feedcontent, "_PIECE", size)
    rules = {f"n{i}.example": SAID[i % 3] for i in range(20)}
    feed = identity(ListKind.DENY)
    held = taken(None, transferred(1, content=[block(rules)]), feed, primary="p", epoch="e", now=5).held
    assert all(len(part) <= size for part in held.parts)
    gone = {name: rules.pop(name) for name in ("n3.example", "n4.example", "n19.example")}
    come = {"aa.example": Action.DROP, "zz.example": Action.NXDOMAIN}
    delta = RecordDelta(removed=block(gone), added=block(come))
    held = taken(held, transferred(2, delta=delta), feed, primary="p", epoch="e", now=5).held
    assert rules_in(held.parts) == rules | come


@pytest.mark.parametrize(
    "delta",
    [
        RecordDelta(removed=block({"b.example": Action.DROP})),
        RecordDelta(removed=block({"a.example": Action.NODATA})),
        RecordDelta(added=block({"a.example": Action.NODATA})),
    ],
)
def test_a_difference_that_does_not_fit_is_told(delta):
    feed = identity(ListKind.DENY)
    content = [block({"a.example": Action.DROP})]
    held = taken(None, transferred(1, content=content), feed, primary="p", epoch="e", now=5).held
    with pytest.raises(MisfitError):
        taken(held, transferred(2, delta=delta), feed, primary="p", epoch="e", now=5)


def test_a_whole_feed_under_the_same_serial_has_other_digests_where_it_differs():
    feed = identity(ListKind.DENY)
    one = {"a.example": Action.DROP, "ok.example": Action.PASSTHRU}
    held = taken(None, transferred(1, content=[block(one)]), feed, primary="p", epoch="e", now=5).held
    two = {"b.example": Action.DROP, "ok.example": Action.PASSTHRU}
    done = taken(held, transferred(1, content=[block(two)]), feed, primary="p", epoch="f", now=5)
    assert done.delta is None  # the store writes it anew
    assert done.held.digests["feed"] != held.digests["feed"]
    assert done.held.digests["feed:allow"] == held.digests["feed:allow"]


def test_what_is_not_evaluated_is_counted_anew_with_a_whole_transfer():
    feed = identity(ListKind.DENY)
    held = taken(
        None, transferred(1, content=[], others={RecordKind.RPZ_IP: 4}), feed, primary="p", epoch="e", now=5
    ).held
    assert held.standing.unevaluated == (("rpz_ip", 4),)
    more = transferred(2, delta=RecordDelta(), others={RecordKind.RPZ_IP: -3, RecordKind.LOCAL_DATA: 2})
    held = taken(held, more, feed, primary="p", epoch="e", now=5).held
    assert held.standing.unevaluated == (("local_data", 2), ("rpz_ip", 1))
    held = taken(
        held, transferred(3, content=[], others={RecordKind.RPZ_NSIP: 1}), feed, primary="p", epoch="e", now=5
    ).held
    assert held.standing.unevaluated == (("rpz_nsip", 1),)


def test_what_was_stored_is_of_this_feed_or_of_none():
    feed = identity(ListKind.DENY)
    held = taken(None, transferred(1, content=[]), feed, primary="p", epoch="e", now=5).held
    stored = StoredFeed(standing=held.standing, parts=held.parts)
    same = restored(stored, feed)
    assert same is not None
    assert same.standing == held.standing
    other_kind = restored(stored, identity(ListKind.DOUBT))
    assert other_kind is not None
    assert set(other_kind.digests.values()).isdisjoint(held.digests.values())
    allow = restored(stored, identity(ListKind.ALLOW))
    assert allow is not None
    assert set(allow.digests) == {"feed", "feed:doubt"}
    elsewhere = FeedIdentity(source="feed", zone=parse_name("x.example"), kind=ListKind.DENY, output=parse_name("r."))
    assert restored(stored, elsewhere) is None


def test_who_vouches_for_it_is_remembered():
    feed = identity(ListKind.DENY)
    held = taken(None, transferred(1, content=[]), feed, primary="p", epoch="e", now=5).held
    again = confirmed(held, primary="q", now=9)
    assert (again.standing.refreshed_at, again.standing.changed_at, again.standing.primary) == (9, 5, "q")
