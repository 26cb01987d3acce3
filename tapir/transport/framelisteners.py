"""Listening sockets for Frame Streams: Unix, TCP, TLS, and those that the service manager holds for us.

A Unix socket has its rights from the beginning: there is no moment where others may open it. What is at its path is
replaced only if it is a socket that nobody listens on.

A socket of the service manager (`LISTEN_FDS`, sd_listen_fds(3)) is never closed for good by us: senders that connect
while the process restarts wait in its backlog, and what they wrote in the kernel.
"""

import errno
import grp
import os
import select
import socket
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from tapir.model.errors import TapirError
from tapir.transport.streams import Address, format_address

UNIX_MODE: Final = 0o660
_BACKLOG: Final = 128
_FIRST_DESCRIPTOR: Final = 3
# A sender that lost its power says no goodbye: after these many seconds and tries it is taken for gone.
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


class ListenError(TapirError):
    """An address cannot be listened on; the text says which and why, and what was there is as it was."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"cannot listen on {where}: {reason}")
        self.where = where
        self.reason = reason


@attrs.define(eq=False)
class FrameListener:
    """A listening socket; `name` is our own address, as logs may show it."""

    name: str
    sock: socket.socket
    tls: ssl.SSLContext | None = None
    _file: tuple[Path, int, int] | None = None

    @property
    def address(self) -> Address:
        """The address of TCP, with the port that the kernel gave when 0 was asked for."""
        name = self.sock.getsockname()
        return name[0], name[1]

    def check(self) -> None:
        """Raise ListenError when nobody will connect any more; for whoever found it readable and nobody there.

        accept(2) does not tell that another process shut a Unix socket down, and the kernel says of it for ever after
        that there is something to accept.
        """
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        if poll.poll(0):
            raise ListenError(self.name, "another process shut it down")

    def close(self) -> None:
        """Stop listening; a Unix socket's file goes, if it is still the one that was made. Never raises."""
        self.sock.close()
        if self._file is None:
            return
        path, device, inode = self._file
        try:
            found = path.stat()
            if (found.st_dev, found.st_ino) == (device, inode):
                path.unlink()
        except OSError:
            return  # it is not there, or no more ours to remove: the next to listen there replaces it


def listen_unix(path: Path, *, mode: int = UNIX_MODE, group: str | None = None) -> FrameListener:
    """Listen on a Unix socket at `path`, which gets these rights and this group. Blocks. Raises ListenError.

    A socket there that nobody listens on is replaced, one that is listened on is not, nor anything that is no socket.
    """
    name = f"unix:{path}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        owner = -1 if group is None else grp.getgrnam(group).gr_gid
        _remove_dead(path)
        # Linux makes the file with the rights of the socket, less the umask: never is it open to others.
        os.fchmod(sock.fileno(), mode)
        sock.bind(str(path))
        os.chown(path, -1, owner)
        path.chmod(mode)
        sock.listen(_BACKLOG)
        found = path.stat()
    except (OSError, KeyError, ListenError) as exc:
        sock.close()
        if isinstance(exc, ListenError):
            raise
        # "AF_UNIX path too long" has no number: its text is all there is.
        reason = f"there is no group {group}" if isinstance(exc, KeyError) else _explain(exc, path, group)
        raise ListenError(name, reason) from exc
    return FrameListener(name, sock, file=(path, found.st_dev, found.st_ino))


def listen_tcp(address: Address, *, tls: ssl.SSLContext | None = None) -> FrameListener:
    """Listen on a numeric address, in clear or with `tls`. Raises ListenError."""
    name = f"{'tcp' if tls is None else 'tls'}:{format_address(address)}"
    try:
        family, kind, _, _, sockaddr = socket.getaddrinfo(
            address[0], address[1], type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    except OSError as exc:
        raise ListenError(name, exc.strerror or str(exc)) from exc
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr)
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        raise ListenError(name, _explain(exc)) from exc
    listener = FrameListener(name, sock, tls)
    if not address[1]:  # the kernel chose
        listener.name = f"{'tcp' if tls is None else 'tls'}:{format_address(listener.address)}"
    return listener


def inherited_descriptors(environment: Mapping[str, str] = os.environ) -> tuple[tuple[str, int], ...]:
    """Name and descriptor of each socket that the service manager started this process with; none for another's.

    A socket without a name of its own (`FileDescriptorName=`) has that of its unit, or "unknown" (sd_listen_fds(3)).
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return ()
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    return tuple(
        (names[index] if index < len(names) and names[index] else "unknown", _FIRST_DESCRIPTOR + index)
        for index in range(int(count))
    )


def adopt(descriptor: int, name: str, *, tls: ssl.SSLContext | None = None) -> FrameListener:
    """Listen on a socket of the service manager, of which a duplicate is taken; so it can be adopted again.

    The descriptor itself stays open, and is kept from programs that we start. Raises ListenError.
    """
    where = f"fd:{name}"
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise ListenError(where, "it is no socket")
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=os.dup(descriptor))
    except OSError as exc:
        raise ListenError(where, exc.strerror or str(exc)) from exc
    try:
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
            raise ListenError(where, "it is no stream socket (ListenStream= in its unit)")
        if not listening:
            raise ListenError(where, "it does not listen (Accept=no in its unit)")
        sock.setblocking(False)
        listener = FrameListener(where, sock, tls)
        listener.check()
    except OSError as exc:
        sock.close()
        raise ListenError(where, exc.strerror or str(exc)) from exc
    except ListenError:
        sock.close()
        raise
    return listener


def prepare_accepted(sock: socket.socket) -> None:
    """What a connection needs before it is read: keepalive, so that a sender that vanished is noticed one day."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _explain(exc: OSError, path: Path | None = None, group: str | None = None) -> str:
    """What the kernel means by it here; `path` is of a Unix socket."""
    plain = exc.strerror or str(exc)
    match exc.errno:
        case errno.ENOENT | errno.ENOTDIR if path is not None:
            return f"there is no folder {path.parent}"
        case errno.EACCES if path is not None:
            return f"{plain}; this process may make nothing in {path.parent}"
        case errno.EROFS if path is not None:
            return f"{plain}: {path.parent}"
        case errno.EPERM if group is not None:
            return f"{plain}; only a member of the group {group} may give it the socket"
        case errno.EACCES:
            return f"{plain}; a port below 1024 needs the capability CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return f"{plain}; no interface of this machine has it now"
        case errno.EADDRINUSE if path is None:
            return f"{plain}; another process listens there"
    return plain


def _remove_dead(path: Path) -> None:
    name = f"unix:{path}"
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(name, "something that is no socket is there, and is left alone")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        result = probe.connect_ex(str(path))
    if result not in (errno.ECONNREFUSED, errno.ENOENT):
        # EAGAIN is a backlog that is full: somebody listens. EACCES: not ours to say that nobody does.
        who = "another process listens there" if result in (0, errno.EAGAIN) else os.strerror(result)
        raise ListenError(name, who)
    path.unlink(missing_ok=True)
