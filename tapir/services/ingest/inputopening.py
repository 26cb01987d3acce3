"""Where senders of dnstap connect: opened by us, or taken over from the service manager where that listens already.

A socket of the service manager is known by what it listens on: it is the input only if that is what is configured.
"""

import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs

from tapir.model.errors import TapirError
from tapir.transport.framelisteners import FrameListener, ListenError, adopt, listen_tcp, listen_unix
from tapir.transport.framestream import FrameStreamSettings
from tapir.transport.streams import Address, format_address
from tapir.transport.tls import TlsError, server_context

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - looked for, not bound

Inherited = Callable[[], Sequence[tuple[str, int]]]
"""Gives name and descriptor of each socket of the service manager"""


class InputError(TapirError):
    """There is nothing to listen with; the text says what and why."""


@attrs.frozen(kw_only=True)
class InputSettings:
    """Where senders connect, and what is taken from them; each of `unix`, `tcp` and `tls` may be None."""

    unix: Path | None
    unix_mode: int
    unix_group: str
    """empty: that of the process"""
    tcp: Address | None
    tls: Address | None
    tls_certificate: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    """if set, a sender must show a certificate of it"""
    streams: FrameStreamSettings
    connections: int
    """how many at once, of all listeners"""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Our own addresses, as logs may show them."""
        found = [f"unix:{self.unix}"] if self.unix is not None else []
        found += [f"tcp:{format_address(self.tcp)}"] if self.tcp is not None else []
        return (*found, *([f"tls:{format_address(self.tls)}"] if self.tls is not None else []))


@attrs.frozen(kw_only=True)
class OpenedInput:
    """Listening sockets, which belong to whoever asked for them; `misfits` says what was not taken over, and why."""

    listeners: tuple[FrameListener, ...]
    misfits: tuple[str, ...]
    tls_state: object = None
    """as `tls_state` had it before the files were read"""


def open_input(settings: InputSettings, inherited: Inherited) -> OpenedInput:
    """Listen on everything that is configured, or on nothing. Blocks. Raises InputError."""
    opened: dict[str, FrameListener] = {}
    misfits: list[str] = []
    state = tls_state(settings)
    try:
        context = None if settings.tls is None else read_context(settings)
        for name, descriptor in inherited():
            try:
                key, listener = _take_over(settings, name, descriptor)
            except ListenError as exc:
                misfits.append(str(exc))
                continue
            if key in opened:
                listener.close()
                misfits.append(f"cannot listen on fd:{name}: another socket of the service manager is that input")
                continue
            listener.tls = context if key == "tls" else None
            opened[key] = listener
        if settings.unix is not None and "unix" not in opened:
            opened["unix"] = listen_unix(settings.unix, mode=settings.unix_mode, group=settings.unix_group or None)
        if settings.tcp is not None and "tcp" not in opened:
            opened["tcp"] = listen_tcp(settings.tcp)
        if settings.tls is not None and "tls" not in opened:
            opened["tls"] = listen_tcp(settings.tls, tls=context)
    except (ListenError, TlsError) as exc:
        close_all(opened.values())
        text = str(exc) if isinstance(exc, ListenError) else f"cannot listen on {settings.wanted[-1]}: {exc}"
        raise InputError("; ".join((text, *misfits))) from exc
    return OpenedInput(listeners=tuple(opened.values()), misfits=tuple(misfits), tls_state=state)


def close_all(listeners: Iterable[FrameListener]) -> None:
    """Close each of them. Blocks as long as removing a file does."""
    for listener in listeners:
        listener.close()


def read_context(settings: InputSettings) -> ssl.SSLContext:
    """TLS from its files, as they are now. Blocks. Raises TlsError."""
    if settings.tls_certificate is None or settings.tls_key is None:
        raise TlsError("it needs a certificate and a key")
    return server_context(
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        client_ca=settings.tls_client_ca,
        require_client_certificate=settings.tls_client_ca is not None,
        # unbound looks by a recv() below TLS whether its connection is closed: tickets that are there by then it throws
        # away, cannot decrypt ACCEPT, and connects again a second later. Senders connect once, and need none.
        tickets=False,
    )


def _take_over(settings: InputSettings, name: str, descriptor: int) -> tuple[str, FrameListener]:
    """Which input the socket is, and its listener. Raises ListenError."""
    listener = adopt(descriptor, name)
    if listener.sock.family == socket.AF_UNIX:
        path = listener.sock.getsockname()
        where = f"unix:{path}" if isinstance(path, str) and path else "a Unix socket without a path"
        fits = settings.unix is not None and isinstance(path, str) and _is_at(path, settings.unix)
        key = "unix"
    else:
        address = listener.address
        key = "tls" if _fits(settings.tls, address) else "tcp"
        where = f"{key}:{format_address(address)}"
        fits = key == "tls" or _fits(settings.tcp, address)
    if not fits:
        listener.close()
        raise ListenError(
            listener.name,
            f"the service manager listens on {where} there, and configured is {', '.join(settings.wanted)}; "
            "whoever connects there is not heard",
        )
    listener.name = f"{where} (fd:{name})"
    return key, listener


def _is_at(path: str, wanted: Path) -> bool:
    # /var/run is a link to /run on most machines.
    return bool(path) and (path == str(wanted) or Path(path).resolve() == wanted.resolve())


def _fits(wanted: Address | None, found: Address) -> bool:
    if wanted is None or wanted[1] != found[1]:
        return False
    # ListenStream=6000 is every address of both families.
    return wanted[0] == found[0] or (wanted[0] in _EVERYWHERE and found[0] in _EVERYWHERE)


def tls_state(settings: InputSettings) -> object:
    """Differs when the files of TLS are others than they were. Blocks."""
    paths = (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return tuple(_signature(path) for path in paths if path is not None)


def _signature(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
