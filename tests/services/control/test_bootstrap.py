"""What `/bootstrap` answers, read over HTTP as upstream's client and as ours do."""

import json
import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import httpx
import pytest
import trio
from certificates import Authority
from starlette.requests import Request
from starlette.responses import Response

from tapir.codec.bootstrap import parse_response
from tapir.codec.gob import decode_list, import_list
from tapir.codec.listexport import parse_export
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.messages.lists import GetSources, SourcesStatus, SourceStatus
from tapir.model.messages.mqtt import GetMqtt, MqttStatus, TopicStatus
from tapir.model.messages.observations import GetObservationsExport, ObservationsExport
from tapir.model.names import Name, format_name, parse_name
from tapir.services.control import bootstrap as module
from tapir.services.control.api_desk import BusyError, Desk
from tapir.services.control.bootstrap import bootstrap
from tapir.services.control.protocol import ProtocolError
from tapir.services.control.status import ControlRefs
from tapir.services.sources.bootstrap import BootstrapFailed, BootstrapSettings
from tapir.services.sources.bootstrap_client import HttpBootstrapper
from tapir.transport.http.server import ALPN, HttpLimits, HttpServer, listen
from tapir.transport.tls import server_context

if TYPE_CHECKING:
    from actors import ActorRef

T = TypeVar("T")

NOW = 1_760_000_000_000_000
HOUR = 3600 * 1_000_000
HELD = {
    "bad.example.": (17, NOW - HOUR, NOW + HOUR),
    "worse.example.": (4, NOW - 2 * HOUR, NOW + 2 * HOUR),
}
TOPIC = TopicStatus(
    filter="obs/t", consumer="core", qos=1, granted=True, refused="", messages=3, octets=4, latest_at=NOW
)


def block(held: dict[str, tuple[int, int, int]]) -> ObservationBlock:
    return ObservationBlock.of((parse_name(name), *rest) for name, rest in held.items())


def said(observations: ObservationBlock) -> dict[str, tuple[int, int, int]]:
    return {format_name(Name(name)): (tags, observed, end) for name, tags, observed, end in observations}


def source_status(id_: str, name: str, kind: ListKind, origin: str, *, active: bool = True) -> SourceStatus:
    return SourceStatus(
        id=id_, name=name, kind=kind, origin=origin, active=active, required=False, state="fresh", names=2,
        pending_names=None, loaded_at=None, checked_at=None, refusals=(), error="",
    )  # fmt: skip


SOURCES = SourcesStatus(
    sources=(
        source_status("core", "dns-tapir", ListKind.DOUBT, "mqtt"),
        source_status("good", 'good names/"ö', ListKind.ALLOW, "mqtt"),
        source_status("file", "local", ListKind.DOUBT, "file"),
        source_status("off", "switched-off", ListKind.DOUBT, "mqtt", active=False),
    ),
    publishing=True,
    waiting_for=(),
)


@attrs.frozen
class Ref:
    path: str


@attrs.define
class FakeDesk:
    """The desk without a system behind it."""

    refs: Any
    held: ObservationBlock
    sources: SourcesStatus | None = SOURCES
    refused: str = ""
    stalls_after: float = math.inf
    """how many pieces are made before the worker hangs"""
    running: int = 0

    def now(self) -> int:
        return NOW

    async def look(self, ref: Any, question: Any) -> Any:
        await trio.lowlevel.checkpoint()
        match question:
            case GetSources():
                return self.sources
            case GetMqtt():
                return None if ref is None else ref

    async def ask(self, ref: Any, question: Any) -> Any:
        await trio.lowlevel.checkpoint()
        assert isinstance(question, GetObservationsExport)
        if self.refused:
            raise ProtocolError(code="refused", text=self.refused)
        kind = ListKind.ALLOW if ref.path == "sources/good" else ListKind.DOUBT
        return ObservationsExport(name="?", kind=kind, topics=("obs/t",), observations=self.held, at=NOW)

    async def run_blocking(self, fn: Callable[..., T], *args: object) -> T:
        if self.stalls_after <= 0:
            await trio.sleep_forever()
        self.stalls_after -= 1
        await trio.lowlevel.checkpoint()
        return fn(*args)

    @asynccontextmanager
    async def expensive(self) -> AsyncIterator[None]:
        if self.running == 1:
            raise BusyError("two long answers are being written already: ask again in a while")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


def fake_desk(**values: Any) -> FakeDesk:
    mqtt = MqttStatus(
        broker="", client_id="", state="connected", version="5", since=None, trouble="", retry_at=None,
        connections=1, topics=(TOPIC, attrs.evolve(TOPIC, consumer="uplink/global", filter="config")), published=0,
        unacknowledged=0, counters=(),
    )  # fmt: skip
    empty = cast("ActorRef[Any]", Ref("nobody"))
    refs = ControlRefs(
        keeper=empty, server=None, notifier=None, lists=empty, policy=empty, health=empty, overrides=empty,
        mqtt=cast("ActorRef[Any]", mqtt), source=lambda id_: cast("ActorRef[Any]", Ref(f"sources/{id_}")),
    )  # fmt: skip
    return FakeDesk(**{"refs": refs, "held": block(HELD), **values})


@asynccontextmanager
async def serving(desk: FakeDesk, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The base URL of a server that answers `/bootstrap`, and `/ping` with the least there is."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if request.url.path == "/api/v1/ping":
            response: Response = Response(b'{"Pings":1,"Pongs":1,"Msg":"pong"}')
        else:
            response = await bootstrap(cast("Desk", desk), request)
        await response(scope, receive, send)

    server = HttpServer(app, HttpLimits(patience=5.0))
    listener = listen("127.0.0.1", 0)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(server.serve, listener, lambda: context))  # noqa: ASYNC113  it listens already
            scheme = "http" if context is None else "https"
            yield f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}/api/v1"
            nursery.cancel_scope.cancel()


async def post(url: str, command: str, name: str, encoding: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        members = {"Command": command, "ListName": name, "Encoding": encoding}
        response = await client.post(f"{url}/bootstrap", json=members)
    assert response.status_code == 200
    return response


async def error(url: str, command: str, name: str, encoding: str) -> str:
    response = await post(url, command, name, encoding)
    assert response.headers["content-type"] == "application/json"
    members = response.json()
    assert members["Error"] is True
    assert members["Time"] == "2025-10-09T08:53:20Z"
    return str(members["ErrorMsg"])


async def test_gob_is_as_upstream_sends_it() -> None:
    async with serving(fake_desk()) as url:
        response = await post(url, "export-doubtlist", "dns-tapir", "gob")
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment; filename=doubtlist-dns-tapir.gob"
    value, rest = decode_list(response.content)
    assert said(import_list(value).observations) == HELD
    assert (value.name, value.type, value.src_format, value.format) == ("dns-tapir", "doubtlist", "tapir-msg-v1", "map")
    assert value.mqtt is not None
    assert (value.mqtt.topics, value.mqtt.bootstrap, value.mqtt.bootstrap_key) == (("obs/t",), (), "")
    assert len(value.reaper or ()) == 2
    assert parse_response(rest).error is False


async def test_the_plain_export() -> None:
    async with serving(fake_desk()) as url:
        response = await post(url, "export-doubtlist", "dns-tapir", "jsonl")
    assert response.headers["content-type"] == "application/jsonl"
    assert response.headers["content-disposition"] == "attachment; filename=doubtlist-dns-tapir.jsonl"
    found = parse_export(response.content)
    assert (found.source, found.kind, found.timestamp) == ("dns-tapir", ListKind.DOUBT, NOW)
    assert said(found.observations) == HELD


async def test_lists_of_other_kinds_and_odd_names() -> None:
    async with serving(fake_desk()) as url:
        response = await post(url, "export-allowlist", 'good names/"ö', "jsonl")
        assert response.headers["content-disposition"] == "attachment; filename=allowlist-good_names___.jsonl"
        assert parse_export(response.content).kind is ListKind.ALLOW


async def test_status_is_what_gos_client_reads() -> None:
    async with serving(fake_desk()) as url:
        members = (await post(url, "doubtlist-status", "dns-tapir", "json")).json()
    assert (members["Error"], members["Status"]) == (False, "ok")
    assert [*members["TopicData"]] == ["obs/t"]
    assert members["TopicData"]["obs/t"]["SubMsgs"] == 3
    assert members["TopicData"]["obs/t"]["SubscriberCh"] is None


@pytest.mark.parametrize(
    ("command", "name", "encoding", "text"),
    [
        ("export-doubtlist", "unknown", "gob", "there is no doubtlist of this name"),
        ("export-doubtlist", "local", "gob", "there is no doubtlist of this name"),
        ("export-doubtlist", "switched-off", "jsonl", "there is no doubtlist of this name"),
        ("export-denylist", "dns-tapir", "jsonl", "there is no denylist of this name"),
        ("doubtlist-status", "unknown", "", "there is no doubtlist of this name"),
        ("export-doubtlist", "dns-tapir", "json", "unknown encoding; known are gob, jsonl"),
        ("drop-doubtlist", "dns-tapir", "gob", "unknown command"),
    ],
)
async def test_what_is_not_to_be_had(command: str, name: str, encoding: str, text: str) -> None:
    async with serving(fake_desk()) as url:
        assert (await error(url, command, name, encoding)).startswith(text)


async def test_a_body_that_cannot_be_read() -> None:
    async with serving(fake_desk()) as url, httpx.AsyncClient() as client:
        response = await client.post(f"{url}/bootstrap", content=b"{")
    assert response.status_code == 200
    assert "the request cannot be read: it is no JSON" in response.json()["ErrorMsg"]


async def test_lists_that_do_not_answer() -> None:
    async with serving(fake_desk(sources=None)) as url:
        assert "cannot be asked at the moment" in await error(url, "export-doubtlist", "dns-tapir", "gob")
    async with serving(fake_desk(refused="it is starting")) as url:
        assert await error(url, "export-doubtlist", "dns-tapir", "gob") == "it is starting"


async def test_only_so_many_at_once() -> None:
    desk = fake_desk(running=1)
    async with serving(desk) as url:
        assert "already" in await error(url, "export-doubtlist", "dns-tapir", "jsonl")
        desk.running = 0
        assert len(parse_export((await post(url, "export-doubtlist", "dns-tapir", "jsonl")).content).observations) == 2
    assert desk.running == 0


async def test_an_export_that_takes_too_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.1)
    desk = fake_desk(stalls_after=0)
    async with serving(desk) as url:
        for encoding in ("gob", "jsonl"):
            async with httpx.AsyncClient(timeout=10) as client:
                members = {"Command": "export-doubtlist", "ListName": "dns-tapir", "Encoding": encoding}
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.post(f"{url}/bootstrap", json=members)
    assert desk.running == 0


async def test_over_http2_as_gos_client_speaks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("pop.example")
    context = server_context(certificate=pair.certificate, key=pair.key, protocols=ALPN)
    held = {f"host{number}.example.": (number, NOW - HOUR, NOW + HOUR) for number in range(5000)}
    desk = fake_desk(held=block(held))
    members = {"Command": "export-doubtlist", "ListName": "dns-tapir", "Encoding": "gob"}
    trusted = ssl.create_default_context(cafile=str(authority.ca))
    async with serving(desk, context) as url, httpx.AsyncClient(http2=True, verify=trusted, timeout=5) as client:
        response = await client.post(f"{url}/bootstrap", json=members)
        assert response.http_version == "HTTP/2"
        assert said(import_list(decode_list(response.content)[0]).observations) == held
        monkeypatch.setattr(module, "LONGEST", 0.1)
        desk.stalls_after = 1
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"{url}/bootstrap", json={**members, "Encoding": "jsonl"})


# ------------------------------------------------------------------------------------------------ the two together


async def fetch(url: str, name: str = "dns-tapir", kind: ListKind = ListKind.DOUBT) -> Any:
    settings = BootstrapSettings(servers=(url.split("/")[2],), url="http://%s/api/v1", key="k")
    return await HttpBootstrapper(settings, list_name=name, kind=kind, now=lambda: NOW).fetch()


async def test_our_client_reads_our_server() -> None:
    async with serving(fake_desk()) as url:
        result = await fetch(url)
        assert said(result.observations) == HELD
        assert result.form == "export"
        result = await fetch(url, 'good names/"ö', ListKind.ALLOW)
        assert said(result.observations) == HELD
        with pytest.raises(BootstrapFailed, match="it says: there is no doubtlist of this name"):
            await fetch(url, "unknown")


async def test_a_long_list_comes_through_whole() -> None:
    held = {f"host{number}.example.": (number, NOW - HOUR, NOW + HOUR) for number in range(30_000)}
    async with serving(fake_desk(held=block(held))) as url:
        assert said((await fetch(url)).observations) == held
        value, rest = decode_list((await post(url, "export-doubtlist", "dns-tapir", "gob")).content)
    assert said(import_list(value).observations) == held
    assert json.loads(rest)["Error"] is False


async def test_an_empty_list_is_one() -> None:
    async with serving(fake_desk(held=block({}))) as url:
        assert len((await fetch(url)).observations) == 0
        value, _ = decode_list((await post(url, "export-doubtlist", "dns-tapir", "gob")).content)
    assert value.names == ()
