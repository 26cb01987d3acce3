"""Histograms on their way to a receiver written from Core's rules, over TLS in which both show their certificates."""

import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aggregate_sender
import attrs
import pytest
import trio
from aggregate_receiver import AggregateReceiver
from aggregate_sender import read_settings, sending
from certificates import Authority
from http_servers import Asked, Exchange, HttpServer, serving
from peers import Daemon

from actors import ActorRef, ManualClock
from tapir.codec.aggregates import aggregate_url
from tapir.codec.jose import parse_signing_key
from tapir.model.messages.edm import AggregatesStatus, GetAggregates, HistogramWritten
from tapir.services.uplink.aggregates import AggregateSettings, ConfigureAggregates
from tapir.store.parquetfiles import ParquetFiles
from tapir.transport.tls import server_context

MINUTE = 60_000_000
# The key of RFC 8037, appendix A.1.
KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "alg": "EdDSA",
    "kid": "edge.test.dnstapir.se",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
OTHER = {**KEY, "d": "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs", "x": "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"}


@attrs.define
class Way:
    """Sender, receiver and what lies between them; `on_the_way` changes requests, `troubles` come before the answer."""

    files: ParquetFiles
    receiver: AggregateReceiver
    folder: Path
    server: HttpServer | None = None
    on_the_way: Callable[[Asked], None] = lambda asked: None
    troubles: Callable[[Exchange], Any] | None = None
    document: dict[str, str] = attrs.Factory(dict)

    async def script(self, exchange: Exchange) -> None:
        self.on_the_way(exchange.asked)
        if self.troubles is None or not await self.troubles(exchange):
            await self.receiver.script(exchange)

    @property
    def settings(self) -> AggregateSettings:
        return read_settings(self.document)

    def write(self, *bodies: bytes) -> None:
        begin = int(time.time()) // 60 * MINUTE - len(bodies) * MINUTE
        for number, body in enumerate(bodies):
            self.files.write_histogram([body], start=begin + number * MINUTE, stop=begin + (number + 1) * MINUTE)

    def waiting(self) -> int:
        return len(self.files.waiting())


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    authority = Authority(tmp_path)
    core, edge = authority.issue("core.example"), authority.issue("edge.example")
    folder = tmp_path / "edm"
    folder.mkdir()
    shutil.copy(edge.certificate, folder / "tls.crt")
    shutil.copy(edge.key, folder / "tls.key")
    shutil.copy(authority.ca, folder / "ca.crt")
    (folder / "datakey.json").write_text(json.dumps(KEY))
    key = parse_signing_key(json.dumps(KEY).encode())
    receiver = AggregateReceiver({str(KEY["kid"]): key.public_key().jwk.key}, time.time)
    way = Way(files=ParquetFiles(folder / "parquet"), receiver=receiver, folder=folder)
    way.files.prepare()
    context = server_context(
        certificate=core.certificate, key=core.key, client_ca=authority.ca, require_client_certificate=True
    )
    async with serving(way.script, context) as server:
        way.server = server
        way.document = {
            "folder": str(folder),
            "data_dir": str(folder),
            "url": aggregate_url(f"https://{server.address}"),
        }
        yield way


async def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what another process does raises no event
            await trio.sleep(0.01)


async def status_when(ref: ActorRef[Any], condition: Callable[[AggregatesStatus], bool]) -> AggregatesStatus:
    with trio.fail_after(120):
        while not condition(status := await ref.ask(GetAggregates())):  # noqa: ASYNC110 - likewise
            await trio.sleep(0.01)
    return status


# -------------------------------------------------------------------------------------------------- taken and not taken


async def test_histograms_are_taken_the_oldest_first(way: Way) -> None:
    bodies = [os.urandom(size) for size in (1, 100, 65_536, 1_000_000)]
    way.write(*bodies)
    async with sending(way.settings) as ref:
        status = await status_when(ref, lambda status: status.sent == 4)
    assert [each.body for each in way.receiver.stored] == bodies
    assert {each.creator for each in way.receiver.stored} == {KEY["kid"]}
    assert {each.kind for each in way.receiver.stored} == {"histogram"}
    assert {each.seconds for each in way.receiver.stored} == {60}
    assert way.receiver.stored[0].headers["user-agent"] == "edm/1.0 linux/amd64"
    assert status.failures == ()
    assert way.waiting() == 0
    assert way.files.count_sent() == 4


async def test_what_core_has_already_is_done(way: Way) -> None:
    way.write(b"PAR1 the same")
    async with sending(way.settings) as ref:
        await status_when(ref, lambda status: status.sent == 1)
        way.write(b"PAR1 the same")
        await ref.tell(HistogramWritten())
        await status_when(ref, lambda status: status.sent == 2)
    assert len(way.receiver.stored) == way.receiver.duplicates == 1
    assert way.waiting() == 0


def change_body(asked: Asked) -> None:
    asked.body = asked.body[:-1] + b"!"


def change_length(asked: Asked) -> None:
    asked.body += b"!"


def change_digest(asked: Asked) -> None:
    asked.headers["content-digest"] = asked.headers["content-digest"].replace("sha-256=:", "sha-256=:A", 1)


def change_type(asked: Asked) -> None:
    asked.headers["content-type"] = "application/binary"


def change_signature(asked: Asked) -> None:
    asked.headers["signature"] = asked.headers["signature"].replace("sig1=:", "sig1=:AAAA", 1)


def change_date(asked: Asked) -> None:
    asked.headers["signature-input"] = asked.headers["signature-input"].replace(";created=1", ";created=2", 1)


@pytest.mark.parametrize(
    "change", [change_body, change_length, change_digest, change_type, change_signature, change_date]
)
async def test_what_was_changed_on_the_way_is_refused_and_sent_again(way: Way, change: Callable[[Asked], None]) -> None:
    way.write(b"PAR1 as it was")
    way.on_the_way = change
    async with sending(way.settings) as ref:
        status = await status_when(ref, lambda status: dict(status.failures).get("unauthorised", 0) >= 2)
        assert "401" in status.trouble
        assert (status.waiting, way.receiver.stored) == (1, [])
        way.on_the_way = lambda asked: None
        await until(lambda: bool(way.receiver.stored))
    assert [each.body for each in way.receiver.stored] == [b"PAR1 as it was"]
    assert way.waiting() == 0


@pytest.mark.parametrize("days", [-1.01, 1.01])
async def test_a_signature_of_another_day_is_refused(way: Way, days: float) -> None:
    way.write(b"PAR1")
    clock = ManualClock(int((time.time() + days * 86400) * 1e6))
    async with sending(way.settings, clock) as ref:
        await status_when(ref, lambda status: dict(status.failures).get("unauthorised", 0) >= 2)
        assert way.receiver.stored == []
        clock.advance(-int(days * 86400e6))
        await until(lambda: bool(way.receiver.stored))


async def test_an_unknown_key_is_refused_until_it_is_replaced(way: Way) -> None:
    path = way.folder / "datakey.json"
    path.write_text(json.dumps({**KEY, "kid": "stranger"}))
    way.write(b"PAR1")
    async with sending(way.settings) as ref:
        await status_when(ref, lambda status: dict(status.failures).get("unauthorised", 0) >= 2)
        path.write_text(json.dumps({**OTHER, "kid": KEY["kid"]}))
        before = dict((await ref.ask(GetAggregates())).failures)["unauthorised"]
        await status_when(ref, lambda status: dict(status.failures)["unauthorised"] >= before + 2)
        assert way.receiver.stored == []
        path.write_text(json.dumps(KEY))
        await until(lambda: bool(way.receiver.stored))


async def test_without_a_certificate_nothing_is_heard(way: Way) -> None:
    way.write(b"PAR1")
    without = attrs.evolve(way.settings, client_certificate=None, client_key=None)
    async with sending(without) as ref:
        await status_when(ref, lambda status: sum(count for _, count in status.failures) >= 2)
        assert way.server is not None
        assert way.server.asked == []
        await ref.ask(ConfigureAggregates(settings=way.settings))
        await until(lambda: bool(way.receiver.stored))


# -------------------------------------------------------------------------------------------------------------- trouble


async def hang_up(exchange: Exchange) -> bool:
    await trio.aclose_forcefully(exchange.stream)
    return True


async def say_500(exchange: Exchange) -> bool:
    await exchange.answer(500, b"Internal Server Error")
    return True


async def say_half(exchange: Exchange) -> bool:
    await exchange.send(b"HTTP/1.1 201 Created\r\nLocation: /api/v1/aggregates/1\r\nContent-Length: 9\r\n\r\nhalf")
    await trio.aclose_forcefully(exchange.stream)
    return True


async def say_nothing(exchange: Exchange) -> bool:
    await trio.sleep(0.5)
    await trio.aclose_forcefully(exchange.stream)
    return True


@pytest.mark.parametrize("trouble", [hang_up, say_500, say_half, say_nothing])
async def test_after_trouble_everything_arrives(way: Way, trouble: Callable[[Exchange], Any]) -> None:
    bodies = [b"PAR1 %d" % number for number in range(10)]
    way.write(*bodies)
    way.troubles = trouble
    async with sending(attrs.evolve(way.settings, patience=0.2)) as ref:
        await status_when(ref, lambda status: sum(count for _, count in status.failures) >= 3)
        assert way.waiting() == 10
        way.troubles = None
        await status_when(ref, lambda status: status.sent == 10)
    assert sorted(each.body for each in way.receiver.stored) == bodies


async def wait_for_more(way: Way, count: int) -> None:
    await until(lambda: len(way.receiver.stored) > count)


async def test_kill_9_while_sending_loses_nothing(way: Way, campaign: Any) -> None:
    chance, kills = campaign.random(), max(4, campaign.rounds(20))
    bodies = [b"PAR1 %04d " % number + os.urandom(2000) for number in range(15 * kills)]
    way.write(*bodies)
    names = {file.path.name for file in way.files.waiting()}
    (way.folder / "settings.json").write_text(json.dumps(way.document))
    command = [sys.executable, aggregate_sender.__file__, str(way.folder / "settings.json")]

    async def answer_late(exchange: Exchange) -> bool:
        await trio.sleep(chance.random() * 0.02)
        answer = way.receiver.receive(
            exchange.asked.method, exchange.asked.path, exchange.asked.headers, exchange.asked.body
        )
        await trio.sleep(chance.random() * 0.02)
        await exchange.answer(answer.status, head=f"Location: {answer.location}\r\n")
        return True

    way.troubles = answer_late
    for _ in range(kills):
        begun = len(way.receiver.stored)
        daemon = Daemon.start("sender", command, directory=way.folder)
        try:
            await wait_for_more(way, begun)
            await trio.sleep(chance.random() * 0.15)
            assert daemon.alive(), daemon.output()
        finally:
            daemon.kill()
        held = {file.path.name for file in way.files.waiting()} | {path.name for path in way.files.sent.iterdir()}
        assert held == names, "a file is lost"
        # What is not in the outbox any more Core has.
        done = {path.read_bytes() for path in way.files.sent.iterdir()}
        assert done <= {each.body for each in way.receiver.stored}
    assert way.receiver.stored
    async with sending(way.settings) as ref:
        await status_when(ref, lambda status: status.waiting == 0 and way.waiting() == 0)
    assert sorted(each.body for each in way.receiver.stored) == bodies
    assert way.receiver.duplicates <= kills
    assert {path.name for path in way.files.sent.iterdir()} == names
