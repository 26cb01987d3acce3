import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from certificates import Authority
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from actors import (
    Actor,
    ActorSpec,
    ActorSystem,
    AskFailed,
    Context,
    MailboxSpec,
    ManualClock,
    Overflow,
    Strategy,
    SupervisorSpec,
)
from tapir.codec.functionstatus import parse_function_status
from tapir.codec.jose import parse_keystore, verify_jws
from tapir.model.actions import ListKind
from tapir.model.errors import TapirError
from tapir.model.messages.control import GetHealth, HealthStatus
from tapir.model.messages.events import EventKind, EventsChanged, ExceptionalEvent, GetEvents
from tapir.model.messages.feeds import FeedStatus, GetFeed
from tapir.model.messages.lists import GetSources, SourcesStatus, SourceStatus
from tapir.model.messages.mqtt import PublishMessage
from tapir.model.messages.observations import GetObservations
from tapir.model.messages.telemetry import ComponentState, FunctionStatus, GetFunctionStatus, GetTelemetry, SetComponent
from tapir.services.uplink.telemetry import ConfigureTelemetry, Telemetry, TelemetrySettings
from tapir.services.uplink.telemetry_pop import TelemetryRefs
from tapir.services.uplink.telemetry_signing import SigningError, SigningSettings, seal_status

BOX = MailboxSpec(capacity=64, overflow=Overflow.REJECT)
WELL = HealthStatus(ready=True, reasons=(), warnings=())
EVENT = ExceptionalEvent(id="1", kind=EventKind.SOURCE_HELD, subject="deny", text="it shrinks", at=1)
FEED = FeedStatus(
    source="feed",
    zone="feed.example.",
    serial=1,
    state="expired",
    checked_at=1,
    next_check_at=2,
    expires_at=3,
    primaries=(),
    counters=(),
)


def source(id_: str, origin: str) -> SourceStatus:
    return SourceStatus(
        id=id_,
        name=id_,
        kind=ListKind.DENY,
        origin=origin,
        active=True,
        required=False,
        state="fresh",
        names=1,
        pending_names=None,
        loaded_at=1,
        checked_at=1,
        refusals=(),
        error="",
    )


def encoded(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32)).decode().rstrip("=")


def write_key(folder: Path, kind: str) -> Path:
    """A private JWK of `kind` for `edge.example`."""
    document: dict[str, str]
    if kind == "EC":
        key = ec.generate_private_key(ec.SECP256R1()).private_numbers()
        point = key.public_numbers
        document = {
            "kty": "EC",
            "crv": "P-256",
            "x": encoded(point.x),
            "y": encoded(point.y),
            "d": encoded(key.private_value),
        }
    else:
        private = ed25519.Ed25519PrivateKey.generate()
        document = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": encoded(int.from_bytes(private.public_key().public_bytes_raw())),
            "d": encoded(int.from_bytes(private.private_bytes_raw())),
        }
    path = folder / "key.json"
    path.write_text(json.dumps({**document, "kid": "edge.example"}))
    return path


class Others(Actor[Any]):
    """Every part that telemetry asks, and the MQTT session, which can be away or slow."""

    def __init__(self) -> None:
        self.health = WELL
        self.events: tuple[ExceptionalEvent, ...] = ()
        self.sources: tuple[SourceStatus, ...] = ()
        self.published: list[tuple[float, PublishMessage]] = []
        self.away = False

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        match message:
            case GetHealth():
                ctx.reply(self.health)
            case GetEvents():
                ctx.reply(self.events)
            case GetSources():
                ctx.reply(SourcesStatus(sources=self.sources, publishing=True, waiting_for=()))
            case GetFeed():
                ctx.reply(FEED)
            case GetObservations():
                pass  # it does not answer
            case PublishMessage():
                if self.away:
                    ctx.defer_reply().fail(TapirError("the broker is away"))
                else:
                    self.published.append((trio.current_time(), message))
                    ctx.reply(None)
            case _:
                pass  # not answered: as one who is not there

    def documents(self) -> list[FunctionStatus]:
        return [parse_function_status(payload_of(message)) for _, message in self.published]

    def times(self) -> list[float]:
        return [at for at, _ in self.published]


def payload_of(message: PublishMessage) -> bytes:
    text = json.loads(message.payload)["payload"]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Rig:
    def __init__(self, settings: TelemetrySettings) -> None:
        self.others = Others()
        self.system = ActorSystem(clock=ManualClock())
        self.ref = self.system.ref("telemetry")
        other = self.system.ref("others")
        refs = TelemetryRefs(health=other, lists=other, keeper=other, events=other, mqtt=other, source=lambda _: other)
        self.tree = SupervisorSpec(
            name="test",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                ActorSpec(name="others", factory=lambda: self.others, mailbox=BOX),
                ActorSpec(name="telemetry", factory=lambda: Telemetry(settings, refs=refs), mailbox=BOX),
            ),
        )


@asynccontextmanager
async def running(settings: TelemetrySettings) -> AsyncIterator[Rig]:
    rig = Rig(settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.system.run, rig.tree)
        yield rig
        rig.system.request_stop()


@pytest.fixture
def signing(tmp_path: Path) -> SigningSettings:
    return SigningSettings(topic="status/up/{EdgeId}/pop", key=write_key(tmp_path, "OKP"))


def settings_of(signing: SigningSettings | None, **more: Any) -> TelemetrySettings:
    return TelemetrySettings(version="1.0", connected=True, signing=signing, **more)


async def test_what_changed_is_published_and_all_at_the_heartbeat(signing: SigningSettings, autojump_clock: Any):
    async with running(settings_of(signing)) as rig:
        await trio.sleep(605)
        assert rig.others.times() == [60]
        rig.others.health = HealthStatus(ready=False, reasons=("x",), warnings=())
        await trio.sleep(120)
        assert rig.others.times() == [60, 660]
        await trio.sleep(1500)
        assert rig.others.times() == [60, 660, 1560]
        first, second, _ = rig.others.documents()
        assert first.id == "edge.example"
        assert first.version == "1.0"
        assert [name for name, _ in first.components] == ["cert-status", "main-boot"]
        assert "not ready" in dict(second.components)["main-boot"].message
        message = rig.others.published[0][1]
        assert (message.topic, message.qos, message.retain) == ("status/up/edge.example/pop", 1, False)
        assert payload_of(message).endswith(b"}\n")
        status = await rig.ref.ask(GetTelemetry())
        assert (status.topic, status.published, status.pending_events) == ("status/up/edge.example/pop", 3, 0)


async def test_events_are_published_at_once_and_together(signing: SigningSettings, autojump_clock: Any):
    async with running(settings_of(signing)) as rig:
        await trio.sleep(100)
        rig.others.events = (EVENT,)
        for _ in range(5):
            await rig.ref.tell(EventsChanged())
        await trio.sleep(5)
        assert rig.others.times() == [60, 101]
        assert rig.others.documents()[1].events == (EVENT,)


async def test_a_status_that_somebody_tries_is_published_once(signing: SigningSettings, autojump_clock: Any):
    async with running(settings_of(signing)) as rig:
        await trio.sleep(100)
        told = await rig.ref.ask(SetComponent(name="main-boot", state=ComponentState.FAIL))
        assert told == "main-boot is said to be fail until it is looked at again; it is published"
        await trio.sleep(5)
        assert rig.others.times() == [60, 101]
        main = dict(rig.others.documents()[1].components)["main-boot"]
        assert (main.state, main.message, main.failures) == (ComponentState.FAIL, "debug status update", 1)
        await trio.sleep(60)
        assert dict(rig.others.documents()[2].components)["main-boot"].state is ComponentState.OK
        with pytest.raises(AskFailed) as failed:
            await rig.ref.ask(SetComponent(name="nobody", state=ComponentState.OK))
        assert "there is no component 'nobody'; known are cert-status, downstream-ixfr" in str(failed.value.__cause__)
    async with running(settings_of(None)) as rig:
        assert (await rig.ref.ask(SetComponent(name="rpz", state=ComponentState.WARN))).endswith(
            "nothing is published here"
        )


async def test_an_event_is_kept_until_the_broker_has_it(
    signing: SigningSettings, autojump_clock: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    async with running(settings_of(signing)) as rig:
        await trio.sleep(100)
        rig.others.away = True
        rig.others.events = (EVENT,)
        await rig.ref.tell(EventsChanged())
        await trio.sleep(300)
        status = await rig.ref.ask(GetTelemetry())
        assert (status.pending_events, status.trouble) == (1, "the broker is away")
        assert caplog.text.count("cannot be published now: the broker is away") == 1
        rig.others.away = False
        await trio.sleep(16)
        assert rig.others.documents()[-1].events == (EVENT,)
        assert "the status is published again" in caplog.text
        assert (await rig.ref.ask(GetTelemetry())).pending_events == 0


async def test_what_is_not_published_is_answered_all_the_same(autojump_clock: Any):
    async with running(settings_of(None)) as rig:
        rig.others.sources = (source("feed", "xfr 192.0.2.1"), source("core", "mqtt"), source("deny", "file /x"))
        rig.others.events = (EVENT,)
        status = await rig.ref.ask(GetFunctionStatus())
        components = dict(status.components)
        assert components["rpz-inbound"].error == "feed is expired"
        assert components["tapir-observation"].message == "observations are taken"
        assert status.events == (EVENT,)
        assert dict(status.counters)["sources.now"] == 3
        await trio.sleep(2000)
        assert rig.others.published == []
        assert (await rig.ref.ask(GetTelemetry())).topic == ""


async def test_without_a_session_nothing_is_asked_of_it(signing: SigningSettings, autojump_clock: Any):
    async with running(TelemetrySettings(version="1.0", signing=signing)) as rig:
        await trio.sleep(100)
        assert rig.others.published == []
        assert (await rig.ref.ask(GetTelemetry())).trouble == "there is no MQTT connection"
        await rig.ref.ask(ConfigureTelemetry(settings=settings_of(signing)))
        await trio.sleep(2)
        assert len(rig.others.published) == 1


@pytest.mark.parametrize(
    ("kind", "header"), [("EC", {"alg": "ES256"}), ("OKP", {"alg": "EdDSA", "kid": "edge.example"})]
)
def test_signatures(tmp_path: Path, kind: str, header: dict[str, str]):
    key = write_key(tmp_path, kind)
    pair = Authority(tmp_path).issue("node.example")
    status = FunctionStatus(function="tapir-pop", id="x", components=())
    sealed = seal_status(SigningSettings(topic="status/{EdgeId}", key=key, certificate=pair.certificate), status)
    assert (sealed.topic, sealed.edge_id) == ("status/node.example", "node.example")
    envelope = json.loads(sealed.payload)
    assert list(envelope) == ["payload", "protected", "signature"]
    assert json.loads(base64.urlsafe_b64decode(envelope["protected"] + "==")) == header
    if kind == "OKP":
        verified = verify_jws(sealed.payload, parse_keystore(key.read_bytes()))
        assert parse_function_status(verified.payload).id == "node.example"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"key": Path("/nonexistent/key.json")}, "No such file"),
        ({"certificate": Path("/nonexistent/tls.crt")}, "No such file"),
        ({"topic": ""}, "topic"),
    ],
)
def test_what_cannot_be_sealed_says_which_file(signing: SigningSettings, change: dict[str, Any], text: str):
    with pytest.raises(SigningError, match=text):
        seal_status(attrs.evolve(signing, **change), FunctionStatus(function="", id="", components=()))


def test_a_name_that_would_make_another_topic_is_refused(tmp_path: Path):
    key = write_key(tmp_path, "OKP")
    document = json.loads(key.read_text())
    for kid in ("a/b", "#", "+", ""):
        if kid:
            key.write_text(json.dumps({**document, "kid": kid}))
        else:
            del document["kid"]
            key.write_text(json.dumps(document))
        with pytest.raises(SigningError, match="names nobody"):
            seal_status(SigningSettings(topic="s/{EdgeId}", key=key), FunctionStatus(function="", id="", components=()))


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, signing: SigningSettings):
    empty = FunctionStatus(function="", id="", components=())
    other = tmp_path / "other"
    other.write_bytes(b"not a key")
    with pytest.raises(SigningError, match="JSON"):
        seal_status(SigningSettings(topic="s", key=other), empty)
    with pytest.raises(SigningError, match="no certificate"):
        seal_status(SigningSettings(topic="s", key=signing.key, certificate=other), empty)
