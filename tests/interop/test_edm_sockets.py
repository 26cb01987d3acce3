"""Sockets that the service manager holds: what is sent while no EDM runs, or is killed, is counted by the next one."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from edm import Edm, Stream, answer_frame, responses_in
from framestreams import connect_unix, file_octets
from peers import wait_until

UNITS: Final = Path(__file__).parents[2] / "deploy" / "systemd"
START: Final = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as manager:
    manager.connect(sys.argv[1])
    _, (descriptor,), _, _ = socket.recv_fds(manager, 1, 1)
os.dup2(descriptor, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="dnstap")
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def manager(path: Path, sock: Path) -> Iterator[tuple[str, ...]]:
    """Listens on `sock` as systemd does, and gives that socket to each process that is started with these words."""
    with socket.socket(socket.AF_UNIX) as held, socket.socket(socket.AF_UNIX) as giving:
        held.bind(str(sock))
        held.listen(128)
        giving.bind(str(path))
        giving.listen()

        def give() -> None:
            while True:
                try:
                    connection, _ = giving.accept()
                except OSError:
                    return  # the test is over
                with connection:
                    socket.send_fds(connection, [b"x"], [held.fileno()])

        thread = threading.Thread(target=give)
        thread.start()
        yield (sys.executable, "-c", START, str(path))
        giving.shutdown(socket.SHUT_RDWR)
        thread.join(30)


def test_systemd_hands_its_socket_over(
    require_peer: Callable[[str], str], make_edm: Callable[..., Edm], tmp_path: Path
) -> None:
    sock = tmp_path / "dnstap"
    activate = (require_peer("systemd-socket-activate"), "-l", str(sock), "--fdname=dnstap")
    edm = make_edm(keys={"input-unix": str(sock)}, prefix=activate)
    edm.start(wait=False)
    wait_until(sock.exists, what="the socket")
    # This connection starts it, and waits in the backlog until then.
    with Stream(sock) as stream:
        stream.send([answer_frame("known.example.")] * 100)
        stream.finish()
    assert edm.settled(100).total("minimised") == 100
    assert edm.part("input")["addresses"] == [f"unix:{sock} (fd:dnstap)"]
    assert edm.stop() == 0
    assert sock.exists()


def test_no_frame_is_lost_between_two_processes(make_edm: Callable[..., Edm], tmp_path: Path) -> None:
    sock = tmp_path / "dnstap"
    octets = file_octets([answer_frame("known.example.")] * 500)

    def send() -> None:
        """Its sender has gone before anybody reads it."""
        with connect_unix(sock) as sender:
            sender.sendall(octets)

    with manager(tmp_path / "manager", sock) as prefix:
        edm = make_edm(keys={"input-unix": str(sock)}, own={"durable": True}, prefix=prefix)
        for turn in range(3):
            send()  # nobody runs: this is in the kernel
            edm.start()
            if turn == 1:
                # Of the first three sendings, what the first process did not accept any more.
                left = 3 * 500 - responses_in(edm.histograms())
                edm.settled(left)
                edm.kill()
                continue
            send()
            # What was accepted by now it takes; what was not, the next process does.
            assert edm.stop() == 0
        edm.start()
        assert edm.stop() == 0
        assert sock.exists()
    assert responses_in(edm.histograms()) == 5 * 500


def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in UNITS.glob("tapir*.s*"):
        if unit.suffix in (".service", ".socket"):
            # The command need not be installed for this.
            text = unit.read_text().replace("/usr/bin/tapir", sys.executable)
            (tmp_path / unit.name).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    assert len(units) == 3
    done = subprocess.run(
        [program, "verify", *units],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
