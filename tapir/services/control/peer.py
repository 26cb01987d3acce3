"""Who is at the other end of a Unix socket: what the kernel says, which no client can make up."""

import pwd
import socket
import struct
from typing import Final

import trio

_UCRED: Final = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)


def peer_uid(sock: socket.socket | trio.socket.SocketType) -> int:
    """The user who connected to our socket. Raises OSError when the kernel does not say."""
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def user_name(uid: int) -> str:
    """The name of `uid`, or `uid 1234` for one that has none. May ask the network: for a worker."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
