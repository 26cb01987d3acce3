"""Leaving a command, and asking where one may not look."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed, wrap_server_stream
from typer.testing import CliRunner

from tapir.app.cli.client import ConsoleUnreachableError, open_console
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
