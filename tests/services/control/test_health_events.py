import attrs

from tapir.model.actions import ListKind
from tapir.model.messages.events import ClearEvent, EventKind, RaiseEvent
from tapir.model.messages.lists import SourcesStatus, SourceStatus
from tapir.model.messages.zone import ZoneStatus
from tapir.services.control.health_events import HeldBack

ZONE = ZoneStatus(
    zone="dnstapir.",
    serial=7,
    records=2,
    published_at=1,
    journal_from=1,
    journal_deltas=1,
    journal_octets=10,
    state="serving",
    held_change=None,
    store_error="",
)
SOURCE = SourceStatus(
    id="deny",
    name="deny",
    kind=ListKind.DENY,
    origin="file",
    active=True,
    required=True,
    state="fresh",
    names=2,
    pending_names=None,
    loaded_at=1,
    checked_at=1,
    refusals=(),
    error="",
)
FREE = ClearEvent(kind=EventKind.SOURCE_HELD, subject="deny")
SERVED = ClearEvent(kind=EventKind.ZONE_HELD, subject="dnstapir.")


def sources(*each: SourceStatus) -> SourcesStatus:
    return SourcesStatus(sources=each, publishing=True, waiting_for=())


def test_the_first_look_clears_what_an_earlier_process_raised():
    held_back, news = HeldBack().look(ZONE, sources(SOURCE))
    assert set(news) == {FREE, SERVED}
    assert held_back.look(ZONE, sources(SOURCE))[1] == ()


def test_who_does_not_answer_changes_nothing():
    held_back, news = HeldBack().look(None, None)
    assert news == ()
    held = attrs.evolve(SOURCE, state="held", error="shrinks")
    held_back, _ = held_back.look(ZONE, sources(held))
    assert held_back.look(None, None) == (held_back, ())


def test_a_source_is_held_and_let_go():
    held_back, _ = HeldBack().look(ZONE, sources(SOURCE))
    held_back, (raised,) = held_back.look(
        ZONE, sources(attrs.evolve(SOURCE, state="held", error="shrinks from 9 to 1 names"))
    )
    assert isinstance(raised, RaiseEvent)
    assert (raised.kind, raised.subject) == (EventKind.SOURCE_HELD, "deny")
    assert "it shrinks from 9 to 1 names" in raised.text
    assert "tapir accept deny" in raised.text
    more = attrs.evolve(SOURCE, state="held", error="shrinks from 9 to 0 names")
    held_back, news = held_back.look(ZONE, sources(more))
    assert news == ()  # it is held as before
    assert held_back.look(ZONE, sources(SOURCE))[1] == (FREE,)
    assert held_back.look(ZONE, sources())[1] == (FREE,)


def test_the_zone_is_held_by_the_brake_and_not_by_the_operator():
    held_back, _ = HeldBack().look(ZONE, sources())
    assert held_back.look(attrs.evolve(ZONE, state="held", held_change=(9, 1)), sources())[1] == ()
    held_back, (raised,) = held_back.look(attrs.evolve(ZONE, state="braked", held_change=(9, 1)), sources())
    assert isinstance(raised, RaiseEvent)
    assert raised.kind is EventKind.ZONE_HELD
    assert "-9 +1 records" in raised.text
    assert held_back.look(ZONE, sources())[1] == (SERVED,)
