"""Leaving a command, and asking where one may not look."""

import io
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed, wrap_server_stream
from typer.testing import CliRunner

from tapir.app.cli.client import ConsoleForbiddenError, ConsoleUnreachableError, open_console
from tapir.app.cli.commands import screen
from tapir.app.cli.main import app


async def serve(stream: trio.SocketStream) -> None:
    """A console that takes every connection and says nothing."""
    async with trio.open_nursery() as nursery:
        request = await wrap_server_stream(nursery, stream)
        connection = await request.accept()
        try:
            await connection.get_message()
        except ConnectionClosed:
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def mute_console(folder: Path) -> AsyncIterator[None]:
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(str(folder / "console.sock"))
        sock.listen()
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, serve, [trio.SocketListener(sock)])
            yield
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("reason", [KeyboardInterrupt, BrokenPipeError])
async def test_ctrl_c_and_a_closed_pipe_come_out_under_their_own_names(
    tmp_path: Path, reason: type[BaseException]
) -> None:
    async with mute_console(tmp_path):
        with pytest.raises(reason):
            async with open_console(tmp_path):
                raise reason


async def test_the_socket_of_a_killed_process_is_told_from_one_that_refuses(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "console.sock"))
    with pytest.raises(ConsoleUnreachableError, match="was left behind by one that was killed"):
        async with open_console(tmp_path):
            raise AssertionError("nobody listens")


def test_a_configuration_that_is_not_ours_to_read_keeps_nobody_from_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    answer = CliRunner().invoke(app, ["status", "--config-dir", str(tmp_path)])
    assert answer.exit_code == 1
    assert "no tapir runs on /var/lib/dnstapir/tapir" in answer.output


class ClosedPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_table_for_a_reader_that_is_gone_says_so_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    with pytest.raises(BrokenPipeError):
        screen().print("a table")


@pytest.mark.parametrize("command", [["--help"], ["check"]])
def test_an_answer_that_cannot_be_written_is_not_done_and_no_traceback(tmp_path: Path, command: list[str]) -> None:
    options = (
        [] if command == ["--help"] else ["--config-dir", "deploy/examples/standalone", "--state-dir", str(tmp_path)]
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tapir", *command, *options], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == "tapir: the answer cannot be written: No space left on device"
    assert b"Traceback" not in done.stderr


def test_what_is_done_is_done_also_where_nobody_listens(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m tapir check --config-dir deploy/examples/standalone --state-dir {tmp_path} >&-"
    done = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_no_plan_is_made_beside_a_process_that_is_not_ours_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(trio, "open_unix_socket", forbidden)
    with pytest.raises(ConsoleForbiddenError):
        trio.run(lambda: open_console(tmp_path).__aenter__())
    answer = CliRunner().invoke(
        app, ["plan", "--config-dir", "deploy/examples/standalone", "--state-dir", str(tmp_path)]
    )
    assert answer.exit_code == 1
    assert "is not open to you" in answer.output
