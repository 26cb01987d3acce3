"""EDM from end to end, as it is started by users: frames a second, beside what fstrm_capture takes of the same stream.

50,000 clients (Zipf 1, 40 % IPv6), 100,000 well-known names (Zipf 0.9) that 95 % of the frames ask for, 1 % of the rest
are names never seen, some 150 octets a frame, one Unix socket, a sender that never sleeps and is never kept waiting
for longer than 100 ms. fstrm_capture only copies, to /dev/null. No frame may be dropped, and none may be missing in the
account. All in turns within one run; TAPIR_BENCH_SECONDS and TAPIR_BENCH_SEEN make it shorter while one works on it.

The share of the actor tree is what a profile by py-spy, where that is installed, finds in the event loop's thread
outside of reading from the socket and cutting into blocks, the waiting for events included; of all that it finds.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import dnstap_blast
import numpy as np
import pytest
import trio
from benching import anonymous_memory
from certificates import Authority
from dnstap_frames import Workload
from edm import Edm, make_edm, responses_in
from mosquitto import Broker
from observing import make_key
from peers import Daemon, free_port, wait_until

from tapir.codec.framestream import DNSTAP
from tapir.codec.newqname import Sightings
from tapir.kernels import compiled, dnstap
from tapir.model.blocks import NameBlock
from tapir.model.names import format_name
from tapir.store.seen import SeenStore

__all__ = ["make_edm"]

SECONDS: Final = float(os.environ.get("TAPIR_BENCH_SECONDS", "60"))
SEEN: Final = int(os.environ.get("TAPIR_BENCH_SEEN", "10000000"))
FRAMES: Final = 300_000
"""that are sent over and over, with names that are new each time"""
REACH: Final = 0.12
SESSIONS_REACH: Final = 0.4
MEMORY: Final = 1 << 30
PATIENCE: Final = 0.1
TREE: Final = 0.10

_TICKS: Final = os.sysconf("SC_CLK_TCK")

pytestmark = pytest.mark.skipif(not compiled(dnstap), reason="the kernels are not compiled")


@attrs.frozen(kw_only=True)
class Run:
    """How one stream went."""

    rate: float
    longest: float
    """seconds that the sender waited for room, at most"""
    frames: int
    memory: int = 0
    threads: dict[str, tuple[float, float]] = attrs.field(factory=dict)
    """seconds of processor in user and system mode, by the thread's name"""
    seconds: float = 0.0


def send(path: Path, octets: Path, seconds: float) -> dict[str, float]:
    """Have a process of its own send."""
    words = [sys.executable, dnstap_blast.__file__, str(path), str(octets), str(seconds)]
    done = subprocess.run(words, check=True, timeout=seconds + 120, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def capture(program: str, octets: Path, folder: Path, seconds: float) -> tuple[float, float]:
    """Frames a second that fstrm_capture takes, and for how long it had the sender wait at most."""
    path = folder / "capture.sock"
    path.unlink(missing_ok=True)
    with subprocess.Popen(
        [program, "-t", DNSTAP.decode(), "-u", str(path), "-w", "/dev/null"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(path.exists, what="the socket of fstrm_capture")
            said = send(path, octets, seconds)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    return said["frames"] / said["seconds"], said["longest"]


def thread_times(pid: int) -> dict[str, tuple[float, float]]:
    """Seconds of processor of each thread so far, in user and system mode; the event loop's is called `loop`."""
    found: Counter[str] = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it is gone
        fields = rest.split()
        label = "loop" if task.name == str(pid) else name
        found[f"{label}\0user"] += int(fields[11])
        found[f"{label}\0system"] += int(fields[12])
    names = {key.partition("\0")[0] for key in found}
    return {name: (found[f"{name}\0user"] / _TICKS, found[f"{name}\0system"] / _TICKS) for name in names}


def run(edm: Edm, octets: Path, seconds: float) -> Run:
    """Send to `edm` for so long; every frame must be in its account."""
    assert edm.daemon is not None
    pid = edm.daemon.process.pid
    before, had = thread_times(pid), edm.account()
    memory, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            memory[0] = max(memory[0], anonymous_memory(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        said = send(edm.socket, octets, seconds)
    finally:
        done.set()
        watcher.join()
    after = thread_times(pid)
    account = edm.settled(had.received + int(said["frames"]))
    assert account.balance == 0
    assert account.total("dropped") == 0
    nothing = (0.0, 0.0)
    threads = {
        name: (user - before.get(name, nothing)[0], system - before.get(name, nothing)[1])
        for name, (user, system) in after.items()
    }
    return Run(
        rate=said["frames"] / said["seconds"],
        longest=said["longest"],
        frames=int(said["frames"]),
        memory=memory[0],
        threads=threads,
        seconds=said["seconds"],
    )


def show(what: str, run_: Run, peer: float) -> None:
    """Print how it went."""
    print(
        f"\n{what}: {run_.rate:,.0f} frames/s for {run_.seconds:.0f} s, fstrm_capture {peer:,.0f}, "
        f"ratio {run_.rate / peer:.3f} (reach {REACH}); longest wait of the sender {1e3 * run_.longest:.0f} ms; "
        f"anonymous memory {run_.memory >> 20} MiB"
    )
    for name, (user, system) in sorted(run_.threads.items(), key=lambda item: -sum(item[1])):
        if user + system >= 0.01 * run_.seconds:
            print(f"    {name:16} user {user / run_.seconds:.1%}, system {system / run_.seconds:.1%} of a processor")


def fill(path: Path, count: int) -> None:
    """A store that has seen so many names."""
    store = SeenStore.open(path)
    each = 50_000
    try:
        for begin in range(0, count, each):
            numbers = range(begin, min(begin + each, count))
            # Names of one length, put together at once: it is the store that should take the time.
            data = b"".join([b"\x0f%015x\x07example\0" % number for number in numbers])
            size = len(numbers)
            store.report(
                Sightings(
                    names=NameBlock(data=data, offsets=np.arange(0, 25 * size + 1, 25, dtype=np.uint32).tobytes()),
                    flags=np.zeros(size, np.uint16),
                    qtype=np.ones(size, np.uint16),
                    qclass=np.ones(size, np.uint16),
                    time=np.zeros(size, np.int64),
                    name_hash=np.zeros(size, np.uint64),
                ),
                now=1_790_000_000_000_000,
                queue=False,
            )
    finally:
        store.close()


def test_a_minute_at_full_rate(
    make_edm: Callable[..., Edm],
    require_peer: Callable[[str], str],
    daemons: list[Daemon],
    tmp_path: Path,
) -> None:
    program = require_peer("fstrm")
    octets = tmp_path / "octets"
    workload = Workload()
    dnstap_blast.prepare(octets, workload, FRAMES)
    edm = make_edm(keys={"disable-session-files": True})
    edm.write_well_known({format_name(name) for name in workload.known_names()})
    edm.data_dir.mkdir()
    fill(edm.data_dir / "seen", SEEN)
    broker = Broker(folder=tmp_path, port=free_port(), program=require_peer("mosquitto"), daemons=daemons)
    report_to(edm, broker, tmp_path)
    edm.start()
    brief = max(2.0, SECONDS / 6)

    peers = [capture(program, octets, tmp_path, brief)]
    off = run(edm, octets, SECONDS)
    peers.append(capture(program, octets, tmp_path, brief))
    edm.keys["disable-session-files"] = False
    edm.reload()
    on = run(edm, octets, SECONDS)
    peers.append(capture(program, octets, tmp_path, brief))

    rates = [rate for rate, _ in peers]
    show("without sessions", off, statistics.mean(rates[:2]))
    show("with sessions", on, statistics.mean(rates[1:]))
    print(f"    sessions on ÷ off {on.rate / off.rate:.2f} (reach {SESSIONS_REACH})")
    spy = shutil.which("py-spy")
    tree = 0.0 if spy is None else profile(spy, edm, octets, tmp_path, brief)
    print("    no profile: py-spy is not installed" if spy is None else f"    actor tree {tree:.1%} (reach {TREE:.0%})")
    account = edm.settled()
    edm.rotate()
    assert responses_in(edm.histograms()) == account.settled["minimised.histogram"]
    assert edm.files("sessions")
    assert edm.stop() == 0
    assert off.rate / statistics.mean(rates[:2]) >= REACH
    assert on.rate / off.rate >= SESSIONS_REACH
    assert max(off.memory, on.memory) <= MEMORY
    assert max(off.longest, on.longest) <= PATIENCE
    assert tree <= TREE


def profile(program: str, edm: Edm, octets: Path, folder: Path, seconds: float) -> float:
    """The actor tree's share of the time of the process while it is sent to."""
    assert edm.daemon is not None
    out = folder / "profile"
    words = [
        "record",
        "--threads",
        "--nonblocking",
        "-r",
        "250",
        "-d",
        str(round(seconds)),
        "-f",
        "raw",
        "-o",
        str(out),
    ]
    with subprocess.Popen(
        [program, *words, "-p", str(edm.daemon.process.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        send(edm.socket, octets, seconds + 2)
        process.wait(60)
    total = tree = 0
    for line in out.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        total += int(count)
        if "MainThread" in stack.partition(";")[0] and "serve_connection" not in stack:
            tree += int(count)
    return tree / total


def report_to(edm: Edm, broker: Broker, folder: Path) -> None:
    """Have `edm` send its events to a mosquitto."""
    trio.run(broker.start)
    key, pair = make_key("edge.example"), Authority(folder).issue("edm.example")
    (folder / "signer.json").write_text(json.dumps({**key.jwk.to_json(), "kid": key.kid}))
    edm.keys |= {
        "disable-mqtt": False,
        "mqtt-server": f"mqtt://127.0.0.1:{broker.port}",
        "mqtt-signing-key-file": str(folder / "signer.json"),
        "mqtt-client-cert-file": str(pair.certificate),
        "mqtt-client-key-file": str(pair.key),
    }
