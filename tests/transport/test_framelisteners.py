"""Listening: what is at a path is replaced only when it is dead; what the service manager holds is only borrowed."""

import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from framestreams import connect_unix

from tapir.transport.framelisteners import (
    FrameListener,
    ListenError,
    adopt,
    inherited_descriptors,
    listen_tcp,
    listen_unix,
    prepare_accepted,
)


def accept(listener: FrameListener) -> None:
    listener.sock.accept()[0].close()


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_unix_socket_has_its_rights_and_goes_with_its_listener(tmp_path: Path) -> None:
    path = tmp_path / "dnstap.sock"
    group = os.getgid()
    listener = listen_unix(path, mode=0o620, group=grp.getgrgid(group).gr_name)
    assert listener.name == f"unix:{path}"
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o620, group)
    connect_unix(path).close()
    accept(listener)
    listener.close()
    assert not list(tmp_path.iterdir())


def test_nobody_else_may_ever_open_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(Path, "chmod", lambda path, mode: seen.append(stat.S_IMODE(path.stat().st_mode)))
    before = os.umask(0)
    try:
        listen_unix(tmp_path / "dnstap.sock", mode=0o640).close()
    finally:
        os.umask(before)
    assert seen == [0o640]


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "dnstap.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
        dead.listen()
    with closing(listen_unix(path)) as listener:
        connect_unix(path).close()
        accept(listener)
    assert not path.exists()


def test_a_live_socket_is_not_stolen(tmp_path: Path) -> None:
    path = tmp_path / "dnstap.sock"
    with closing(listen_unix(path)) as live:
        with pytest.raises(ListenError, match="another process listens"):
            listen_unix(path)
        accept(live)  # the look at it
        connect_unix(path).close()
        accept(live)


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match=r"unix:.*precious: something that is no socket"):
        listen_unix(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(ListenError, match="no socket"):
        listen_unix(tmp_path / "link")
    assert path.read_text() == "data"


def test_the_file_of_a_successor_stays(tmp_path: Path) -> None:
    path = tmp_path / "dnstap.sock"
    first = listen_unix(path)
    path.unlink()
    with closing(listen_unix(path)):
        first.close()
        assert path.exists()
        path.unlink()  # and one that is gone already is no trouble


@pytest.mark.parametrize(
    ("name", "group", "reason"),
    [
        ("none/dnstap.sock", None, "there is no folder .*/none"),
        ("x" * 120, None, "too long"),
        ("a", "no-such-group", "no-such-group"),
    ],
)
def test_it_says_why_it_cannot_listen(name: str, group: str | None, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=reason):
        listen_unix(tmp_path / name, group=group)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp_listens_and_keeps_connections_alive(host: str) -> None:
    with closing(listen_tcp((host, 0))) as listener:
        assert listener.name.startswith("tcp:")
        with socket.create_connection(listener.address):
            sock, _ = listener.sock.accept()
            with sock:
                prepare_accepted(sock)
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert not sock.getblocking()
        with pytest.raises(ListenError, match=f"{listener.address[1]}: Address already in use"):
            listen_tcp(listener.address)


def test_an_address_must_be_a_number() -> None:
    with pytest.raises(ListenError, match="localhost"):
        listen_tcp(("localhost", 0))


def test_what_the_manager_handed_over_is_known_by_its_names() -> None:
    mine = str(os.getpid())
    assert inherited_descriptors({"LISTEN_PID": mine, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "unix::tls"}) == (
        ("unix", 3),
        ("unknown", 4),
        ("tls", 5),
    )
    assert inherited_descriptors({"LISTEN_PID": mine, "LISTEN_FDS": "1"}) == (("unknown", 3),)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"},
    ],
)
def test_what_is_for_another_process_is_not_taken(environment: dict[str, str]) -> None:
    assert inherited_descriptors(environment) == ()


def test_an_adopted_socket_outlives_its_listener(tmp_path: Path, cleanup: ExitStack) -> None:
    path = tmp_path / "dnstap.sock"
    held = cleanup.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    held.bind(str(path))
    held.listen()
    os.set_inheritable(held.fileno(), True)
    for _ in range(2):
        with closing(adopt(held.fileno(), "dnstap")) as listener:
            assert listener.name == "fd:dnstap"
            connect_unix(path).close()
            accept(listener)
        # Nobody listens now, and still nothing is refused: it waits.
        waiting = cleanup.enter_context(connect_unix(path))
        waiting.sendall(b"kept")
        with closing(adopt(held.fileno(), "dnstap")) as listener, listener.sock.accept()[0] as sock:
            assert sock.recv(10) == b"kept"
    assert path.exists()
    assert not os.get_inheritable(held.fileno())


def test_what_does_not_listen_is_not_adopted(tmp_path: Path, cleanup: ExitStack) -> None:
    ours, _ = map(cleanup.enter_context, socket.socketpair())
    file = cleanup.enter_context((tmp_path / "file").open("w"))
    datagrams = cleanup.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    for descriptor, reason in (
        (ours.fileno(), "does not listen"),
        (file.fileno(), "no socket"),
        (datagrams.fileno(), "no stream socket"),
        (9999, "Bad file descriptor"),
    ):
        with pytest.raises(ListenError, match=f"fd:name: .*{reason}"):
            adopt(descriptor, "name")
