"""A whole POP that is fed by a broker; and Core, which observes, signs, publishes, and knows what must be held."""

import contextlib
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import dns.message
import trio
from observing import CORE, LIST, SECOND, payload, signed, write_keystore
from peers import ZONE, Pop, wait_until

from tapir.app.cli.client import ConsoleUnreachableError, open_console
from tapir.codec.jose import SigningKey
from tapir.model.actions import ListKind
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.dial import MakeContext, broker_dial
from tapir.transport.mqtt.settings import Backoff, ClientSettings

TOPIC = "observations/down/tapir-pop"
SOON = Backoff(first=0.05, factor=1.5, maximum=0.5)


def configure(
    pop: Pop, server: str, *keys: SigningKey, kind: ListKind = ListKind.DENY, mqtt: Any = None, **source: Any
) -> Path:
    """Have `pop` take observations at `server`; returns where its keystore is."""
    keystore = pop.directory / "keys.json"
    pop.sources["core"] = {
        "active": True,
        "name": LIST,
        "description": "observations",
        "type": kind.value,
        "source": "mqtt",
        "format": "tapir-msg-v1",
        "topic": TOPIC,
        **source,
    }
    pop.extra = {
        "tapir": {"mqtt": {"server": server, "qos": 1, **(mqtt or {})}},
        "keystore": {"path": str(write_keystore(keystore, *(keys or (CORE,))))},
    }
    return keystore


def microseconds() -> int:
    """Now."""
    return time.time_ns() // 1000


@attrs.define
class Oracle:
    """What the list must hold, decided one message after the other, as naively as the rules can be read.

    By name the time of the last message that was applied, and the deadline; None for a name that was removed.
    """

    known: dict[str, tuple[int, int | None]] = attrs.field(factory=dict)
    stale: int = 0

    def add(self, name: str, at: int, seconds: int) -> None:
        """An observation."""
        stamp, deadline = self.known.get(name, (0, 0))
        if at < stamp or (at == stamp and deadline is None):
            self.stale += 1
        else:
            self.known[name] = at, at + seconds * SECOND

    def remove(self, name: str, at: int) -> None:
        """A removal."""
        if at < self.known.get(name, (0, 0))[0]:
            self.stale += 1
        else:
            self.known[name] = at, None

    def names(self, now: int | None = None) -> set[str]:
        """The list by now."""
        now = microseconds() if now is None else now
        return {f"{name}." for name, (_, deadline) in self.known.items() if deadline is not None and deadline > now}


@contextlib.asynccontextmanager
async def core(
    port: int, *, host: str = "127.0.0.1", make_context: MakeContext | None = None, name: str = "core"
) -> AsyncIterator[MqttClient]:
    """A client that publishes what Core would."""
    client = MqttClient(
        ClientSettings(client_id=name, backoff=SOON),
        dial=broker_dial(host, port, make_context=make_context),
        random=random.Random(1),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()


def observed(
    name: str, at: int, *, seconds: int = 3600, tags: int = 7, key: SigningKey = CORE, kind: ListKind = ListKind.DENY
) -> bytes:
    """A message that adds `name`."""
    return signed(payload([(name, tags, at, seconds)], at=at, kind=kind), key)


def removed(*names: str, at: int, kind: ListKind = ListKind.DENY) -> bytes:
    """A message that removes `names`."""
    return signed(payload(removed=names, at=at, kind=kind))


async def until(condition: Callable[[], object], what: str, seconds: float = 120) -> Any:
    """What `condition`, which may block, returns as soon as it is true."""
    return await trio.to_thread.run_sync(lambda: wait_until(condition, what=what, seconds=seconds, pause=0.05))


def _ask(pop: Pop, op: str) -> dict[str, Any]:
    """What the console answers, without a process for each question."""

    async def asking() -> dict[str, Any]:
        with trio.fail_after(30):
            while True:
                with contextlib.suppress(ConsoleUnreachableError):  # right after the start
                    async with open_console(pop.state_dir) as client:
                        found: dict[str, Any] = await client.request(op)
                        return found
                await trio.sleep(0.02)

    with ThreadPoolExecutor(1) as thread:  # there may be a loop in this one
        return thread.submit(trio.run, asking).result(60)


def mqtt(pop: Pop) -> dict[str, Any]:
    """What the session says of itself. Blocks."""
    found: dict[str, Any] = _ask(pop, "mqtt")["mqtt"]
    return found


def status(pop: Pop, name: str = "core") -> dict[str, Any]:
    """What an observation source says of itself. Blocks."""

    def said() -> dict[str, Any] | None:
        answer: dict[str, Any] = _ask(pop, "sources")["details"][name]
        # It is waited for a second; what is late, as on a busy machine it may be, is asked again.
        return answer if answer.keys() != {"error"} else None

    found: dict[str, Any] = wait_until(said, what=f"the source {name} to say how it stands")
    return found


def counters(pop: Pop, name: str = "core") -> Counter[str]:
    """What became of the messages of a source."""
    return Counter(dict(status(pop, name)["counters"]))


async def publish_all(client: MqttClient, messages: Iterable[bytes], topic: str = TOPIC) -> None:
    """Publish `messages`, and return when the broker has acknowledged them all."""
    last = [await client.submit(topic, message) for message in messages][-1:]
    for each in last:
        await each.wait_acknowledged()


@attrs.define
class Proxy:
    """Stands between a client and a broker, counts, and cuts connections where it is told to."""

    target: int
    port: int = 0
    silent: bool = False
    """accept, and say nothing"""
    cut_after: int | None = None
    """octets of the broker after which a connection is cut; the next one is not"""
    connections: int = 0
    cuts: int = 0
    _live: set[trio.CancelScope] = attrs.field(factory=set)

    def cut(self) -> None:
        """Cut every connection that there is, in the middle of whatever it carries."""
        for scope in self._live:
            scope.cancel()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, on a port of 127.0.0.1."""
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            self.port = listeners[0].socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, self._carry, listeners)
            task_status.started()

    async def _carry(self, ours: trio.SocketStream) -> None:
        self.connections += 1
        # Small buffers, so that a cut finds packets under way.
        ours.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with trio.CancelScope() as scope:
            self._live.add(scope)
            try:
                if self.silent:
                    await trio.sleep_forever()
                await self._both(ours)
            finally:
                self._live.discard(scope)
        await trio.aclose_forcefully(ours)

    async def _both(self, ours: trio.SocketStream) -> None:
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            theirs = await trio.open_tcp_stream("127.0.0.1", self.target)
            left, self.cut_after = self.cut_after, None
            try:
                async with trio.open_nursery() as nursery:

                    async def forth() -> None:
                        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                            async for octets in ours:
                                await theirs.send_all(octets)
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(forth)
                    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        async for octets in theirs:
                            await ours.send_all(octets if left is None else octets[:left])
                            if left is not None:
                                left -= len(octets)
                                if left <= 0:
                                    self.cuts += 1
                                    break
                    nursery.cancel_scope.cancel()
            finally:
                await trio.aclose_forcefully(theirs)


@attrs.define
class Watcher:
    """Asks for the serial all the time, across the lives of the process: it never goes back."""

    port: int
    serials: list[int] = attrs.field(factory=list)

    async def run(self) -> None:
        """Until cancelled."""
        query = dns.message.make_query(f"{ZONE}.", "SOA").to_wire()
        while True:
            asker = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
            with asker, contextlib.suppress(OSError), trio.move_on_after(0.5):
                await asker.connect(("127.0.0.1", self.port))
                await asker.send(query)
                answer = dns.message.from_wire(await asker.recv(4096))
                if answer.answer:
                    self.note(answer.answer[0][0].serial)
            await trio.sleep(0.01)

    def note(self, serial: int) -> None:
        """This was seen."""
        if not self.serials or self.serials[-1] != serial:
            before = self.serials[-1] if self.serials else serial
            assert (serial - before) % 2**32 < 2**31, f"the serial went back from {before} to {serial}"
            self.serials.append(serial)
