"""The client against brokers played by hand, on the virtual clock."""

import random
from typing import TYPE_CHECKING, Any

import mqtt5
import pytest
import trio
import trio.testing
from mqtt_broker import make_stage
from trio.testing import MockClock

from tapir.codec.mqtt.packets import MalformedPacket, Subscription, Version
from tapir.transport.mqtt.settings import Backoff
from tapir.transport.mqtt.states import (
    ClientStopped,
    Connected,
    Connecting,
    Lost,
    PublishLost,
    PublishRefused,
    Trouble,
)

if TYPE_CHECKING:
    from tapir.transport.mqtt.inbound import Delivery

SUCCESS = mqtt5.ConnAckPacket().write()
ONE, TWO = mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE


def message(number: int, payload: bytes = b"x", qos: mqtt5.QoS = ONE, **keys: Any) -> mqtt5.PublishPacket:
    return mqtt5.PublishPacket("a", payload, qos=qos, packet_id=number, **keys)


# -- connections


async def test_a_half_dead_broker_is_noticed_on_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage(keepalive=30, ping_patience=10)
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    await broker.expect(mqtt5.PingReqPacket)
    assert trio.current_time() == 30
    await broker.send(mqtt5.PingRespPacket())
    await broker.expect(mqtt5.PingReqPacket)
    assert trio.current_time() == 60
    lost = await stage.lost()
    assert (lost.trouble, trio.current_time()) == (Trouble.KEEPALIVE, 70)
    assert broker.ours.aborted


async def test_the_broker_may_want_to_hear_more_often(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage(keepalive=30)
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome(server_keep_alive=5)
    await broker.expect(mqtt5.PingReqPacket)
    assert trio.current_time() == 5
    assert stage.of(Connected)[0].keepalive == 5


async def test_the_waits_grow_and_vary(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    times: list[float] = []

    async def dial() -> Any:
        times.append(trio.current_time())
        raise OSError(111, "Connection refused")

    backoff = Backoff(first=1, factor=2, maximum=10, jitter=0.5)
    stage = make_stage(dial=dial, backoff=backoff)
    with trio.move_on_after(60):
        await stage.run()
    rng, expected = random.Random(7), [0.0]
    for failures in range(1, len(times)):
        expected.append(expected[-1] + min(10, 2 ** (failures - 1)) * (1 - 0.5 * rng.random()))
    assert times == pytest.approx(expected)
    assert len(times) > 6
    assert {state.trouble for state in stage.of(Lost)} == {Trouble.CONNECT}
    assert [state.attempt for state in stage.of(Connecting)] == list(range(1, len(times) + 1))


async def test_a_connection_that_held_makes_the_wait_short_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage(backoff=Backoff(first=1, factor=10, maximum=1000, jitter=0), stable_after=30)
    nursery.start_soon(stage.run)
    for held, wait in ((0, 1), (29, 10), (30, 1), (0, 10)):
        broker = await stage.accept()
        await broker.welcome()
        await trio.sleep(held)
        await broker.send(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SERVER_BUSY))
        lost = await stage.lost()
        assert (lost.trouble, lost.retry_in) == (Trouble.DISCONNECTED, wait)
        assert "server busy" in lost.text


async def test_a_takeover_is_named_and_not_answered_in_kind(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage(backoff=Backoff(first=1, maximum=60, jitter=0))
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    await broker.send(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER))
    lost = await stage.lost()
    assert (lost.trouble, lost.retry_in) == (Trouble.TAKEN_OVER, 60)
    assert "client identifier, pop" in lost.text


async def test_three_wordless_endings_in_a_row_are_a_takeover(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage()
    nursery.start_soon(stage.run)
    for expected in (Trouble.CLOSED, Trouble.CLOSED, Trouble.TAKEN_OVER):
        broker = await stage.accept()
        await broker.welcome()
        await broker.hang_up()
        assert (await stage.lost()).trouble is expected


async def test_a_broker_that_never_speaks(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage(connect_patience=20)
    nursery.start_soon(stage.run)
    lost = await stage.lost()
    # Once in each version: there are brokers that wait for the rest of what MQTT 5 put into CONNECT.
    assert (lost.trouble, trio.current_time()) == (Trouble.SILENT, 40)
    assert "no CONNACK" in lost.text


async def test_an_octet_a_second_opens_nothing_and_holds_nothing_open(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage(connect_patience=4, keepalive=30, ping_patience=10, versions=(Version.V5,))
    nursery.start_soon(stage.run)

    async def trickle(octets: bytes) -> None:
        for octet in octets:
            await trio.sleep(1)
            try:
                await broker.send(bytes((octet,)))
            except trio.BrokenResourceError:
                return

    broker = await stage.accept()
    nursery.start_soon(trickle, SUCCESS)
    lost = await stage.lost()
    assert (lost.trouble, trio.current_time()) == (Trouble.SILENT, 4)
    broker = await stage.accept()
    await broker.welcome()
    began = trio.current_time()
    nursery.start_soon(trickle, message(1, bytes(1000)).write())
    lost = await stage.lost()
    assert (lost.trouble, trio.current_time() - began) == (Trouble.KEEPALIVE, 40)


async def test_a_broker_that_reads_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage(pair=trio.testing.lockstep_stream_pair, write_patience=20, connect_patience=60)
    nursery.start_soon(stage.run)
    lost = await stage.lost()
    assert (lost.trouble, trio.current_time()) == (Trouble.STALLED, 20)


async def test_a_name_server_that_hangs_delays_nothing_but_the_connection(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage(dial=trio.sleep_forever, connect_patience=20)
    nursery.start_soon(stage.run)
    lost = await stage.lost()
    assert (lost.trouble, trio.current_time()) == (Trouble.TIMEOUT, 20)
    stage.scope.cancel()
    with pytest.raises(ClientStopped):
        await stage.client.receive()


@pytest.mark.parametrize(
    ("octets", "trouble", "reason"),
    [
        (b"\xff\xff\xff\xff\xff", Trouble.MALFORMED, 0x81),
        (b"\x30\xff\xff\xff\xff\x01", Trouble.MALFORMED, 0x81),
        (b"\x30\xff\xff\xff\x7f", Trouble.TOO_LARGE, 0x95),
        (SUCCESS, Trouble.PROTOCOL, 0x82),
        (mqtt5.ConnectPacket("x").write(), Trouble.MALFORMED, 0x81),
        (mqtt5.PubRecPacket(1).write(), Trouble.PROTOCOL, 0x82),
        (mqtt5.PubCompPacket(1).write(), Trouble.PROTOCOL, 0x82),
        (mqtt5.SubAckPacket(9, [mqtt5.SubAckReasonCode(0)]).write(), Trouble.PROTOCOL, 0x82),
        (message(1).write() * 2, Trouble.PROTOCOL, 0x82),
    ],
)
async def test_what_is_not_mqtt_or_not_its_turn(
    autojump_clock: MockClock, nursery: trio.Nursery, octets: bytes, trouble: Trouble, reason: int
) -> None:
    stage = make_stage(receive_maximum=10)
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    await broker.send(octets)
    lost = await stage.lost()
    assert lost.trouble is trouble
    goodbye = await broker.expect(mqtt5.DisconnectPacket)
    assert goodbye.reason_code == reason
    assert await broker.octets() == b""


@pytest.mark.parametrize(
    "octets",
    [mqtt5.PingRespPacket().write(), message(1).write(), b"\x00\x00", b"\x20\xff\xff\xff\xff", b"\x20\x81\x80\x40"],
)
async def test_what_is_no_welcome(autojump_clock: MockClock, nursery: trio.Nursery, octets: bytes) -> None:
    stage = make_stage()
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.expect(mqtt5.ConnectPacket)
    await broker.send(octets)
    assert (await stage.lost()).trouble in {Trouble.PROTOCOL, Trouble.MALFORMED, Trouble.TOO_LARGE}
    assert stage.of(Connected) == []


@pytest.mark.parametrize("code", [0x80, 0x85, 0x86, 0x87, 0x88, 0x8A, 0x97, 0x9D, 0x9F])
async def test_refusals_are_in_the_words_of_the_standard(
    autojump_clock: MockClock, nursery: trio.Nursery, code: int
) -> None:
    stage = make_stage(password=b"secret", username="u")
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.expect(mqtt5.ConnectPacket)
    await broker.send(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode(code), reason_str="because"))
    lost = await stage.lost()
    assert lost.trouble is Trouble.REFUSED
    assert "because" in lost.text
    assert "secret" not in repr(stage.client._settings)


@pytest.mark.parametrize(
    "refusal", [b"\x20\x02\x00\x01", mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode(0x84)).write(), b""]
)
async def test_a_broker_that_knows_only_the_old_version(
    autojump_clock: MockClock, nursery: trio.Nursery, refusal: bytes
) -> None:
    stage = make_stage("a")
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.expect(mqtt5.ConnectPacket)
    if refusal:
        await broker.send(refusal)
    await broker.hang_up()
    broker = await stage.accept()
    assert trio.current_time() == 0
    assert await broker.octets() == b"\x10\x0f\x00\x04MQTT\x04\x00\x00\x1e\x00\x03pop"
    await broker.send(b"\x20\x02\x01\x00")
    assert await broker.octets() == b"\x82\x06\x00\x01\x00\x01a\x01"
    await broker.send(b"\x90\x03\x00\x01\x01", b"\x32\x06\x00\x01a\x00\x09!")
    got = await stage.client.receive()
    await trio.testing.wait_all_tasks_blocked()
    assert (got.payload, stage.of(Connected)[0].version) == (b"!", Version.V3_1_1)
    stage.client.acknowledge((got,))
    assert await broker.octets() == b"\x40\x02\x00\x09"
    assert stage.of(Lost) == []
    stage.scope.cancel()
    assert await broker.octets() == b"\xe0\x00"


async def test_cut_at_every_octet_nothing_is_lost_and_nothing_doubled(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage(backoff=Backoff(first=0.1, maximum=0.1), stable_after=0)
    nursery.start_soon(stage.run)
    for cut in range(1, len(SUCCESS)):
        # Where the broker goes before it welcomed us, the older version is tried as well.
        for _ in range(2):
            broker = await stage.accept()
            await broker.octets()
            await broker.send(SUCCESS[:cut])
            await broker.hang_up()
    whole = message(1, b"payload").write()
    for cut in range(len(whole)):
        broker = await stage.accept()
        await broker.welcome(session_present=True)
        await broker.send(whole[:cut])
        await broker.hang_up()
    broker = await stage.accept()
    await broker.welcome(session_present=True)
    for octet in whole:
        await broker.send(bytes((octet,)))
    assert (await stage.client.receive()).payload == b"payload"
    assert stage.client.statistics().received == 1


# -- messages in


async def test_acknowledgements_leave_when_told_and_in_order(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage("a")
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome(subscribe=True)
    await broker.send(*(message(n) for n in (5, 6, 7)), mqtt5.PublishPacket("a", b"once"))
    got: tuple[Any, ...] = ()
    while len(got) < 4:
        got += await stage.client.receive_batch(10)
    assert [delivery.packet_id for delivery in got] == [5, 6, 7, 0]
    stage.client.acknowledge((got[3], got[2], got[1]))
    stage.client.acknowledge((got[1],))
    await trio.testing.wait_all_tasks_blocked()
    assert stage.client.statistics().unacknowledged == 3
    stage.client.acknowledge((got[0],))
    assert [(await broker.expect(mqtt5.PubAckPacket)).packet_id for _ in got[:3]] == [5, 6, 7]
    stage.client.acknowledge(got)
    assert stage.client.statistics().late == 3


async def test_an_acknowledgement_for_a_lost_connection_is_not_said_on_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage()
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    await broker.send(message(1, b"taken"), message(2, b"in the queue"))
    taken = await stage.client.receive()
    await broker.hang_up()
    await stage.lost()
    broker = await stage.accept()
    await broker.welcome(session_present=True)
    await broker.send(message(1, b"taken", duplicate=True), message(2, b"in the queue", duplicate=True))
    again = await stage.client.receive()
    stage.client.acknowledge((taken,))
    assert stage.client.statistics().late == 1
    assert (again.payload, again.duplicate) == (b"taken", True)
    second = await stage.client.receive()
    # The copy in the queue went when the broker said that it has the session: it comes once.
    assert second.payload == b"in the queue"
    stage.client.acknowledge((again, second))
    assert [(await broker.expect(mqtt5.PubAckPacket)).packet_id for _ in range(2)] == [1, 2]
    assert stage.client.statistics().queued == 0


async def test_without_a_session_what_waits_is_kept(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage("a")
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome(subscribe=True)
    await broker.send(message(1))
    await trio.testing.wait_all_tasks_blocked()
    await broker.hang_up()
    broker = await stage.accept()
    await broker.welcome(subscribe=True)
    assert (await stage.client.receive()).payload == b"x"


async def test_qos_2_is_handed_over_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage()
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    await broker.send(message(1, qos=TWO))
    got = await stage.client.receive()
    stage.client.acknowledge((got,))
    assert (await broker.expect(mqtt5.PubRecPacket)).packet_id == 1
    await broker.hang_up()
    # PUBREC was lost: the broker sends again, and is answered without the caller.
    broker = await stage.accept()
    await broker.welcome(session_present=True)
    await broker.send(message(1, qos=TWO, duplicate=True))
    assert (await broker.expect(mqtt5.PubRecPacket)).packet_id == 1
    for code in (0, 0x92):
        await broker.send(mqtt5.PubRelPacket(1))
        answer = await broker.expect(mqtt5.PubCompPacket)
        assert (answer.packet_id, int(answer.reason_code)) == (1, code)
    statistics = stage.client.statistics()
    assert (statistics.received, statistics.repeated, statistics.unacknowledged) == (1, 1, 0)


async def test_a_caller_that_takes_nothing_stops_the_reading_and_is_not_taken_for_a_dead_broker(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    stage = make_stage(receive_maximum=10, keepalive=30)
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    await broker.send(*(mqtt5.PublishPacket("a", b"%d" % n) for n in range(20)))
    await trio.sleep(1000)
    await broker.send(*(mqtt5.PublishPacket("a", b"%d" % n) for n in range(20, 40)))
    await trio.sleep(100)
    assert stage.client.statistics().queued == 20
    assert stage.of(Lost) == []
    got: list[bytes] = []
    while len(got) < 40:
        got += [delivery.payload for delivery in await stage.client.receive_batch(7)]
    assert got == [b"%d" % n for n in range(40)]


async def test_a_broker_past_our_maximum_is_read_on_a_little_and_then_waits(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage(receive_maximum=10, keepalive=30)
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    taken: list[Delivery] = []

    async def take() -> None:
        while True:
            taken.extend(await stage.client.receive_batch(7))

    nursery.start_soon(take)
    for number in range(1, 51):
        await broker.send(message(number))
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(1000)
    assert 20 <= len(taken) < 50
    assert stage.of(Lost) == []
    while len(taken) < 50:
        stage.client.acknowledge(taken)
        await trio.testing.wait_all_tasks_blocked()
    assert [delivery.packet_id for delivery in taken] == list(range(1, 51))
    assert stage.of(Lost) == []


# -- messages out


async def test_messages_wait_for_the_broker_and_for_its_window(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage(publish_window=5)
    nursery.start_soon(stage.run)
    sent = [await stage.client.submit("a", b"%d" % n) for n in range(5)]
    with trio.move_on_after(1) as full:
        await stage.client.submit("a", b"too many")
    assert full.cancelled_caught
    broker = await stage.accept()
    await broker.welcome(receive_max=2)
    for first in range(0, 5, 2):
        got = [await broker.expect(mqtt5.PublishPacket) for _ in range(min(2, 5 - first))]
        assert [packet.payload for packet in got] == [b"%d" % n for n in range(first, min(first + 2, 5))]
        await trio.testing.wait_all_tasks_blocked()
        await broker.send(*(mqtt5.PubAckPacket(packet.packet_id or 0) for packet in got))
    for publication in sent:
        await publication.wait_acknowledged()
    assert stage.client.statistics().acknowledged == 5


@pytest.mark.parametrize("kept", [True, False])
async def test_what_was_not_acknowledged_is_sent_again(
    autojump_clock: MockClock, nursery: trio.Nursery, kept: bool
) -> None:
    stage = make_stage()
    nursery.start_soon(stage.run)
    sent = [await stage.client.submit("a", b"%d" % n) for n in range(3)]
    broker = await stage.accept()
    await broker.welcome()
    first = [await broker.expect(mqtt5.PublishPacket) for _ in range(3)]
    await broker.send(mqtt5.PubAckPacket(first[1].packet_id or 0), mqtt5.PubAckPacket(60000))
    await sent[1].wait_acknowledged()
    await broker.hang_up()
    broker = await stage.accept()
    await broker.welcome(session_present=kept)
    again = [await broker.expect(mqtt5.PublishPacket) for _ in range(2)]
    assert [(p.payload, p.duplicate) for p in again] == [(b"0", kept), (b"2", kept)]
    assert [p.packet_id for p in again] == [first[0].packet_id, first[2].packet_id]
    refusing = mqtt5.PubAckReasonCode.QUOTA_EXCEEDED
    await broker.send(mqtt5.PubAckPacket(again[0].packet_id or 0, reason_code=refusing, reason_str="full"))
    with pytest.raises(PublishRefused, match="quota exceeded: full"):
        await sent[0].wait_acknowledged()
    stage.scope.cancel()
    with pytest.raises(ClientStopped):
        await sent[2].wait_acknowledged()
    with pytest.raises(ClientStopped):
        await stage.client.publish("a", b"")
    statistics = stage.client.statistics()
    assert (statistics.unexpected, statistics.resent, statistics.waiting) == (1, 2, 0)


async def test_what_the_broker_cannot_take_is_refused_here(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage()
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome(max_packet_size=100, max_qos=mqtt5.QoS.AT_MOST_ONCE, retain_available=False)
    refusals: list[tuple[str, dict[str, Any]]] = [
        ("QoS 0 at most", {"qos": 1}),
        ("retains nothing", {"qos": 0, "retain": True}),
        ("where the broker takes 100", {"qos": 0}),
    ]
    for words, keys in refusals:
        with pytest.raises(PublishRefused, match=words):
            await stage.client.publish("a", bytes(100), **keys)
    with pytest.raises(PublishRefused, match="wildcard"):
        await stage.client.publish("a/#", b"", qos=0)
    with pytest.raises(ValueError, match="QoS 2"):
        await stage.client.submit("a", b"", qos=2)
    await stage.client.publish("a", b"ok", qos=0)
    assert (await broker.expect(mqtt5.PublishPacket)).payload == b"ok"


async def test_qos_0_goes_down_with_its_connection(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = make_stage(pair=trio.testing.lockstep_stream_pair)
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    publication = await stage.client.submit("a", bytes(1000), qos=0)
    await trio.testing.wait_all_tasks_blocked()
    await broker.hang_up()
    with pytest.raises(PublishLost):
        await publication.wait_acknowledged()


# -- subscriptions, and the end


async def test_a_refused_subscription_is_told_and_asked_for_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage("a", "b", subscription_retry=300)
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    asked = await broker.expect(mqtt5.SubscribePacket)
    codes = [mqtt5.SubAckReasonCode(1), mqtt5.SubAckReasonCode(0x87)]
    await broker.send(mqtt5.SubAckPacket(asked.packet_id, codes))
    await trio.testing.wait_all_tasks_blocked()
    assert stage.of(Connected)[-1].refused == (("b", "not authorized"),)
    while isinstance(packet := await broker.next(), mqtt5.PingReqPacket):
        await broker.send(mqtt5.PingRespPacket())
    assert trio.current_time() == 300
    assert [f.pattern for f in packet.topic_filters] == ["b"]
    await broker.send(mqtt5.SubAckPacket(packet.packet_id, [mqtt5.SubAckReasonCode(1)]))
    await trio.testing.wait_all_tasks_blocked()
    assert stage.of(Connected)[-1].refused == ()


async def test_every_connection_subscribes_and_forgets_what_is_not_wanted_any_more(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage("a", former=["old", "a"])
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome(session_present=True)
    gone = await broker.expect(mqtt5.UnsubscribePacket)
    assert gone.patterns == ["old"]
    await broker.send(mqtt5.UnsubAckPacket(gone.packet_id, [mqtt5.UnsubAckReasonCode(0)]))
    assert [f.pattern for f in (await broker.grant()).topic_filters] == ["a"]
    stage.client.subscribe([Subscription(topic_filter="b", qos=2)])
    with pytest.raises(MalformedPacket):
        stage.client.subscribe([Subscription(topic_filter="b#")])
    gone = await broker.expect(mqtt5.UnsubscribePacket)
    assert gone.patterns == ["a"]
    await broker.hang_up()
    # It was not answered, so it is said again, if the broker kept the session.
    broker = await stage.accept()
    await broker.welcome(session_present=True)
    gone = await broker.expect(mqtt5.UnsubscribePacket)
    assert gone.patterns == ["a"]
    await broker.hang_up()
    broker = await stage.accept()
    await broker.welcome(session_present=False)
    assert [f.pattern for f in (await broker.grant()).topic_filters] == ["b"]


@pytest.mark.parametrize("codes", [[], [1, 1]])
async def test_an_answer_to_another_question(
    autojump_clock: MockClock, nursery: trio.Nursery, codes: list[int]
) -> None:
    stage = make_stage("a", connect_patience=20)
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    asked = await broker.expect(mqtt5.SubscribePacket)
    if codes:
        await broker.send(mqtt5.SubAckPacket(asked.packet_id, [mqtt5.SubAckReasonCode(c) for c in codes]))
    lost = await stage.lost()
    assert lost.trouble is (Trouble.PROTOCOL if codes else Trouble.TIMEOUT)
    assert trio.current_time() == (0 if codes else 20)


async def test_stopping_says_what_was_acknowledged_and_goodbye(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage()
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    await broker.send(message(1))
    stage.client.acknowledge((await stage.client.receive(),))
    stage.scope.cancel()
    assert (await broker.expect(mqtt5.PubAckPacket)).packet_id == 1
    assert int((await broker.expect(mqtt5.DisconnectPacket)).reason_code) == 0
    assert await broker.octets() == b""


async def test_stopping_waits_only_so_long_for_a_broker_that_reads_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = make_stage(pair=trio.testing.lockstep_stream_pair, goodbye_patience=2)
    nursery.start_soon(stage.run)
    broker = await stage.accept()
    await broker.welcome()
    await trio.testing.wait_all_tasks_blocked()
    stage.scope.cancel()
    with pytest.raises(ClientStopped):
        await stage.client.receive()
    assert trio.current_time() == 2


async def test_a_connection_is_made_anew_in_order(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    stage = make_stage("a")
    nursery.start_soon(stage.run)
    first = await stage.accept()
    await first.welcome(subscribe=True)
    await first.send(mqtt5.PublishPacket("a", b"x", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=9))
    message = await stage.client.receive()
    began = trio.current_time()
    stage.client.acknowledge((message,))
    stage.client.reconnect()
    # What was acknowledged is said, then goodbye, and the next connection comes without a pause.
    assert (await first.expect(mqtt5.PubAckPacket)).packet_id == 9
    await first.expect(mqtt5.DisconnectPacket)
    second = await stage.accept()
    assert trio.current_time() == began
    await second.welcome(session_present=True, subscribe=True)
    await trio.testing.wait_all_tasks_blocked()
    assert [state.trouble for state in stage.of(Lost)] == [Trouble.RENEWED]
    assert stage.of(Connecting)[-1].attempt == 1
    stage.scope.cancel()


async def test_a_wish_for_another_connection_ends_the_wait_for_the_next(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    asked: list[float] = []

    async def dial() -> Any:
        asked.append(trio.current_time())
        raise OSError(111, "refused")

    stage = make_stage("a", dial=dial, backoff=Backoff(first=1000.0, maximum=1000.0, jitter=0.0))
    nursery.start_soon(stage.run)
    await stage.lost()
    await trio.sleep(10)
    stage.client.reconnect()
    stage.client.reconnect()
    await stage.lost()
    assert asked == [0.0, 10.0]
    stage.scope.cancel()
