"""Events leave the outbox in their order, at their rate, and only when the broker has them."""

import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from sightings import MAY, named, sightings_of

from actors import Actor, ActorSpec, ActorSystem, Context, MailboxSpec, ManualClock, Overflow, Strategy, SupervisorSpec
from tapir.codec.jose import Keystore, parse_signing_key, verify_jws
from tapir.model.errors import TapirError
from tapir.model.messages.mqtt import PublishMessage
from tapir.model.messages.newnames import EventsQueued, GetNewNames
from tapir.services.uplink.newnames import ConfigureNewNames, NewNames, NewNamesSettings
from tapir.store.errors import StoreFull
from tapir.store.seen import SeenStore

BOX = MailboxSpec(capacity=512, overflow=Overflow.REJECT)
KEY = (
    b'{"kty":"OKP","crv":"Ed25519","kid":"edge.example","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",'
    b'"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
)
PUBLIC = Keystore((parse_signing_key(KEY).public_key(),))


class Broker(Actor[Any]):
    """The MQTT session: takes messages, refuses them, or says nothing until it is told to."""

    def __init__(self) -> None:
        self.published: list[tuple[float, PublishMessage]] = []
        self.refusing: set[str] = set()
        self.silent = False
        self.held: list[Any] = []

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        self.published.append((trio.current_time(), message))
        reply = ctx.defer_reply()
        if self.silent:
            self.held.append(reply)
        elif label_of(message) in self.refusing or "*" in self.refusing:
            reply.fail(TapirError("the broker will not have it"))
        else:
            reply.send(None)

    def labels(self) -> list[str]:
        return [label_of(message) for _, message in self.published]


def label_of(message: PublishMessage) -> str:
    payload = json.loads(message.payload)["payload"]
    event = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    label: str = event["qname"].partition(".")[0]
    return label


class Rig:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.key = folder / "key.json"
        if not self.key.exists():
            self.key.write_bytes(KEY)
        self.store: SeenStore | None = SeenStore.open(folder / "seen.mdb")
        self.broker = Broker()
        self.system = ActorSystem(clock=ManualClock())
        self.ref = self.system.ref("newnames")
        self.settings = NewNamesSettings(key=self.key, **settings)
        self.tree = SupervisorSpec(
            name="test",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                ActorSpec(name="mqtt", factory=lambda: self.broker, mailbox=BOX),
                ActorSpec(name="newnames", factory=self.make, mailbox=BOX),
            ),
        )

    def make(self) -> NewNames:
        return NewNames(self.settings, store=lambda: self.store, mqtt=self.system.ref("mqtt"))

    def report(self, *labels: str) -> None:
        assert self.store is not None
        self.store.report(sightings_of([named(label) for label in labels]), now=MAY)

    def left(self) -> int:
        assert self.store is not None
        return self.store.statistics().events


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.system.run, rig.tree)
        yield rig
        rig.system.request_stop()
    if rig.store is not None:
        rig.store.close()


async def test_events_are_signed_and_leave_at_the_acknowledgement(tmp_path: Path, autojump_clock: Any) -> None:
    rig = Rig(tmp_path)
    rig.report("a", "B")
    async with running(rig):
        await trio.sleep(1)
        message = rig.broker.published[0][1]
        assert (message.topic, message.qos, message.retain) == ("events/up/edge.example/new_qname", 1, False)
        assert verify_jws(message.payload, PUBLIC).signers == ("edge.example",)
        assert sorted(rig.broker.labels()) == ["B", "a"]
        status = await rig.ref.ask(GetNewNames())
        assert (status.sent, status.waiting, status.names, status.trouble) == (2, 0, 2, "")
        assert status.topic == "events/up/edge.example/new_qname"


async def test_they_are_sent_when_somebody_says_so_or_after_a_while(tmp_path: Path, autojump_clock: Any) -> None:
    async with running(Rig(tmp_path)) as rig:
        await trio.sleep(1)
        rig.report("a")
        await rig.ref.tell(EventsQueued())
        await trio.sleep(0.5)
        assert rig.broker.labels() == ["a"]
        rig.report("b")
        await trio.sleep(5)
        assert rig.broker.labels() == ["a", "b"]


async def test_no_faster_than_the_rate(tmp_path: Path, autojump_clock: Any) -> None:
    rig = Rig(tmp_path, rate=20)
    rig.report(*(f"n{number}" for number in range(100)))
    async with running(rig):
        await trio.sleep(3)
        for second in range(3):
            in_second = [at for at, _ in rig.broker.published if second <= at < second + 1]
            assert 16 <= len(in_second) <= 24
        await rig.ref.ask(ConfigureNewNames(settings=NewNamesSettings(key=rig.key, rate=1000)))
        await trio.sleep(1)
        assert rig.left() == 0
        assert len(set(rig.broker.labels())) == len(rig.broker.published) == 100


async def test_while_the_broker_is_away_one_batch_waits(tmp_path: Path, autojump_clock: Any) -> None:
    rig = Rig(tmp_path)
    rig.broker.silent = True
    rig.report(*(f"n{number}" for number in range(250)))
    async with running(rig):
        await trio.sleep(3600)
        assert len(rig.broker.published) == 100
        assert rig.left() == 250
        rig.broker.silent = False
        for reply in rig.broker.held:
            reply.send(None)
        await trio.sleep(2)
        assert rig.left() == 0
        assert len(rig.broker.published) == len(set(rig.broker.labels())) == 250


async def test_what_is_refused_is_kept_and_tried_again(
    tmp_path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(tmp_path)
    rig.broker.refusing = {"b"}
    rig.report("a", "b", "c")
    async with running(rig):
        await trio.sleep(40)
        assert rig.left() == 1
        assert rig.broker.labels().count("b") == 3
        assert rig.broker.labels().count("a") == rig.broker.labels().count("c") == 1
        assert (await rig.ref.ask(GetNewNames())).trouble == "the broker will not have it"
        rig.broker.refusing = set()
        await trio.sleep(15)
        assert rig.left() == 0
        assert (await rig.ref.ask(GetNewNames())).trouble == ""
    said = [record.message for record in caplog.records if "events for new names" in record.message]
    assert [text.partition(":")[0] for text in said] == [
        "events for new names cannot be sent now",
        "events for new names are sent again",
    ]


async def test_what_arrived_is_not_sent_again_while_the_disk_is_full(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    rig.report("a", "b")
    store = rig.store
    assert store is not None

    def refuse(numbers: Any) -> int:
        raise StoreFull(path=tmp_path, reason="no space")

    async with running(rig):
        with monkeypatch.context() as patch:
            patch.setattr(store, "acknowledge", refuse)
            await trio.sleep(100)
            assert len(rig.broker.published) == 2
            assert "no space" in (await rig.ref.ask(GetNewNames())).trouble
        await trio.sleep(16)
        assert rig.left() == 0
        assert len(rig.broker.published) == 2


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"{}", "key.json: "),
        (KEY.replace(b'"kid":"edge.example",', b""), "has a kid"),
        (KEY.replace(b"edge.example", b"a/b"), "MQTT topic"),
    ],
)
async def test_a_key_that_cannot_sign_is_told(tmp_path: Path, autojump_clock: Any, key: bytes, text: str) -> None:
    (tmp_path / "key.json").write_bytes(key)
    rig = Rig(tmp_path)
    rig.report("a")
    async with running(rig):
        await trio.sleep(1)
        assert text in (await rig.ref.ask(GetNewNames())).trouble
        assert rig.left() == 1
        rig.key.write_bytes(KEY)
        await trio.sleep(15)
        assert rig.left() == 0


async def test_without_a_store_there_is_nothing_to_send(tmp_path: Path, autojump_clock: Any) -> None:
    rig = Rig(tmp_path)
    rig.report("a")
    store, rig.store = rig.store, None
    async with running(rig):
        await trio.sleep(20)
        assert rig.broker.published == []
        status = await rig.ref.ask(GetNewNames())
        assert (status.names, status.waiting, status.oldest_at) == (0, 0, None)
        rig.store = store
        await trio.sleep(6)
        assert rig.broker.labels() == ["a"]


async def test_what_arrived_is_not_taken_out_of_a_store_begun_anew(tmp_path: Path, autojump_clock: Any) -> None:
    rig = Rig(tmp_path)
    rig.broker.silent = True
    rig.report("a", "b")
    async with running(rig):
        await trio.sleep(10)
        assert len(rig.broker.held) == 2
        assert rig.store is not None
        rig.store.close()
        rig.store = SeenStore.open(tmp_path / "another.mdb")
        rig.report("c", "d", "e")  # under the numbers that the others had
        rig.broker.silent = False
        for reply in rig.broker.held:
            reply.send(None)
        await trio.sleep(10)
        assert sorted(rig.broker.labels()) == ["a", "b", "c", "d", "e"]
        status = await rig.ref.ask(GetNewNames())
        assert (status.sent, status.waiting, status.trouble) == (5, 0, "")


async def test_a_store_that_cannot_be_read_is_told(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)

    def refuse() -> Any:
        raise StoreFull(path=tmp_path, reason="no space")

    async with running(rig):
        monkeypatch.setattr(rig.store, "statistics", refuse)
        assert "no space" in (await rig.ref.ask(GetNewNames())).trouble
