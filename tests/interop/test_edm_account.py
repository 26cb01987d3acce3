"""received = minimised + ignored + malformed + dropped + in flight: under overload, reload, rotation, stop and kill -9.

A sender that got FINISH is told that its frames were taken; each of them is in a column of the account then, and what
was minimised is in a histogram, in sessions or in an event. After a crash that holds for all that was settled before.
"""

import contextlib
import functools
import io
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import dnstap_blast
import pytest
import trio
from dnstap_frames import Workload
from edm import Edm, Stream, answer_frame, read_histograms, responses_in, send, sessions_in
from edm_core import Core, refuse, say_half, say_nothing
from http_servers import Exchange
from peers import wait_until

from tapir.model.names import format_name

WORKLOAD: Final = Workload(clients=5_000, known=5_000, others=5_000)
SMALL: Final = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


@pytest.fixture(scope="session")
def octets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared frames of WORKLOAD."""
    path = tmp_path_factory.mktemp("frames") / "octets"
    dnstap_blast.prepare(path, WORKLOAD, 20_000)
    return path


def know(edm: Edm) -> None:
    """The well-known names of WORKLOAD."""
    edm.write_well_known({format_name(name) for name in WORKLOAD.known_names()})


@contextlib.contextmanager
def blasting(edm: Edm, octets: Path, seconds: float) -> Iterator[Callable[[], dict[str, float]]]:
    """A sender in a process of its own that never pauses; the call waits for its end and says how it went."""
    words = [sys.executable, dnstap_blast.__file__, str(edm.socket), str(octets), str(seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:

        def result() -> dict[str, float]:
            said = process.communicate(timeout=seconds + 120)[0]
            assert process.returncode == 0
            found: dict[str, float] = json.loads(said)
            return found

        try:
            yield result
        finally:
            process.kill()


def test_overload_reload_and_rotation(edm: Edm, octets: Path, campaign: Any) -> None:
    know(edm)
    ignored = edm.directory / "ignored-clients"
    ignored.write_text("10.0.0.0/30\n")
    edm.keys |= {"ignored-client-ips-file": str(ignored), "enable-manual-parquet-rotation": True}
    edm.start()
    # Until it has read its lists, an order to rotate is answered by what is missing.
    wait_until(lambda: edm.part("minimiser")["interval_started_at"], what="minimising to begin")
    seconds = 130 if campaign.full else 4  # in full over two minutes' ends
    turns = 0
    with blasting(edm, octets, seconds) as result:
        until = time.monotonic() + seconds
        while time.monotonic() < until or turns < 2:
            turns += 1
            ignored.write_text(f"10.0.0.0/{28 + turns % 4}\n")
            edm.keys["cryptopan-key"] = f"key {turns}"
            edm.keys["disable-session-files"] = bool(turns % 3 == 0)
            know(edm)
            edm.reload()
            edm.rotate()
            assert edm.fetch("/debug/rotate-parquet", method="POST")[0] == 202
            account = edm.account()
            assert account.balance == 0
            assert account.in_flight >= 0
        sent = result()
    account = edm.settled(int(sent["frames"]))
    assert turns >= 2
    assert account.total("dropped") == 0, account  # overload is the sender's to bear, by back-pressure
    assert account.settled["ignored.client"]
    assert edm.metrics()["edm_processed_dnstap_total"] == account.received
    edm.rotate()
    # An interval that a reload ended may still be on its way to the disk.
    counted = account.settled["minimised.histogram"]
    wait_until(lambda: responses_in(edm.histograms()) == counted, what="every response in a histogram")
    assert 0 < len(sessions_in(edm.files("sessions"))) <= account.settled["minimised.other"]
    assert edm.stop() == 0


def test_a_stop_amid_overload_keeps_what_was_taken(edm: Edm, octets: Path) -> None:
    know(edm)
    edm.keys["disable-session-files"] = True
    edm.start()
    finished = send(
        edm.socket, [answer_frame("finished.example."), *(answer_frame("known.example.") for _ in range(9))]
    )
    with blasting(edm, octets, 30):
        wait_until(lambda: edm.account().received > 100_000, what="a stream at full rate")
        before = edm.account()
        assert edm.stop() == 0
    assert finished == 10
    counted = responses_in(edm.histograms())
    assert counted >= before.settled["minimised.histogram"]
    # What the process itself says last of its account leaves nothing in flight.
    assert edm.daemon is not None
    assert "Traceback" not in edm.daemon.output()


def tranche(number: int, count: int) -> list[bytes]:
    """Frames for one known name of its own, and as many new names."""
    frames = [answer_frame(f"k{number}.known.") for _ in range(count)]
    return frames + [answer_frame(f"n{number}-{one}.new.") for one in range(20)]


def test_kill_9_loses_nothing_that_was_settled_and_novelty_forgets_no_report(
    edm: Edm, core: Core, campaign: Any
) -> None:
    kills = 20 if campaign.full else 2
    rng = campaign.random()
    core.serve(edm)
    edm.own |= {"durable": True, "new-qname-rate": 100_000}
    edm.write_well_known([f"k{number}.known." for number in range(kills * 50)])
    edm.start()
    number = 0
    settled: dict[int, int] = {}
    sent: Counter[int] = Counter()
    reported: set[str] = set()
    asked: list[str] = []
    for _ in range(kills):
        with Stream(edm.socket) as stream:
            received = edm.account().received
            for _ in range(rng.randrange(1, 6)):
                count = rng.randrange(1, 2000)
                stream.send(tranche(number, count))
                sent[number] += count
                asked += [f"n{number}-{one}.new." for one in range(20)]
                received += count + 20
                if rng.random() < 0.8:
                    edm.settled(received)
                    settled[number] = count
                if rng.random() < 0.3:
                    edm.rotate()
                number += 1
            if rng.random() < 0.5:
                # In the middle of what it does.
                killer = threading.Timer(rng.random() * 0.05, edm.kill)
                killer.start()
                with contextlib.suppress(OSError):
                    for _ in range(200):
                        stream.send(tranche(number, 100))
                        sent[number] += 100
                killer.join()  # it is this process that it kills, and not the next one
                asked += [f"n{number}-{one}.new." for one in range(20)]
                number += 1
        edm.kill()
        edm.start()
        assert edm.account().balance == 0
        # What the outbox held arrives; nothing else is sent before frames come.
        wait_until(lambda: not edm.part("new_names")["waiting"], what="the outbox to be empty")
        core.catch_up()
        before = core.names()
        reported |= set(before)
        send(edm.socket, [answer_frame(name) for name in asked])
        edm.settled()
        wait_until(functools.partial(told, core, frozenset(asked)), what="every name to be reported")
        wait_until(lambda: not edm.part("new_names")["waiting"], what="the outbox to be empty")
        core.catch_up()
        after = core.names()
        assert {name for name in reported if after[name] > before[name]} == set(), "a name was reported again"
        reported |= set(after)
    edm.rotate()
    wait_until(lambda: not edm.files("histograms/outbox"), what="every aggregate to be sent")
    assert edm.stop() == 0
    counted = read_histograms([io.BytesIO(stored.body) for stored in core.receiver.stored])
    for one, count in settled.items():
        found = counted[f"k{one}.known."]["a_count"]
        # At least once; a file that was sent right before a crash may be there again.
        assert found >= count, f"{count - found} of {count} responses of tranche {one} are lost"
        assert found <= 2 * sent[one]
    assert not list(edm.data_dir.rglob("*.tmp"))


def test_a_full_disk_loses_no_account(make_edm: Callable[..., Edm], octets: Path) -> None:
    edm = make_edm()
    edm.data_dir.mkdir()
    mount = f'mount -t tmpfs -o size=1m none "{edm.data_dir}"'
    if subprocess.run([*SMALL, mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no test mount a file system")
    edm.prefix = (*SMALL, f'{mount} && exec "$@"', "sh")
    edm.own["durable"] = True
    know(edm)
    edm.start()
    edm.wait_young_minute(30)
    with blasting(edm, octets, 2) as result:
        wait_until(lambda: edm.account().received > 50_000, what="frames")
        edm.rotate()
        assert edm.account().balance == 0
        sent = result()
    account = edm.settled(int(sent["frames"]))
    assert account.settled["minimised.histogram"] + account.total("dropped") > 0
    assert edm.part("minimiser")["trouble"], "it says nothing of the full disk"
    # When there is room again it goes on by itself, and has all that it counted meanwhile.
    assert edm.daemon is not None
    inside = ["nsenter", "-t", str(edm.daemon.process.pid), "-U", "-m", "--preserve-credentials"]
    subprocess.run([*inside, "mount", "-o", "remount,size=64m", str(edm.data_dir)], check=True, timeout=30)
    rotated = edm.rotate()
    assert rotated["histogram"], rotated
    assert not edm.part("minimiser")["rows_lost"]
    disk = Path(f"/proc/{edm.daemon.process.pid}/root{edm.data_dir}")
    written = (disk / "parquet" / "histograms" / "outbox").glob("*.parquet")
    assert responses_in(written) == account.settled["minimised.histogram"]
    assert edm.stop() == 0
    assert "Traceback" not in edm.daemon.output()


def closing(exchange: Exchange) -> Any:
    """Hang up without a word."""
    return exchange.stream.aclose()


def tried(core: Core, before: int) -> bool:
    return len(core.requests) > before


def told(core: Core, names: frozenset[str]) -> bool:
    return set(core.names()) >= names


@pytest.mark.parametrize("outage", ["restart of both", "answers"])
def test_core_in_trouble_gets_everything_at_last(edm: Edm, core: Core, outage: str, campaign: Any) -> None:
    core.serve(edm)
    edm.own["new-qname-rate"] = 100_000
    names = [f"k{number}.known." for number in range(10)]
    edm.write_well_known(names)
    every = [refuse(500), say_half, say_nothing, refuse(401), closing]
    moods = [None] if outage != "answers" else every if campaign.full else every[:3]
    expected: Counter[str] = Counter()
    for number, mood in enumerate(moods):
        core.mood = mood
        if outage != "answers":
            core.broker.stop()
            core.mood = refuse(503)
        # It would wait for longer and longer; a new start begins anew, and has what was not taken.
        tries = len(core.requests)
        edm.start()
        count = send(edm.socket, [*tranche(number, 50), *(answer_frame(name) for name in names)])
        expected.update(names)
        expected[f"k{number}.known."] += 50
        edm.settled(count)
        edm.rotate()
        wait_until(functools.partial(tried, core, tries), what="a try")
        assert edm.part("aggregates")["waiting"] >= 1
        assert edm.stop() == 0
    core.mood = None
    if outage != "answers":
        restart_broker(core)
    edm.start()
    wait_until(lambda: not edm.files("histograms/outbox"), what="every aggregate to be sent")
    counted = read_histograms([io.BytesIO(stored.body) for stored in core.receiver.stored])
    assert {name: row["a_count"] for name, row in counted.items()} == expected
    wanted = {f"n{number}-{one}.new." for number in range(len(moods)) for one in range(20)}
    wait_until(functools.partial(told, core, frozenset(wanted)), what="every event")
    assert edm.stop() == 0


def restart_broker(core: Core) -> None:
    """The broker is there again."""
    thread = threading.Thread(target=trio.run, args=(core.broker.start,))
    thread.start()
    thread.join(120)
