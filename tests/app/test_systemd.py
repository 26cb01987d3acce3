import os
import socket
from pathlib import Path

import pytest

from tapir.app.systemd import ServiceManager


@pytest.mark.parametrize("abstract", [False, True])
def test_it_says_what_the_manager_wants_to_hear(tmp_path: Path, abstract: bool):
    address = f"@tapir-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        manager.settimeout(5)
        said = ServiceManager.from_environment({"NOTIFY_SOCKET": address})
        said.ready("serving dnstapir.")
        said.alive()
        said.reloading()
        said.status("fine")
        said.stopping()
        assert manager.recv(200) == b"READY=1\nSTATUS=serving dnstapir."
        assert manager.recv(200) == b"WATCHDOG=1"
        assert manager.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(200) == b"STATUS=fine"
        assert manager.recv(200) == b"STOPPING=1"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000"}, 15.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_wants_a_sign_in_half_its_time(environment: dict[str, str], seconds: float | None):
    assert ServiceManager.from_environment(environment).watchdog == seconds


def test_a_manager_that_is_gone_holds_nothing_up(tmp_path: Path):
    ServiceManager(str(tmp_path / "gone"), None).ready("x")
    ServiceManager(None, None).ready("x")
