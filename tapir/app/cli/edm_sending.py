"""A sender of Frame Streams over a blocking socket, for a command that does nothing else."""

import errno
import socket
from pathlib import Path
from typing import Final

import attrs

from tapir.codec.framestream import FrameStreamError, Sender
from tapir.model.blocks import FrameBlock
from tapir.model.errors import TapirError
from tapir.transport.streams import Address, format_address

_PATIENCE: Final = 30.0
"""seconds for which a receiver may do nothing at all before it is given up"""
_PIECE: Final = 1 << 20
_CONTROL: Final = 4096


class ReceiverError(TapirError):
    """Who should take the frames is not there, will not, or went away."""


@attrs.frozen(kw_only=True)
class Receiver:
    """Where frames go: a Unix socket, or an address."""

    unix: Path | None = None
    tcp: Address | None = None

    def __str__(self) -> str:
        return f"unix:{self.unix}" if self.tcp is None else f"tcp:{format_address(self.tcp)}"

    def connect(self) -> "FrameSender":
        """A stream that is begun. Blocks. Raises ReceiverError."""
        sock = socket.socket(socket.AF_UNIX) if self.tcp is None else None
        try:
            if sock is None:
                sock = socket.create_connection(self.tcp or ("", 0), timeout=_PATIENCE)
            else:
                sock.settimeout(_PATIENCE)
                sock.connect(str(self.unix))
        except OSError as exc:
            if sock is not None:
                sock.close()
            raise ReceiverError(_why_not(self, exc)) from exc
        sender = FrameSender(sock, str(self))
        try:
            sender.begin()
        except BaseException:
            sender.close()
            raise
        return sender


class FrameSender:
    """One bidirectional stream, so that its receiver says when it has everything."""

    def __init__(self, sock: socket.socket, where: str) -> None:
        self._socket = sock
        self._where = where
        self._machine = Sender(bidirectional=True)

    def begin(self) -> None:
        """Come to terms. Blocks. Raises ReceiverError."""
        self._write(self._machine.start())
        while not self._machine.open:
            self._hear(
                "it closed the connection before the stream began: as many senders as may be are connected, or "
                "it takes no dnstap"
            )

    def send(self, block: FrameBlock) -> None:
        """Send the frames as fast as they are taken. Blocks. Raises ReceiverError."""
        self._write(block.data)

    def finish(self) -> None:
        """Return once the receiver says that it has everything. Blocks. Raises ReceiverError."""
        self._write(self._machine.stop())
        while not self._machine.finished:
            self._hear("it closed the connection and did not say that it has everything")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _write(self, octets: bytes) -> None:
        view = memoryview(octets)
        try:
            while view:
                view = view[self._socket.send(view[:_PIECE]) :]
        except OSError as exc:
            raise ReceiverError(f"{self._where}: {_went_wrong(exc)}") from exc

    def _hear(self, closed: str) -> None:
        try:
            octets = self._socket.recv(_CONTROL)
            if not octets:
                raise ReceiverError(f"{self._where}: {closed}")
            answer = self._machine.feed(octets)
        except OSError as exc:
            raise ReceiverError(f"{self._where}: {_went_wrong(exc)}") from exc
        except FrameStreamError as exc:
            raise ReceiverError(f"{self._where}: it does not speak Frame Streams as it should: {exc}") from exc
        if answer:
            self._write(answer)


def _why_not(receiver: Receiver, exc: OSError) -> str:
    if exc.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return f"nobody listens on {receiver}: {exc.strerror}"
    if exc.errno == errno.EACCES:
        return f"{receiver}: {exc.strerror}; its rights say who may send there (input-unix-mode, input-unix-group)"
    return f"{receiver}: {exc.strerror or exc}"


def _went_wrong(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return f"it took and said nothing for {_PATIENCE:g} s"
    if isinstance(exc, ConnectionError):
        return f"it closed the connection ({exc.strerror or exc})"
    return exc.strerror or str(exc)
