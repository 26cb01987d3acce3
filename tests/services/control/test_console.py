import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream

from actors import Actor, ActorSpec, ActorSystem, Context, MailboxSpec, Overflow, Strategy, SupervisorSpec
from tapir.app.cli.client import ConsoleRefusedError, ConsoleUnreachableError, open_console
from tapir.model.actions import Action
from tapir.model.errors import TapirError
from tapir.model.messages.lists import GetSources
from tapir.model.messages.local import GetOverrides
from tapir.model.messages.policy import Explain, Explanation
from tapir.model.messages.zone import AcceptZone, GetRecordHistory, GetZone, HoldZone, SetSerial, ZoneStatus
from tapir.services.control.console import MAX_CLIENTS, MAX_STREAMS, Console, ConsoleSettings
from tapir.services.control.peer import user_name
from tapir.services.control.status import ControlRefs, ProcessFacts

ZONE = ZoneStatus(
    zone="dnstapir.",
    serial=1,
    records=0,
    published_at=1,
    journal_from=None,
    journal_deltas=0,
    journal_octets=0,
    state="serving",
    held_change=None,
    store_error="",
)
BOX = MailboxSpec(capacity=8, overflow=Overflow.WAIT)


class NothingHeldError(TapirError):
    pass


class Answerer(Actor[Any]):
    """Answers what the console asks of others, and sticks on GetZone when told to."""

    stuck = False

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        match message:
            case Explain(name=name):
                ctx.reply(
                    Explanation(
                        name=name, action=Action.NXDOMAIN, stage="denylist", hits=(), rules=(), winner="", emitted=""
                    )
                )
            case AcceptZone():
                ctx.defer_reply().fail(NothingHeldError("nothing is held back"))
            case SetSerial(serial=serial, user=user):
                ctx.reply(f"serial {serial} for {user}")
            case HoldZone():
                return  # no answer at all: the runtime fails the ask
            case GetZone() if self.stuck:
                await trio.sleep_forever()
            case GetOverrides() | GetRecordHistory() | GetSources():
                return
            case GetZone():
                ctx.reply(ZONE)
            case _:
                ctx.reply(())


@asynccontextmanager
async def console(
    folder: Path, answerer: Answerer | None = None, *, patience: float = 30, write_timeout: float = 10
) -> AsyncIterator[Path]:
    """A console in `folder`; what hangs fails the test."""
    system = ActorSystem()
    other = system.ref("other")
    refs = ControlRefs(
        keeper=other, server=None, notifier=None, lists=other, policy=other, health=other, overrides=other
    )
    facts = ProcessFacts(version="1", commit="c", pid=1, started_at=0, config_dir="", state_dir=str(folder))
    settings = ConsoleSettings(socket=folder / "console.sock", patience=patience, write_timeout=write_timeout)
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(name="other", factory=lambda: answerer or Answerer(), mailbox=BOX, drain_timeout=0.1),
            ActorSpec(
                name="console",
                factory=lambda: Console(settings=settings, system=system, refs=refs, facts=facts),
                mailbox=BOX,
            ),
        ),
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(system.run, tree)
            try:
                yield folder
            finally:
                system.request_stop()


async def test_it_answers_and_leaves_no_socket_behind(tmp_path: Path):
    async with console(tmp_path):
        assert stat.S_IMODE((tmp_path / "console.sock").stat().st_mode) == 0o660
        async with open_console(tmp_path) as client:
            assert (await client.request("hello"))["protocol"] == 1
            assert (await client.request("explain", name="bad.example"))["action"] == "NXDOMAIN"
            assert await client.request("zone-set-serial", serial=5) == f"serial 5 for {user_name(os.getuid())}"
            assert (await client.request("tree"))["root"]["children"][0]["name"] == "other"
            assert await client.request("dead-letters") == []
    assert not (tmp_path / "console.sock").exists()


async def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path: Path):
    path = tmp_path / "console.sock"
    with trio.socket.socket(trio.socket.AF_UNIX) as left:
        await left.bind(str(path))
    async with console(tmp_path), open_console(tmp_path) as client:
        assert (await client.request("hello"))["process"]["version"] == "1"


@pytest.mark.parametrize(
    ("op", "arguments", "text"),
    [
        ("accept", {"what": "zone"}, "nothing is held back"),
        ("accept", {}, "accept needs what"),
        ("zone-hold", {}, "."),
        ("zone-set-serial", {"serial": 2**32}, "an integer from 0 to 4294967295"),
        ("no-such-op", {}, "no-such-op is not one of"),
        ("trace", {"actor": "no/such"}, "no/such"),
        ("watch", {"interval": 0}, "watch needs interval"),
        ("unsubscribe", {"stream": 9}, "no such stream"),
    ],
)
async def test_what_cannot_be_done_is_said(tmp_path: Path, op: str, arguments: dict[str, object], text: str):
    async with console(tmp_path), open_console(tmp_path) as client:
        with pytest.raises(ConsoleRefusedError, match=text):
            await client.request(op, **arguments)
        assert await client.request("zone-set-serial", serial=1) == f"serial 1 for {user_name(os.getuid())}"


async def test_a_stuck_actor_is_shown_and_not_waited_for(tmp_path: Path):
    answerer = Answerer()
    answerer.stuck = True
    async with console(tmp_path, answerer, patience=0.2), open_console(tmp_path) as client:
        status = await client.request("status")
        assert "no answer" in status["zone"]["error"]
        other = status["runtime"]["root"]["children"][0]
        assert other["current"] == "GetZone"
        assert status["server"] is None


async def test_a_trace_shows_the_kinds_of_messages_and_nothing_of_them(tmp_path: Path):
    async with console(tmp_path), open_console(tmp_path) as watcher, open_console(tmp_path) as client:
        seen: list[Any] = []
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                async with aclosing(watcher.stream("trace", actor="other")) as stream:
                    async for item in stream:
                        seen.append(item)
                        entry = item["data"]
                        if entry["kind"] == "handled" and entry["message"].startswith("Explain"):
                            break
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            while True:
                await client.request("explain", name="secret.example")
        assert "secret" not in json.dumps(seen)


async def test_streams_are_limited_and_end_on_request(tmp_path: Path):
    async with console(tmp_path), raw(tmp_path) as connection:
        for number in range(MAX_STREAMS + 1):
            await connection.send_message(json.dumps({"id": number, "op": "events"}))
        answers = [json.loads(await connection.get_message()) for _ in range(MAX_STREAMS + 1)]
        assert [answer.get("result") for answer in answers[:-1]] == ["subscribed"] * MAX_STREAMS
        assert answers[-1]["error"]["code"] == "stream"
        await connection.send_message(json.dumps({"id": "u", "op": "unsubscribe", "stream": 3}))
        assert json.loads(await connection.get_message()) == {"id": "u", "result": "unsubscribed"}


@pytest.mark.parametrize(
    "message",
    ["not json", "{}", "[]", '{"id": 1, "op": "status", "id": {}}', '{"id": "\\ud800", "op": "\\udfff"}'],
)
async def test_garbage_is_answered_and_the_connection_lives(tmp_path: Path, message: str):
    async with console(tmp_path), raw(tmp_path) as connection:
        await connection.send_message(message)
        assert "error" in json.loads(await connection.get_message())
        await connection.send_message('{"id": 1, "op": "hello"}')
        assert json.loads(await connection.get_message())["result"]["protocol"] == 1


async def test_too_many_clients_are_turned_away_until_others_leave(tmp_path: Path):
    async with console(tmp_path, write_timeout=1000):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(open_console(tmp_path)) for _ in range(MAX_CLIENTS)]
            async with await trio.open_unix_socket(tmp_path / "console.sock") as one_more:
                assert await one_more.receive_some(1) == b""
            for client in clients:
                assert await client.request("hello")
        for _ in range(2 * MAX_CLIENTS):
            async with open_console(tmp_path) as client:
                assert await client.request("hello")


async def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path):
    async with console(tmp_path, write_timeout=0.2), raw(tmp_path) as connection:
        with pytest.raises(ConnectionClosed):
            await ask_for_ever(connection)
        async with open_console(tmp_path) as client:
            assert await client.request("hello")


async def test_octets_that_are_no_websocket_disturb_nobody(tmp_path: Path):
    async with console(tmp_path):
        async with await trio.open_unix_socket(tmp_path / "console.sock") as stream:
            await stream.send_all(b"\x00\xff" * 2000 + b"\r\n\r\n")
        async with await trio.open_unix_socket(tmp_path / "console.sock") as stream:
            await stream.send_all(b"GET /v1 HTTP/1.1\r\n")  # and nothing more
            async with open_console(tmp_path) as client:
                assert await client.request("hello")


async def test_another_path_is_turned_away(tmp_path: Path):
    async with console(tmp_path):
        with pytest.raises(BaseExceptionGroup) as caught:
            async with await trio.open_unix_socket(tmp_path / "console.sock") as stream, trio.open_nursery() as nursery:
                await wrap_client_stream(nursery, stream, "localhost", "/other")
        assert caught.group_contains(HandshakeError)


async def test_without_a_process_the_client_says_where_it_looked(tmp_path: Path):
    with pytest.raises(ConsoleUnreachableError, match="no tapir runs on"):
        async with open_console(tmp_path):
            pass


async def ask_for_ever(connection: WebSocketConnection) -> None:
    while True:
        await connection.send_message('{"id": 1, "op": "tree"}')


@asynccontextmanager
async def raw(folder: Path) -> AsyncIterator[WebSocketConnection]:
    async with await trio.open_unix_socket(folder / "console.sock") as stream, trio.open_nursery() as nursery:
        connection = await wrap_client_stream(nursery, stream, "localhost", "/v1")
        yield connection
        await connection.aclose()
        nursery.cancel_scope.cancel()
