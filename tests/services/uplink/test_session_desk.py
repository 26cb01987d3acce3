"""Messages between broker and consumers: who has which, and what may be acknowledged."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tapir.services.uplink.session_desk import Desk, DeskLimits
from tapir.transport.mqtt.inbound import Delivery


def delivery(number: int, size: int = 1) -> Delivery:
    return Delivery(
        topic="t", payload=bytes(size), qos=1, retain=False, duplicate=False, packet_id=number, connection=1
    )


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [each.packet_id for each in deliveries]


def make(**limits: int) -> Desk:
    return Desk(ids=itertools.count(1), limits=DeskLimits(**limits))


def put(desk: Desk, *numbers: int, to: tuple[str, ...] = ("a",), now: float = 0.0, size: int = 1) -> None:
    assert desk.take([(delivery(number, size), to) for number in numbers], now=now) == []


def hand(desk: Desk, consumer: str = "a") -> tuple[int, int]:
    """Tell the next block; its identifier and its length."""
    block = desk.next_block(consumer)
    assert block is not None
    desk.sent(consumer)
    return block.id, len(block)


def test_a_message_that_nobody_wants_is_finished_at_once() -> None:
    desk = make()
    found = desk.take([(delivery(1), ()), (delivery(2), ("a",))], now=0.0)
    assert (numbers(found), desk.counters["unwanted"], desk.held) == ([1], 1, 1)


def test_a_message_of_two_consumers_is_finished_by_the_last() -> None:
    desk = make()
    put(desk, 1, to=("a", "b"))
    a, b = hand(desk, "a"), hand(desk, "b")
    assert a != b
    assert desk.settle("b", (b[0],)) == []
    assert numbers(desk.settle("a", (a[0],))) == [1]
    assert (desk.held, desk.held_octets) == (0, 0)


def test_a_block_is_bounded_in_messages_and_octets() -> None:
    desk = make(block_messages=3, block_octets=100)
    put(desk, *range(5))
    put(desk, 5, 6, size=90)
    put(desk, 7, size=1000)
    sizes = []
    while desk.held:
        block, size = hand(desk)
        sizes.append(size)
        desk.settle("a", (block,))
    assert sizes == [3, 3, 1, 1]


def test_nothing_more_is_told_before_the_block_is_settled() -> None:
    desk = make()
    put(desk, 1)
    block, _ = hand(desk)
    put(desk, 2)
    assert desk.next_block("a") is None
    assert desk.settle("a", (block + 1000,)) == []
    assert numbers(desk.settle("a", (block,))) == [1]
    assert desk.settle("a", (block,)) == []
    assert hand(desk) == (block + 1, 1)


def test_who_starts_again_gets_the_same_block() -> None:
    desk = make()
    put(desk, 1, 2)
    block, _ = hand(desk)
    desk.again("a")
    assert hand(desk) == (block, 2)


def test_of_a_block_that_crashed_its_consumer_only_the_poison_is_dropped() -> None:
    desk = make()
    put(desk, 1, 2, 3)
    finished: list[int] = []
    crashes = 0
    while desk.held:
        block = desk.next_block("a")
        assert block is not None
        desk.sent("a")
        first = numbers([message.delivery for message in desk._line("a").in_hand])
        if 2 in first:
            crashes += 1
            finished += numbers(desk.crashed("a"))
            desk.again("a")
        else:
            finished += numbers(desk.settle("a", (block.id,)))
    assert finished == [1, 2, 3]
    assert (crashes, desk.counters["poison"]) == (3, 1)
    put(desk, 4, 5)
    assert hand(desk)[1] == 2


def test_a_crash_of_who_had_nothing_is_nobodys_fault() -> None:
    desk = make()
    put(desk, 1, 2)
    assert desk.next_block("a") is not None
    assert desk.crashed("a") == []
    assert hand(desk)[1] == 2
    desk.crashed("a")
    assert hand(desk)[1] == 1


def test_who_settles_nothing_holds_up_others_for_a_time_only() -> None:
    desk = make(held_messages=3)
    desk.keep(("a", "b"))
    put(desk, 1, 2, to=("a",))
    hand(desk)
    assert desk.overdue(now=1000.0, hold=300.0) == []
    put(desk, 3, to=("b",), now=900.0)
    assert desk.full
    assert desk.overdue(now=299.0, hold=300.0) == []
    assert numbers(desk.overdue(now=1000.0, hold=300.0)) == [1, 2]
    assert (desk.full, desk.counters["abandoned"], desk.held) == (False, 2, 1)
    assert hand(desk, "b")[1] == 1


def test_who_says_why_it_settles_nothing_is_waited_for() -> None:
    desk = make(held_messages=2)
    desk.keep(("a", "b"))
    put(desk, 1, 2, to=("a",))
    block, _ = hand(desk)
    for minute in range(60):
        desk.holding("a", now=60.0 * minute)
        assert desk.overdue(now=60.0 * minute + 59, hold=300.0) == []
    assert numbers(desk.settle("a", (block,))) == [1, 2]
    put(desk, 3, 4, to=("a",), now=3600.0)
    assert numbers(desk.overdue(now=3901.0, hold=300.0)) == [3, 4]


def test_the_only_consumer_holds_up_nobody() -> None:
    desk = make(held_messages=1)
    put(desk, 1)
    assert desk.full
    assert desk.overdue(now=1e9, hold=1.0) == []


def test_octets_fill_the_desk_too() -> None:
    desk = make(held_octets=100)
    put(desk, 1, size=99)
    assert desk.full


def test_a_consumer_that_is_gone_has_no_messages() -> None:
    desk = make()
    put(desk, 1, 2, to=("a", "b"))
    put(desk, 3)
    hand(desk)
    assert numbers(desk.keep(("b", "c"))) == [3]
    assert desk.counters["unwanted"] == 3
    assert numbers(desk.settle("b", (hand(desk, "b")[0],))) == [1, 2]


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "tell", "settle", "crash", "again"]), st.sampled_from(["a", "b"])),
        max_size=60,
    ),
    st.integers(1, 4),
)
def test_every_message_is_finished_exactly_once(steps: list[tuple[str, str]], most: int) -> None:
    desk = make(block_messages=most)
    desk.keep(("a", "b"))
    given_out, finished = itertools.count(1), []
    count = 0

    def settle(consumer: str) -> None:
        block = desk._line(consumer).block
        if block is not None:
            finished.extend(numbers(desk.settle(consumer, (block.id,))))

    for step, consumer in steps:
        match step:
            case "put":
                count = next(given_out)
                put(desk, count, to=("a", "b") if count % 3 == 0 else (consumer,))
            case "tell":
                if desk.next_block(consumer) is not None:
                    desk.sent(consumer)
            case "settle":
                settle(consumer)
            case "crash":
                finished.extend(numbers(desk.crashed(consumer)))
            case "again":
                desk.again(consumer)
    while desk.held:
        for consumer in ("a", "b"):
            if desk.next_block(consumer) is not None:
                desk.sent(consumer)
            settle(consumer)
    assert sorted(finished) == list(range(1, count + 1))
    assert desk.held_octets == 0
