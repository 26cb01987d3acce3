"""The process as the service manager and the operator meet it: signals, exit codes, what is logged when."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import pytest

MAIN: Final = """\
log: { format: json, file: unused.log }
services: { rpz: { zonename: dnstapir. } }
dnsengine: { addresses: ["127.0.0.1:0"] }
"""
POLICY: Final = """\
policy:
  denylist: { action: nxdomain }
  doubtlist:
    numsources: { limit: 2, action: nxdomain }
    numtapirtags: { limit: 3, action: nxdomain }
    denytapir: { tags: [], action: drop }
"""

LIMIT: Final = 180
"""seconds; only a failure takes them"""

Record = dict[str, str]


class Daemon:
    """A running `tapir run`, and its log record by record."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tapir", "run", "--config-dir", str(folder)]
        command += ["--state-dir", str(folder / "state")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self._log: IO[str] = self.process.stderr
        # Reading the log waits for the process, and this ends the process: a hang fails the test.
        self._limit = threading.Timer(LIMIT, self.process.kill)
        self._limit.daemon = True
        self._limit.start()

    def signal(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)

    def until(self, text: str | tuple[str, ...]) -> list[Record]:
        """The records up to the first that begins with `text`, or with one of them."""
        records: list[Record] = []
        for line in self._log:
            records.append(json.loads(line))
            if records[-1]["text"].startswith(text):
                return records
        raise AssertionError(f"ended without {text!r}: {records}")

    def until_all(self, *texts: str) -> list[Record]:
        """The records until each of `texts` has begun one, in whatever order."""
        records: list[Record] = []
        missing = list(texts)
        while missing:
            records += self.until(tuple(missing))
            missing = [text for text in missing if not records[-1]["text"].startswith(text)]
        return records

    def end(self) -> None:
        self._limit.cancel()
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        self.until("stopped")
        return self.process.wait(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dnstapir-pop.yaml").write_text(MAIN)
    (tmp_path / "pop-sources.yaml").write_text("sources: {}\n")
    (tmp_path / "pop-outputs.yaml").write_text("outputs: {}\n")
    (tmp_path / "pop-policy.yaml").write_text(POLICY)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Iterator[Callable[[], Daemon]]:
    with contextlib.ExitStack() as stack:

        def start() -> Daemon:
            daemon = Daemon(folder)
            stack.enter_context(daemon._log)
            stack.callback(daemon.end)
            return daemon

        yield start


def test_every_line_is_json_from_the_first_one_on(run: Callable[[], Daemon]) -> None:
    daemon = run()
    first, *others = daemon.until("ready zone=")
    assert first["text"].startswith("tapir ")
    assert not [record for record in others if record["level"] not in ("info", "debug")], "a normal start is quiet"
    assert daemon.stop() == 0


def test_a_log_file_begins_with_the_version_too(run: Callable[[], Daemon], folder: Path) -> None:
    (folder / "dnstapir-pop.yaml").write_text(MAIN.replace("file: unused.log", "file: tapir.log, to-files: true"))
    daemon = run()
    first = daemon.until("started")[0]
    assert daemon.stop() == 0
    assert json.loads((folder / "tapir.log").read_text().splitlines()[0]) == first


def test_also_when_the_configuration_is_wrong(run: Callable[[], Daemon], folder: Path) -> None:
    (folder / "pop-policy.yaml").write_text("policy: {}\n")
    daemon = run()
    first, *records = daemon.until("the configuration cannot be used")
    assert first["text"].startswith("tapir ")
    assert any("policy.denylist.action: missing" in record["text"] for record in records)
    assert daemon.process.wait(60) == 2


def test_a_reload_says_only_what_is_new(run: Callable[[], Daemon], folder: Path) -> None:
    daemon = run()
    assert any("log.file" in record["text"] for record in daemon.until_all("started", "ready zone="))
    (folder / "dnstapir-pop.yaml").write_text(MAIN.replace("log:", "logg: {}\nlog:"))
    daemon.signal(signal.SIGHUP)
    unknown, done = daemon.until("reload:")
    assert "logg: unknown key" in unknown["text"], "the other notices were said at the start"
    assert done["text"] == "reload: the new configuration is in effect"
    (folder / "dnstapir-pop.yaml").write_text(MAIN.replace("dnstapir.", "other.") + "state-dir: elsewhere\n")
    daemon.signal(signal.SIGHUP)
    assert daemon.until("reload:")[-1] | {"time": ""} == {
        "time": "",
        "level": "warning",
        "logger": "tapir",
        "text": "reload: in effect, but for what waits for a restart: services.rpz.zonename",
    }
    (folder / "pop-policy.yaml").write_text("policy: [")
    daemon.signal(signal.SIGHUP)
    assert daemon.until("reload:")[-1]["text"].endswith("cannot be used; the one in effect stays")
    assert daemon.stop() == 0


def test_each_reload_starts_from_the_one_before(run: Callable[[], Daemon], folder: Path) -> None:
    (folder / "one.txt").write_text("a.example\n")
    (folder / "two.txt").write_text("a.example\nb.example\n")

    def configure(name: str) -> None:
        keys = f"active: true, type: denylist, source: file, format: domains, filename: {folder / name}"
        (folder / "pop-sources.yaml").write_text(f"sources: {{ deny: {{ name: deny, {keys} }} }}\n")

    configure("one.txt")
    daemon = run()
    daemon.until_all("started", "ready zone=")
    for name, said in (("two.txt", "source deny: 2 names"), ("one.txt", "source deny: 1 names")):
        configure(name)
        daemon.signal(signal.SIGHUP)
        daemon.until_all("reload: the new configuration is in effect", said)
    assert daemon.stop() == 0


def test_a_stop_does_not_wait_for_a_reload_that_hangs(run: Callable[[], Daemon], folder: Path) -> None:
    daemon = run()
    daemon.until("started")
    (folder / "pop-outputs.yaml").unlink()
    os.mkfifo(folder / "pop-outputs.yaml")  # who opens it to read waits for a writer
    daemon.signal(signal.SIGHUP)
    with (folder / "pop-outputs.yaml").open("w"):  # opens once the reload is at it, and now waits for more
        assert daemon.stop() == 0


HANGING: Final = """
import sys, threading
from pathlib import Path
import tapir.app.process
from tapir.services.ingest.seenholder import SeenHolder

SeenHolder.open = lambda *_: threading.Event().wait()  # as a disk that is gone
tapir.app.process._LAST_WAIT = -25.0  # so that 5 s are left
sys.exit(tapir.app.process.run_process(config_dir=Path(sys.argv[1]), state_dir=Path(sys.argv[1]) / "state"))
"""


def test_a_stop_ends_although_a_thread_of_edm_hangs(folder: Path) -> None:
    (folder / "dnstapir-edm.toml").write_text(
        f'input-unix = "{folder}/edm.sock"\ncryptopan-key = "a key of a test"\ndata-dir = "data"\n'
        "disable-mqtt = true\ndisable-histogram-sender = true\n"
    )
    (folder / "tapir-edm.toml").write_text('metrics-address = "127.0.0.1:0"\n')
    command = [sys.executable, "-c", HANGING, str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        limit = threading.Timer(LIMIT, process.kill)
        limit.daemon = True
        limit.start()
        texts = []
        for line in process.stderr:
            texts.append(json.loads(line)["text"])
            if texts[-1] == "started edm/metrics":  # by then the keeper of names has asked for its store
                process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 1
        limit.cancel()
    assert texts[-1].startswith("the stop hangs, and the process ends without it: still there are"), texts
    assert "edm/novelty" in texts[-1]
    assert "stopped edm/input (shutdown)" in texts


def test_a_second_process_names_the_first_once(run: Callable[[], Daemon], folder: Path) -> None:
    first = run()
    first.until("started")
    second = run()
    last = second.until(str(folder / "state"))[-1]
    assert (
        last["text"]
        == f"{folder}/state: the state folder is in use by process {first.process.pid}; nothing was started"
    )
    assert second.process.wait(60) == 1
    assert first.stop() == 0


def test_a_zone_without_a_folder_is_one_line(run: Callable[[], Daemon], folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "zones").write_text("")
    daemon = run()
    assert daemon.until("gave up:")[-1]["text"].endswith("Not a directory")
    assert daemon.process.wait(60) == 1
    assert daemon._log.read() == "", "and no traceback"


def test_the_service_manager_hears_how_it_stands_and_that_it_lives(
    run: Callable[[], Daemon], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        # Rarely enough that none of the others finds the socket full of these: it has room for ten.
        monkeypatch.setenv("WATCHDOG_USEC", "800000")

        def heard_until(word: bytes) -> list[bytes]:
            heard = [manager.recv(500)]
            while not heard[-1].startswith(word):
                heard.append(manager.recv(500))
            return heard

        daemon = run()
        assert heard_until(b"READY=1")[0] == b"STATUS=starting"
        for _ in range(3):
            heard_until(b"WATCHDOG=1")  # again and again, not once
        daemon.signal(signal.SIGHUP)
        heard_until(b"RELOADING=1")
        heard_until(b"READY=1")
        (folder / "pop-policy.yaml").write_text("policy: [")
        daemon.signal(signal.SIGHUP)
        heard_until(b"RELOADING=1")
        assert b"the last reload failed" in heard_until(b"READY=1")[-1]
        daemon.signal(signal.SIGTERM)
        heard_until(b"STOPPING=1")
        assert daemon.process.wait(60) == 0
