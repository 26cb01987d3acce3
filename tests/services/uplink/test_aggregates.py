"""Histograms leave the outbox when Core has them, the oldest first, and whatever the server says all arrive at last."""

import errno
import itertools
import json
import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors import ActorSpec, ActorSystem, MailboxSpec, ManualClock, Overflow, Strategy, SupervisorSpec
from actors.testing import Probe
from tapir.codec.aggregates import NoReceipt, Receipt, Refusal
from tapir.codec.edmnames import HISTOGRAM_FILE, FileName
from tapir.model.messages.edm import AggregatesStatus, GetAggregates, HistogramWritten
from tapir.model.messages.events import ClearEvent, EventKind, RaiseEvent
from tapir.services.uplink.aggregates import AggregateSender, AggregateSettings, ConfigureAggregates
from tapir.services.uplink.aggregates_post import Parcel
from tapir.store.parquetfiles import ParquetFiles, Retention
from tapir.transport.http.client import HttpFailed, NoConnection

BOX = MailboxSpec(capacity=64, overflow=Overflow.REJECT)
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 3600
NOON = 1_780_000_020 * SECOND
URL = "http://receiver.example/api/v1/aggregate/histogram"
# The key of RFC 8037, appendix A.1.
KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "kid": "edge.example",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
TAKEN = Receipt(location="https://receiver.example/api/v1/aggregates/1", aggregate_id=None)

Answer = Callable[[bytes], Receipt | NoReceipt | Exception]


def refused(refusal: Refusal, status: int) -> NoReceipt:
    return NoReceipt(refusal=refusal, status=status)


UNAUTHORISED = refused(Refusal.UNAUTHORISED, 401)
REJECTED = refused(Refusal.REJECTED, 422)
BROKEN = refused(Refusal.SERVER_ERROR, 500)


class Core:
    """The receiver, and the way there: says what `answer` says to a body, after `seconds`."""

    def __init__(self) -> None:
        self.answer: Answer = lambda body: TAKEN
        self.seconds = 0.0
        self.tries: list[tuple[float, bytes]] = []
        self.taken: list[bytes] = []
        self.parcels: list[Parcel] = []

    async def post(self, parcel: Parcel) -> Receipt | NoReceipt:
        body = parcel.request.body
        self.parcels.append(parcel)
        self.tries.append((trio.current_time(), body))
        await trio.sleep(self.seconds)
        answer = self.answer(body)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Receipt):
            self.taken.append(body)
        return answer

    def pauses(self) -> list[float]:
        times = [at for at, _ in self.tries]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


class Rig:
    def __init__(self, folder: Path, *, chance: float = 0.0, **settings: Any) -> None:
        self.files = ParquetFiles(folder / "parquet")
        self.files.prepare()
        key = folder / "key.json"
        key.write_text(json.dumps(KEY))
        self.core = Core()
        self.events = Probe()
        self.clock = ManualClock(NOON)
        self.system = ActorSystem(clock=self.clock)
        self.ref = self.system.ref("aggregates")
        self.chance = chance
        self.settings = AggregateSettings(
            **{
                "enabled": True,
                "data_dir": folder,
                "url": URL,
                "signing_key": key,
                "client_certificate": None,
                "client_key": None,
                "ca": None,
                "keep_sent": Retention(seconds=86400),
                "agent": "edm/1 linux/amd64",
                **settings,
            }
        )
        self.tree = SupervisorSpec(
            name="test",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                self.events.spec("events"),
                ActorSpec(name="aggregates", factory=self.make, mailbox=BOX),
            ),
        )

    def make(self) -> AggregateSender:
        return AggregateSender(
            lambda: self.settings, events=self.system.ref("events"), post=self.core.post, chance=lambda: self.chance
        )

    def write(self, *bodies: bytes, begin: int = 0) -> list[Path]:
        """A file for each, of a minute each, from the minute `begin` after noon on."""
        starts = [NOON + (begin + number) * MINUTE for number in range(len(bodies))]
        return [
            self.files.write_histogram([body], start=start, stop=start + MINUTE)
            for body, start in zip(bodies, starts, strict=True)
        ]

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    async def status(self) -> AggregatesStatus:
        status: AggregatesStatus = await self.ref.ask(GetAggregates())
        return status

    async def configure(self, **changes: Any) -> None:
        self.settings = attrs.evolve(self.settings, **changes)
        await self.ref.ask(ConfigureAggregates(settings=self.settings))


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.system.run, rig.tree)
        yield rig
        rig.system.request_stop()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO)

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if "histogram" in record.getMessage()]

    return lines


def bodies(*numbers: int) -> list[bytes]:
    return [b"PAR1 %03d" % number for number in numbers]


# ------------------------------------------------------------------------------------------------------ as it should be


async def test_the_oldest_first_and_each_to_those_that_were_sent(rig: Rig, autojump_clock: Any) -> None:
    paths = rig.write(*bodies(1, 2, 3))
    async with running(rig):
        await trio.sleep(1)
        assert rig.core.taken == bodies(1, 2, 3)
        assert rig.names(rig.files.outbox) == []
        assert rig.names(rig.files.sent) == [path.name for path in paths]
        status = await rig.status()
        assert (status.waiting, status.waiting_octets, status.oldest_at) == (0, 0, None)
        assert (status.sent, status.kept, status.failures, status.trouble) == (3, 3, (), "")
        assert (status.enabled, status.url, status.last_sent_at) == (True, URL, NOON)
    headers = dict(rig.core.parcels[0].request.headers)
    assert headers["Aggregate-Interval"] == "2026-05-28T20:27:00Z/PT1M"
    assert f"created={NOON // SECOND}" in headers["Signature-Input"]
    assert rig.core.parcels[0].request.url == URL


async def test_a_file_is_sent_when_it_is_told_of_or_after_ten_seconds(rig: Rig, autojump_clock: Any) -> None:
    async with running(rig):
        await trio.sleep(1)
        rig.write(*bodies(1))
        await rig.ref.tell(HistogramWritten())
        await trio.sleep(0.5)
        assert rig.core.taken == bodies(1)
        rig.write(*bodies(2), begin=1)
        await trio.sleep(10)
        assert rig.core.taken == bodies(1, 2)


async def test_the_status_has_each_file_that_was_told_of(
    rig: Rig, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.core.seconds = 20
    rig.write(*bodies(1))
    async with running(rig):
        await trio.sleep(1)
        rig.write(*bodies(2, 3), begin=1)
        await rig.ref.tell(HistogramWritten())
        status = await rig.status()
        assert (status.waiting, status.waiting_octets, status.oldest_at) == (3, 24, NOON)

        def refuse(path: Any) -> Iterator[Any]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", refuse)
            assert (await rig.status()).waiting == 1


async def test_a_backlog_larger_than_what_is_looked_at_at_once(
    rig: Rig, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapir.services.uplink.aggregates_turns.WINDOW", 3)
    rig.write(*bodies(*range(12)))
    async with running(rig):
        await trio.sleep(1)
        assert sorted(rig.core.taken) == bodies(*range(12))
        assert rig.core.taken[:3] == bodies(0, 1, 2)


async def test_what_was_sent_is_cleaned_up_each_minute(rig: Rig, autojump_clock: Any) -> None:
    old, young = rig.write(*bodies(1, 2))
    noon = NOON / SECOND
    os.utime(old, (noon, noon - 86400 + 30))
    os.utime(young, (noon, noon))
    async with running(rig):
        await trio.sleep(1)
        assert len(rig.names(rig.files.sent)) == 2
        await trio.sleep(61)
        assert rig.names(rig.files.sent) == [young.name]
        assert (await rig.status()).kept == 1


# -------------------------------------------------------------------------------------------------------------- trouble


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (NoConnection("no connection: connection refused"), "no-connection", "connection refused"),
        (HttpFailed("the answer stalled"), "no-answer", "the answer stalled"),
        (HttpFailed("the answer is cut off, or is no HTTP"), "no-answer", "cut off"),
        (BROKEN, "server-error", "the server answers 500"),
        (refused(Refusal.OVERLOADED, 503), "overloaded", "503"),
        (refused(Refusal.REDIRECTED, 302), "redirected", "302"),
        (refused(Refusal.UNEXPECTED, 200), "unexpected", "200"),
        (refused(Refusal.BAD_LOCATION, 201), "bad-location", "201"),
    ],
)
async def test_an_outage_of_hours_is_told_once_and_loses_nothing(
    rig: Rig, autojump_clock: Any, said: Any, answer: Exception | NoReceipt, reason: str, text: str
) -> None:
    rig.core.answer = lambda body: answer
    rig.write(*bodies(*range(12)))
    async with running(rig):
        await trio.sleep(2 * HOUR)
        status = await rig.status()
        assert text in status.trouble
        assert (status.waiting, status.oldest_at, status.last_sent_at) == (12, NOON, None)
        assert status.failures == ((reason, len(rig.core.tries)),)
        # No faster than it should, and not given up: 10, 20, 40, ... up to ten minutes less the jitter.
        assert rig.core.pauses()[:6] == pytest.approx([10, 20, 40, 80, 160, 320])
        assert rig.core.pauses()[6:] == pytest.approx([400] * len(rig.core.pauses()[6:]))
        rig.core.answer = lambda body: TAKEN
        await trio.sleep(601)
        assert sorted(rig.core.taken) == bodies(*range(12))
        assert rig.names(rig.files.outbox) == []
        assert (await rig.status()).trouble == ""
    assert [line.partition(":")[0] for line in said()] == [
        "histograms cannot be sent now",
        "histograms are sent again",
    ]


@pytest.mark.parametrize("chance", [0.0, 0.37, 1.0])
async def test_pauses_are_spread_within_their_bounds(tmp_path: Path, autojump_clock: Any, chance: float) -> None:
    rig = Rig(tmp_path, chance=chance)
    rig.core.answer = lambda body: NoConnection("no route")
    rig.write(*bodies(1))
    async with running(rig):
        await trio.sleep(HOUR)
    assert rig.core.pauses()[0] == pytest.approx(10 * (1 + chance / 2))
    assert max(rig.core.pauses()) == pytest.approx(400 + 200 * chance)
    assert all(10 <= pause <= 600.001 for pause in rig.core.pauses())


async def test_new_files_do_not_shorten_a_pause(rig: Rig, autojump_clock: Any) -> None:
    rig.core.answer = lambda body: NoConnection("no route")
    rig.write(*bodies(0))
    async with running(rig):
        for number in range(1, 60):
            rig.write(*bodies(number), begin=number)
            await rig.ref.tell(HistogramWritten())
            await trio.sleep(1)
        assert len(rig.core.tries) == 3
        assert (await rig.status()).waiting == 60
        # Without a connection nothing speaks against the oldest.
        assert {body for _, body in rig.core.tries} == set(bodies(0))


async def test_without_authority_all_wait_and_all_go_when_it_is_given(rig: Rig, autojump_clock: Any, said: Any) -> None:
    rig.core.answer = lambda body: UNAUTHORISED
    rig.write(*bodies(*range(20)))
    async with running(rig):
        await trio.sleep(3 * HOUR)
        assert "does it know the public half of the signing key" in (await rig.status()).trouble
        assert len(rig.core.tries) < 40
        assert (await rig.status()).waiting == 20
        rig.core.answer = lambda body: TAKEN
        await trio.sleep(620)
        assert sorted(rig.core.taken) == bodies(*range(20))
        assert (await rig.status()).trouble == ""
    assert [line.partition(":")[0] for line in said()] == [
        "a histogram is not sent now",
        "no histogram is refused any more",
    ]


@pytest.mark.parametrize("answer", [REJECTED, BROKEN, HttpFailed("the connection broke")])
async def test_files_that_are_never_taken_hold_nobody_up(
    rig: Rig, autojump_clock: Any, said: Any, answer: NoReceipt | Exception
) -> None:
    bad = set(bodies(0, 1, 2, 5))
    rig.core.answer = lambda body: answer if body in bad else TAKEN
    rig.write(*bodies(*range(8)))
    async with running(rig):
        for number in range(8, 68):
            rig.write(*bodies(number), begin=number)
            await rig.ref.tell(HistogramWritten())
            await trio.sleep(60)
        assert sorted(rig.core.taken) == bodies(3, 4, *range(6, 68))
        assert (await rig.status()).waiting == 4
        # Tried again now and then, and not each minute.
        assert len(rig.core.tries) < 64 + 4 * 7
        bad.clear()
        await trio.sleep(HOUR)
        assert len(rig.core.taken) == 68
        assert (await rig.status()).trouble == ""
    assert sum("a histogram is not sent now" in line for line in said()) <= 2
    assert said()[-1] == "no histogram is refused any more"


async def test_what_comes_and_goes_is_not_told_each_time(rig: Rig, autojump_clock: Any, said: Any) -> None:
    """A server that takes each second try; and then none for long, which is news again."""
    answers: Iterator[Receipt | NoReceipt] = itertools.cycle([BROKEN, TAKEN])
    rig.core.answer = lambda body: next(answers)
    async with running(rig):
        for number in range(120):
            rig.write(*bodies(number), begin=number)
            await rig.ref.tell(HistogramWritten())
            await trio.sleep(1)
            assert "500" in (await rig.status()).trouble
            await trio.sleep(59)
            assert (await rig.status()).trouble == ""
        assert len(rig.core.taken) == 120
        assert len(said()) == 2
        rig.core.answer = lambda body: BROKEN
        rig.write(*bodies(200), begin=200)
        await trio.sleep(HOUR)
        assert len(said()) == 3
        rig.core.answer = lambda body: TAKEN
        await trio.sleep(600)
    assert [line.partition(":")[0] for line in said()] == [
        "histograms cannot be sent now",
        "histograms are sent again",
    ] * 2


async def test_one_at_a_time(rig: Rig, autojump_clock: Any) -> None:
    rig.core.seconds = 7
    rig.write(*bodies(1, 2, 3))
    async with running(rig):
        await trio.sleep(10)
        await rig.ref.tell(HistogramWritten())
        await trio.sleep(20)
    assert rig.core.pauses() == pytest.approx([7, 7])


# ---------------------------------------------------------------------------------------------------- files and folders


async def test_files_of_others_and_strange_ones_hold_nobody_up(
    rig: Rig, autojump_clock: Any, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = rig.files.outbox
    empty, gone, unreadable, good = rig.write(*bodies(1, 2, 3, 4))
    empty.write_bytes(b"")
    (outbox / "notes.txt").write_text("mine")
    (outbox / "dns_histogram-yesterday.parquet").write_text("mine")
    (outbox / str(FileName(kind=HISTOGRAM_FILE, start=0, stop=MINUTE))).mkdir()
    (outbox / str(FileName(kind=HISTOGRAM_FILE, start=0, stop=2 * MINUTE))).symlink_to(good)
    opened = os.open

    def strange(path: Any, *rest: Any, **more: Any) -> int:
        if path == gone:
            gone.unlink()
        if path == unreadable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", strange)
        async with running(rig):
            await trio.sleep(5)
            assert rig.core.taken == bodies(4)
            status = await rig.status()
            assert (status.waiting, status.failures) == (2, (("unusable", 2),))
            patch.setattr(os, "open", opened)
            empty.unlink()
            await trio.sleep(HOUR)
            assert rig.core.taken == bodies(4, 3)
            assert (await rig.status()).waiting == 0
    assert len(said()) == 2
    assert "which no histogram has" in said()[0]
    assert said()[1] == "no histogram is refused any more"
    assert (outbox / "notes.txt").exists()


async def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(
    rig: Rig, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = rig.write(*bodies(1, 2))
    found = rig.files.waiting()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(ParquetFiles, "waiting", lambda self: [file for file in found if file.path.exists()])
    async with running(rig):
        await trio.sleep(1)
        assert rig.core.taken == bodies(2)
        assert "is no file" in (await rig.status()).trouble


async def test_what_cannot_be_moved_is_not_sent_again(
    rig: Rig, autojump_clock: Any, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write(*bodies(1, 2))
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with running(rig):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", full)
            await trio.sleep(100)
            rig.write(*bodies(3), begin=3)
            await trio.sleep(100)
            assert rig.core.taken == bodies(1, 2, 3)
            assert len(rig.names(rig.files.outbox)) == 3
            status = await rig.status()
            assert "No space left on device" in status.trouble
            assert (status.waiting, status.sent) == (0, 3)
        assert Path.replace is replace
        await trio.sleep(11)
        assert rig.names(rig.files.outbox) == []
        assert len(rig.names(rig.files.sent)) == 3
        assert (await rig.status()).trouble == ""
    assert rig.core.taken == bodies(1, 2, 3)
    assert len(said()) == 2


async def test_what_somebody_takes_away_after_it_was_sent_is_no_trouble(rig: Rig, autojump_clock: Any) -> None:
    (path,) = rig.write(*bodies(1))

    def take(body: bytes) -> Receipt:
        path.unlink()
        return TAKEN

    rig.core.answer = take
    async with running(rig):
        await trio.sleep(30)
        assert len(rig.core.tries) == 1
        assert (await rig.status()).trouble == ""


async def test_folders_that_are_not_there_or_cannot_be_read(
    rig: Rig, autojump_clock: Any, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(rig.files.outbox.parent)
    async with running(rig):
        await trio.sleep(30)
        assert (await rig.status()).trouble == ""

        def refuse(path: Any) -> Iterator[Any]:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", refuse)
            await trio.sleep(100)
            assert "Permission denied" in (await rig.status()).trouble
        rig.write(*bodies(1))
        await trio.sleep(11)
        assert rig.core.taken == bodies(1)
        assert (await rig.status()).trouble == ""
    assert len(said()) == 2


# ------------------------------------------------------------------------------------------------ settings and the stop


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (None, "key.json cannot be read: No such file or directory"),
        ("{}", "the signing key"),
        (json.dumps({**KEY, "kid": ""}), "`kid`"),
        (json.dumps({**KEY, "kid": "ä"}), "`kid`"),
    ],
)
async def test_a_key_that_cannot_sign_is_told_and_read_again(
    rig: Rig, autojump_clock: Any, said: Any, key: str | None, text: str
) -> None:
    path = rig.settings.signing_key
    path.unlink() if key is None else path.write_text(key)
    rig.write(*bodies(1, 2))
    async with running(rig):
        await trio.sleep(100)
        status = await rig.status()
        assert text in status.trouble
        assert (status.waiting, rig.core.tries) == (2, [])
        path.write_text(json.dumps(KEY))
        await trio.sleep(11)
        assert rig.core.taken == bodies(1, 2)
    assert len(said()) == 2
    assert KEY["d"] not in "".join(said())


async def test_a_certificate_that_cannot_be_read_is_told(rig: Rig, autojump_clock: Any) -> None:
    rig.settings = attrs.evolve(
        rig.settings,
        url="https://receiver.example/x",
        client_certificate=rig.settings.data_dir / "tls.crt",
        client_key=rig.settings.data_dir / "tls.key",
    )
    rig.write(*bodies(1))
    async with running(rig):
        await trio.sleep(1)
        assert "tls.crt" in (await rig.status()).trouble
        assert (await rig.status()).failures == (("not-ready", 1),)


async def test_a_signature_is_of_the_time_of_the_try(rig: Rig, autojump_clock: Any) -> None:
    rig.core.answer = lambda body: BROKEN
    rig.write(*bodies(1))
    async with running(rig):
        await trio.sleep(1)
        rig.clock.advance((3 * 86400) * SECOND)
        rig.core.answer = lambda body: TAKEN
        await trio.sleep(10)
    assert (
        f"created={NOON // SECOND + 3 * 86400 + 10};" in dict(rig.core.parcels[-1].request.headers)["Signature-Input"]
    )


async def test_it_is_switched_off_and_on_while_it_runs(rig: Rig, autojump_clock: Any, said: Any) -> None:
    rig.core.answer = lambda body: BROKEN
    rig.write(*bodies(1, 2))
    async with running(rig):
        await trio.sleep(1)
        await rig.configure(enabled=False)
        rig.core.answer = lambda body: TAKEN
        await trio.sleep(HOUR)
        status = await rig.status()
        assert (status.enabled, status.waiting, status.trouble) == (False, 2, "")
        assert len(rig.core.tries) == 1
        await rig.configure(enabled=True, url=f"{URL}s")
        await trio.sleep(1)
        assert rig.core.taken == bodies(1, 2)
        assert rig.core.parcels[-1].request.url == f"{URL}s"
    assert len(said()) == 1


async def test_a_reload_tries_at_once(rig: Rig, autojump_clock: Any) -> None:
    """Also with equal settings: a key or a certificate may have been mended."""
    rig.core.answer = lambda body: UNAUTHORISED
    rig.write(*bodies(1, 2))
    async with running(rig):
        await trio.sleep(1000)
        tries = len(rig.core.tries)
        rig.core.answer = lambda body: TAKEN
        await rig.configure()
        await trio.sleep(1)
        assert len(rig.core.tries) == tries + 2
        assert rig.core.taken == bodies(1, 2)


async def test_a_reload_alone_mends_nothing(rig: Rig, autojump_clock: Any, said: Any) -> None:
    rig.core.answer = lambda body: UNAUTHORISED
    rig.core.seconds = 5
    rig.write(*bodies(1, 2))
    async with running(rig):
        await trio.sleep(1000)
        await rig.configure()
        await trio.sleep(1000)
        assert "does not accept our signature" in (await rig.status()).trouble
        assert [line.partition(":")[0] for line in said()] == ["a histogram is not sent now"]
        rig.core.answer = lambda body: TAKEN
        await rig.configure()
        await trio.sleep(20)
        assert (await rig.status()).trouble == ""
    assert said()[1:] == ["no histogram is refused any more"]


async def test_the_status_tells_the_last_answer(rig: Rig, autojump_clock: Any) -> None:
    rig.core.answer = lambda body: BROKEN
    rig.write(*bodies(1, 2))
    async with running(rig):
        await trio.sleep(5)
        assert "500" in (await rig.status()).trouble
        rig.core.answer = lambda body: UNAUTHORISED
        await trio.sleep(HOUR)
        assert "does not accept our signature" in (await rig.status()).trouble
        rig.core.answer = lambda body: TAKEN
        await trio.sleep(2 * HOUR)
        assert (await rig.status()).trouble == ""


@pytest.mark.parametrize(("seconds", "taken"), [(2, 1), (60, 0)])
async def test_the_stop_waits_for_a_post_and_not_for_long(
    rig: Rig, autojump_clock: Any, seconds: float, taken: int
) -> None:
    rig.core.seconds = seconds
    rig.write(*bodies(1, 2))
    async with running(rig):
        await trio.sleep(0.5)
        began = trio.current_time()
    assert trio.current_time() - began < 3.5
    assert (len(rig.core.taken), len(rig.names(rig.files.sent))) == (taken, taken)
    assert len(rig.core.tries) == 1
    # Nothing is lost.
    rig.system = ActorSystem(clock=rig.clock)
    rig.ref = rig.system.ref("aggregates")
    rig.core.seconds = 0
    async with running(rig):
        await trio.sleep(1)
    assert rig.core.taken == bodies(1, 2)


# --------------------------------------------------------------------------------------------------------------- events


async def test_what_waits_for_an_hour_is_an_event_until_it_is_sent(rig: Rig, autojump_clock: Any) -> None:
    over = ClearEvent(kind=EventKind.HISTOGRAMS_UNSENT, subject="aggregates")
    rig.core.answer = lambda body: BROKEN
    rig.write(*bodies(1))
    async with running(rig):
        await trio.sleep(30)
        # What an earlier run raised is over, unless it is found so again.
        assert rig.events.messages == [over]
        await trio.sleep(HOUR)
        assert rig.events.messages == [over]
        await trio.sleep(50)
        raised = rig.events.messages[1]
        assert isinstance(raised, RaiseEvent)
        assert (raised.kind, raised.subject) == (over.kind, over.subject)
        assert "more than 60 minutes" in raised.text
        # It is confirmed as long as it lasts.
        await trio.sleep(HOUR)
        assert 10 <= len(rig.events.messages) <= 14
        assert set(rig.events.messages[1:]) == {raised}
        rig.core.answer = lambda body: TAKEN
        await trio.sleep(620)
        assert rig.events.messages[-1] == over


async def test_it_is_over_when_sending_is_switched_off(rig: Rig, autojump_clock: Any) -> None:
    rig.core.answer = lambda body: BROKEN
    rig.write(*bodies(1))
    rig.clock.advance((2 * HOUR) * SECOND)
    async with running(rig):
        await trio.sleep(1)
        assert isinstance(rig.events.messages[-1], RaiseEvent)
        await rig.configure(enabled=False)
        await trio.sleep(1)
        assert isinstance(rig.events.messages[-1], ClearEvent)


async def test_it_sends_without_a_keeper_of_events(rig: Rig, autojump_clock: Any) -> None:
    post: Callable[[Parcel], Awaitable[Receipt | NoReceipt]] = rig.core.post
    rig.write(*bodies(1))
    rig.tree = attrs.evolve(
        rig.tree,
        children=(
            ActorSpec(
                name="aggregates",
                factory=lambda: AggregateSender(lambda: rig.settings, events=None, post=post),
                mailbox=BOX,
            ),
        ),
    )
    async with running(rig):
        await trio.sleep(1)
    assert rig.core.taken == bodies(1)
