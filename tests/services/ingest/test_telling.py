from typing import Any

import pytest

from actors import Delivery
from tapir.model.messages.events import ClearEvent, EventKind, RaiseEvent
from tapir.services.ingest.telling import HOUR, Telling

MINUTE = 60_000_000
LIST, DROPPED = EventKind.LIST_UNUSABLE, EventKind.EVENTS_DROPPED


class Keeper:
    """Takes what it has room for."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.answer = Delivery.DELIVERED

    def tell_nowait(self, message: Any) -> Delivery:
        if self.answer is Delivery.DELIVERED:
            self.heard.append(message)
        return self.answer

    def take(self) -> list[Any]:
        heard, self.heard = self.heard, []
        return heard


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def telling(keeper: Keeper) -> Telling:
    return Telling(keeper)  # type: ignore[arg-type]


def test_what_is_said_at_every_turn_is_told_when_it_changes(keeper: Keeper, telling: Telling):
    for text in ("", "", "it is cut off", "it is cut off", "it is gone", ""):
        telling.say(LIST, "a", text, now=0)
    assert keeper.take() == [
        ClearEvent(kind=LIST, subject="a"),
        RaiseEvent(kind=LIST, subject="a", text="it is cut off"),
        RaiseEvent(kind=LIST, subject="a", text="it is gone"),
        ClearEvent(kind=LIST, subject="a"),
    ]


def test_what_lasts_is_confirmed_now_and_then(keeper: Keeper, telling: Telling):
    telling.say(LIST, "a", "it is gone", now=0)
    telling.say(LIST, "b", "", now=0)
    keeper.take()
    telling.look(4 * MINUTE)
    assert keeper.take() == []
    telling.look(5 * MINUTE)
    telling.look(6 * MINUTE)
    assert keeper.take() == [RaiseEvent(kind=LIST, subject="a", text="it is gone")]
    telling.look(3 * MINUTE)  # the clock was set back
    assert len(keeper.take()) == 1


def test_what_happens_again_and_again_is_one_event_until_an_hour_after_the_last_time(keeper: Keeper, telling: Telling):
    telling.happened(DROPPED, "q", "3 were dropped", now=0)
    for minute in range(1, 60):
        telling.happened(DROPPED, "q", f"{minute} were dropped", now=minute * MINUTE)
        telling.look(minute * MINUTE)
    assert set(keeper.take()) == {RaiseEvent(kind=DROPPED, subject="q", text="3 were dropped")}
    telling.look(59 * MINUTE + HOUR - 1)
    assert not any(isinstance(each, ClearEvent) for each in keeper.take())
    telling.look(59 * MINUTE + HOUR)
    telling.look(60 * MINUTE + HOUR)
    assert keeper.take() == [ClearEvent(kind=DROPPED, subject="q")]
    telling.happened(DROPPED, "q", "1 was dropped", now=3 * HOUR)
    assert keeper.take() == [RaiseEvent(kind=DROPPED, subject="q", text="1 was dropped")]


def test_what_the_keeper_had_no_room_for_is_told_later(keeper: Keeper, telling: Telling):
    keeper.answer = Delivery.REJECTED
    telling.happened(DROPPED, "q", "3 were dropped", now=0)
    telling.say(LIST, "a", "", now=0)
    assert keeper.take() == []
    keeper.answer = Delivery.DELIVERED
    telling.look(1)
    telling.look(2)
    assert keeper.take() == [
        RaiseEvent(kind=DROPPED, subject="q", text="3 were dropped"),
        ClearEvent(kind=LIST, subject="a"),
    ]


def test_where_there_is_no_keeper_nobody_is_told():
    telling = Telling(None)
    telling.happened(DROPPED, "q", "3 were dropped", now=0)
    telling.look(2 * HOUR)
