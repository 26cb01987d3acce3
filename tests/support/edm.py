"""An EDM as a user starts it: a process of its own, two configuration files, a data folder, senders at its socket.

What is read of it is what others would read: parquet files by pyarrow, the console, the metrics; nothing of its memory.
"""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import attrs
import pyarrow.parquet as pq
import pytest
import trio
from dnstap_frames import NOERROR, NXDOMAIN, frame, response
from peers import Daemon, free_port, wait_until

from tapir.app.cli.client import ConsoleUnreachableError, open_console
from tapir.codec.dawg import encode_dawg
from tapir.codec.framestream import Sender
from tapir.model.blocks import FrameBlock
from tapir.model.names import parse_name

CLIENT: Final = bytes((198, 51, 100, 7))
SERVER: Final = bytes((192, 0, 2, 53))
COUNTERS: Final = (
    "a_count",
    "aaaa_count",
    "mx_count",
    "ns_count",
    "other_type_count",
    "non_in_count",
    "ok_count",
    "nx_count",
    "fail_count",
    "other_rcode_count",
)
LABELS: Final = tuple(f"label{number}" for number in range(10))
_RCODES: Final = COUNTERS[6:]


@attrs.frozen(kw_only=True)
class AccountOf:
    """What a process says of the frames that it got."""

    received: int
    in_flight: int
    settled: Counter[str]
    """by `kind.reason`"""

    @property
    def balance(self) -> int:
        """What is in nobody's column: 0, or something was lost."""
        return self.received - self.in_flight - sum(self.settled.values())

    def total(self, kind: str) -> int:
        """How many had a fate of this kind."""
        return sum(count for key, count in self.settled.items() if key.startswith(f"{kind}."))


@attrs.define(kw_only=True)
class Edm:
    """A tapir process that is an EDM, in a directory of its own."""

    directory: Path
    keys: dict[str, Any] = attrs.field(factory=dict)
    """of dnstapir-edm.toml"""
    own: dict[str, Any] = attrs.field(factory=dict)
    """of tapir-edm.toml"""
    environment: dict[str, str] | None = None
    prefix: tuple[str, ...] = ()
    """words before the command, such as those that give it a small disk"""
    metrics_port: int = attrs.field(factory=free_port)
    daemon: Daemon | None = None

    def __attrs_post_init__(self) -> None:
        self.config_dir.mkdir(parents=True)
        self.keys = {
            "input-unix": str(self.socket),
            "cryptopan-key": "the key of these tests",
            "data-dir": str(self.data_dir),
            "well-known-domains-file": str(self.directory / "well-known.dawg"),
            "disable-mqtt": True,
            "disable-histogram-sender": True,
            **self.keys,
        }
        self.own = {"metrics-address": f"127.0.0.1:{self.metrics_port}", **self.own}
        if not self.well_known.exists():
            self.write_well_known(["known.example."])

    @property
    def config_dir(self) -> Path:
        return self.directory / "config"

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def socket(self) -> Path:
        return self.directory / "edm.sock"

    @property
    def well_known(self) -> Path:
        return self.directory / "well-known.dawg"

    def write_well_known(self, words: Iterable[str]) -> None:
        """Replace the list by renaming, as a careful tool does."""
        temporary = self.well_known.with_suffix(".tmp")
        temporary.write_bytes(encode_dawg(sorted(words)))
        temporary.rename(self.well_known)

    def write_config(self) -> None:
        """Both files."""
        for file, keys in (("dnstapir-edm.toml", self.keys), ("tapir-edm.toml", self.own)):
            # A JSON scalar is a TOML value.
            (self.config_dir / file).write_text("".join(f"{key} = {json.dumps(keys[key])}\n" for key in keys))

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait`, it listens and its console answers when this returns."""
        self.write_config()
        command = [*self.prefix, sys.executable, "-m", "tapir", "run", "--only", "edm"]
        command += ["--config-dir", str(self.config_dir), "--state-dir", str(self.state_dir)]
        self.daemon = Daemon.start("tapir", command, directory=self.directory, env=self.environment)
        if wait:
            wait_until(self.is_ready, what="EDM to be ready", seconds=60)

    def is_ready(self) -> bool:
        """Whether input listens. Fails the test when the process is gone."""
        assert self.daemon is not None
        assert self.daemon.alive(), self.daemon.output()
        try:
            return bool(self.ask("edm")["input"]["addresses"])
        except (ConsoleUnreachableError, KeyError, TypeError):
            return False

    def wait_young_minute(self, seconds: float = 15) -> None:
        """Wait until the minute, at whose end an interval ends by itself, lasts for so many seconds more."""
        wait_until(lambda: time.time() % 60 < 60 - seconds, what="another minute")

    def stop(self, seconds: float = 60.0) -> int:
        assert self.daemon is not None
        return self.daemon.stop(seconds=seconds)

    def kill(self) -> None:
        """kill -9; with a prefix that does not replace itself, of its child."""
        assert self.daemon is not None
        self.daemon.kill()

    def reload(self) -> None:
        """Write the configuration again, and say so."""
        self.write_config()
        assert self.daemon is not None
        self.daemon.process.send_signal(signal.SIGHUP)

    def command(self, *words: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """A `tapir` command against this process."""
        command = [sys.executable, "-m", "tapir", *words, "--state-dir", str(self.state_dir)]
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=check)

    def ask(self, op: str, **arguments: object) -> Any:
        """What the console answers, without a process for each question. Raises ConsoleUnreachableError."""

        async def asking() -> Any:
            with trio.fail_after(60):
                async with open_console(self.state_dir) as client:
                    return await client.request(op, **arguments)

        with ThreadPoolExecutor(1) as thread:  # there may be a loop in this one
            return thread.submit(trio.run, asking).result(90)

    def part(self, name: str) -> Any:
        """What one part of EDM says of itself; the console waits a second for it, a busy machine may take longer."""

        def said() -> Any:
            found = self.ask("edm")[name]
            return found if "error" not in found else None

        return wait_until(said, what=f"{name} to answer")

    def account(self) -> AccountOf:
        """The account as it is now."""
        said = self.part("minimiser")["account"]
        return AccountOf(
            received=said["received"],
            in_flight=said["in_flight"],
            settled=Counter({f"{kind}.{reason}": count for kind, reason, count in said["settled"]}),
        )

    def settled(self, received: int | None = None, *, seconds: float = 60) -> AccountOf:
        """The account as soon as nothing is in flight, and as much was received as is given; it must balance."""

        def rested() -> AccountOf | None:
            account = self.account()
            assert account.balance == 0, account
            enough = received is None or account.received >= received
            return account if enough and not account.in_flight else None

        found: AccountOf = wait_until(rested, what=f"{received} frames to be settled", seconds=seconds, pause=0.05)
        assert received is None or found.received == received, found
        return found

    def rotate(self) -> dict[str, Any]:
        """End the interval now, as `tapir edm rotate` does."""
        document: dict[str, Any] = self.ask("edm-rotate")
        return document

    def metrics(self) -> dict[str, float]:
        """The metrics, by name with labels."""
        lines = self.fetch("/metrics")[1].decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def fetch(self, path: str, *, method: str = "GET") -> tuple[int, bytes]:
        """What is at the metrics address."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.metrics_port}{path}", method=method)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read()

    # -- files

    def files(self, kind: str) -> list[Path]:
        """The whole files below `kind`: histograms/outbox, histograms/sent, sessions; oldest first."""
        return sorted((self.data_dir / "parquet" / kind).glob("*.parquet"))

    def histograms(self) -> list[Path]:
        """Every histogram that there is."""
        return self.files("histograms/outbox") + self.files("histograms/sent")


def read_histograms(paths: Iterable[Path | BinaryIO]) -> dict[str, Counter[str]]:
    """By entry, the sum of its counters in all these files."""
    found: dict[str, Counter[str]] = {}
    for path in paths:
        for row in pq.read_table(path).to_pylist():
            labels = [row[label] for label in LABELS if row[label] is not None]
            name = "".join(f"{label}." for label in reversed(labels)) or "."
            counters = found.setdefault(name, Counter())
            counters.update({column: row[column] for column in COUNTERS if row[column]})
    return found


def responses_in(paths: Iterable[Path]) -> int:
    """How many responses these histograms count."""
    return sum(count for row in read_histograms(paths).values() for key, count in row.items() if key in _RCODES)


def sessions_in(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The rows of session files."""
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def answer_frame(name: str, *, qtype: int = 1, missing: bool = False, client: bytes = CLIENT, **fields: Any) -> bytes:
    """A CLIENT_RESPONSE for `name`."""
    message = response(
        parse_name(name), qtype, flags=NXDOMAIN if missing else NOERROR, answers=0 if missing or qtype > 28 else 1
    )
    now = int(time.time())
    fields = {"response_address": SERVER, "response_time": (now, 0), "response_message": message, **fields}
    return frame(query_address=client, **fields)


class Stream:
    """A bidirectional sender in blocking style: what it was asked for is sent when a call returns."""

    def __init__(self, where: Path | tuple[str, int]) -> None:
        self._machine = Sender(bidirectional=True)
        if isinstance(where, Path):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect(str(where))
        else:
            self._socket = socket.create_connection(where)
        self._socket.settimeout(60)
        try:
            self._socket.sendall(self._machine.start())
            while not self._machine.open:
                self._hear()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, frames: Iterable[bytes]) -> None:
        """Send `frames`."""
        self.send_octets(FrameBlock.of(frames).data)

    def send_octets(self, octets: bytes | memoryview) -> None:
        """Send what are whole frames, or not."""
        self._socket.sendall(octets)

    def finish(self) -> None:
        """Say STOP, and return at FINISH: what was sent was taken. Raises ConnectionError."""
        self._socket.sendall(self._machine.stop())
        while not self._machine.finished:
            self._hear()
        self._socket.close()

    def _hear(self) -> None:
        octets = self._socket.recv(4096)
        if not octets:
            raise ConnectionError("the receiver closed")
        if answer := self._machine.feed(octets):
            self._socket.sendall(answer)


def send(where: Path | tuple[str, int], frames: Iterable[bytes]) -> int:
    """Send `frames` on a connection of their own, until they were taken; how many."""
    frames = list(frames)
    with Stream(where) as stream:
        stream.send(frames)
        stream.finish()
    return len(frames)


@pytest.fixture
def make_edm(tmp_path: Path) -> Iterator[Callable[..., Edm]]:
    """Makes EDMs, not yet started; those that run end with the test, and their logs are shown when it fails."""
    made: list[Edm] = []

    def make(**keys: Any) -> Edm:
        # A Unix socket's path has 108 octets at most.
        directory = tmp_path / f"edm{len(made)}"
        directory.mkdir()
        made.append(Edm(directory=directory, **keys))
        return made[-1]

    yield make
    for edm in made:
        if edm.daemon is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                if edm.daemon.alive():
                    edm.daemon.kill()
            print(f"--- tapir ---\n{edm.daemon.output()[-8000:]}")


@pytest.fixture
def edm(make_edm: Callable[..., Edm]) -> Edm:
    """One EDM, not yet started."""
    return make_edm()
