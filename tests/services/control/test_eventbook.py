import uuid

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.messages.events import EventKind
from tapir.services.control.eventbook import (
    KEPT,
    LASTING,
    MAX_TEXT,
    EventBook,
    News,
    make_id,
    pack_events,
    restore_events,
)

HELD = EventKind.SOURCE_HELD


@given(now=st.integers(0, 2**48 * 1000 - 1), randomness=st.binary(min_size=10, max_size=10))
def test_an_id_is_a_uuid_of_version_7_and_tells_its_time(now: int, randomness: bytes):
    number = uuid.UUID(make_id(now, randomness))
    assert (number.version, number.variant) == (7, uuid.RFC_4122)
    assert number.int >> 80 == now // 1000
    assert str(number) == make_id(now, randomness)


def test_ids_sort_by_time():
    ids = [make_id(second * 1_000_000, b"\xff" * 10) for second in range(1_700_000_000, 1_700_000_100)]
    assert ids == sorted(ids)


def test_an_event_lasts_until_it_is_cleared_and_the_next_is_another():
    book, first, news = EventBook().raise_event(HELD, "deny", "it shrinks", new_id="1", now=10)
    assert news is News.NEW
    same, known, news = book.raise_event(HELD, "deny", "it shrinks", new_id="2", now=11)
    assert same is book
    assert (known, news) == (first, News.KNOWN)
    book, reworded, news = book.raise_event(HELD, "deny", "it shrinks more", new_id="3", now=12)
    assert (reworded, news) == (attrs.evolve(first, text="it shrinks more"), News.REWORDED)
    book, over = book.clear(reworded, now=13)
    assert over.cleared_at == 13
    assert book.find(HELD, "deny") is None
    book, second, news = book.raise_event(HELD, "deny", "it shrinks", new_id="4", now=14)
    assert (second.id, news) == ("4", News.NEW)
    assert book.newest_first == (second, over)
    assert book.lasting == (second,)


def test_kinds_and_subjects_are_apart():
    book = EventBook()
    for number, (kind, subject) in enumerate(((HELD, "a"), (HELD, "b"), (EventKind.SOURCE_EXPIRED, "a"))):
        book, _, news = book.raise_event(kind, subject, "", new_id=str(number), now=number)
        assert news is News.NEW
    assert len(book.lasting) == 3


def test_a_clock_that_was_set_back_ends_no_event_before_it_began():
    book, event, _ = EventBook().raise_event(HELD, "a", "", new_id="1", now=100)
    _, over = book.clear(event, now=50)
    assert over.cleared_at == 100


def test_what_is_kept_is_bounded():
    book = EventBook()
    for number in range(KEPT + 5):
        book, event, _ = book.raise_event(HELD, "a", "", new_id=str(number), now=number)
        book, _ = book.clear(event, now=number)
    assert [event.id for event in book] == [str(number) for number in range(5, KEPT + 5)]
    for number in range(LASTING + 5):
        book, _, _ = book.raise_event(HELD, f"source {number}", "x" * 5000, new_id=f"l{number}", now=number)
    assert len(book.lasting) == LASTING
    assert len(book.events) == LASTING + KEPT
    assert all(len(event.text) <= MAX_TEXT for event in book)


def test_a_long_subject_is_found_again():
    book, event, _ = EventBook().raise_event(HELD, "x" * 3000, "", new_id="1", now=1)
    assert book.find(HELD, "x" * 3000) == event


@given(st.lists(st.tuples(st.sampled_from(EventKind), st.text(max_size=3), st.booleans()), max_size=20))
def test_a_book_comes_back_as_it_was_stored(steps: list[tuple[EventKind, str, bool]]):
    book = EventBook()
    for number, (kind, subject, over) in enumerate(steps):
        book, event, _ = book.raise_event(kind, subject, subject, new_id=str(number), now=number)
        if over:
            book, _ = book.clear(event, now=number)
    restored = restore_events(pack_events(book))
    assert restored.events == book.events
    assert restored.unconfirmed == {event.id for event in book.lasting}


def test_what_lasted_is_the_same_event_when_it_is_said_again():
    book, event, _ = EventBook().raise_event(HELD, "a", "text", new_id="1", now=1)
    restored = restore_events(pack_events(book))
    again, same, news = restored.raise_event(HELD, "a", "text", new_id="2", now=9)
    assert (same, news) == (event, News.AGAIN)
    assert not again.unconfirmed
    assert again.raise_event(HELD, "a", "text", new_id="3", now=9)[2] is News.KNOWN
    over, _ = restored.clear(event, now=5)
    assert not over.unconfirmed


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"events": 3},
        {"events": [3]},
        {"events": [{"kind": "source-held"}]},
        {"events": [{"id": 1, "kind": "source-held", "subject": "", "text": "", "at": 1, "cleared_at": None}]},
        {"events": [{"id": "", "kind": "source-held", "subject": "", "text": "", "at": True, "cleared_at": None}]},
    ],
)
def test_a_document_that_is_none_is_refused(document: dict[str, object]):
    with pytest.raises(ValueError, match="no document of events"):
        restore_events(document)


def test_a_kind_of_another_version_is_left_out():
    entry = {"id": "1", "kind": "of-later", "subject": "", "text": "", "at": 1, "cleared_at": None}
    assert restore_events({"events": [entry]}).events == ()
