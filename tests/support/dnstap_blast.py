"""A sender of dnstap that is never what one waits for: prepared octets, one socket, no sleep, names that are new.

`python dnstap_blast.py SOCKET OCTETS SECONDS` sends what is in the file OCTETS over and over for so long, and prints as
JSON how many frames that was, the seconds from START to FINISH, and for how long it ever waited for room. The new names
of the workload are made anew each time the octets are sent, as long as the names of a block are wanted to be new.
"""

import json
import select
import socket
import sys
import time
from pathlib import Path
from typing import Final

from dnstap_frames import Workload

from tapir.codec.framestream import Sender
from tapir.model.blocks import FrameBlock

_PIECE: Final = 1 << 18
_DIGITS: Final = b"0123456789abcdefghijklmnopqrstuvwxyz"


def prepare(path: Path, workload: Workload, frames: int) -> None:
    """Write the octets of so many frames to `path`."""
    path.write_bytes(FrameBlock.of(workload.frames(frames)).data)


def count_frames(data: bytes | bytearray) -> int:
    """How many frames these octets are."""
    at = found = 0
    while at < len(data):
        at += 4 + int.from_bytes(data[at : at + 4])
        found += 1
    return found


def marks_of(data: bytes | bytearray, seed: int) -> list[int]:
    """Where the four octets are in which the new names of one round differ from those of another."""
    mark = bytes((4,)) + str(seed).encode() + b"\x07example"
    assert len(str(seed)) == 4
    found, at = [], data.lower().find(mark)
    lower = data.lower()
    while at >= 0:
        found.append(at + 1)
        at = lower.find(mark, at + 1)
    return found


def renew(data: bytearray, marks: list[int], number: int) -> None:
    """Make the new names of round `number`."""
    text = bytes(_DIGITS[number // 36**place % 36] for place in range(4))
    for at in marks:
        data[at : at + 4] = text


def blast(path: str, data: bytearray, marks: list[int], seconds: float) -> dict[str, float]:
    """Send for so many seconds, rounded up to whole rounds of all of `data`."""
    each = count_frames(data)
    sender = Sender(bidirectional=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)
        sock.sendall(sender.start())
        while not sender.open:
            sock.sendall(sender.feed(sock.recv(4096)))
        sock.setblocking(False)
        room = select.poll()
        room.register(sock, select.POLLOUT)
        begun = time.perf_counter()
        rounds, longest = 0, 0.0
        while time.perf_counter() - begun < seconds:
            renew(data, marks, rounds)
            rounds += 1
            view = memoryview(data)
            at = 0
            while at < len(view):
                try:
                    at += sock.send(view[at : at + _PIECE])
                except BlockingIOError:
                    since = time.perf_counter()
                    room.poll()
                    longest = max(longest, time.perf_counter() - since)
            view.release()
        sock.setblocking(True)
        sock.sendall(sender.stop())
        while not sender.finished:
            heard = sock.recv(4096)
            if not heard:
                raise ConnectionError("no FINISH")
            sender.feed(heard)
        took = time.perf_counter() - begun
    return {"frames": rounds * each, "seconds": took, "longest": longest, "new": rounds * len(marks)}


if __name__ == "__main__":
    prepared = bytearray(Path(sys.argv[2]).read_bytes())
    print(json.dumps(blast(sys.argv[1], prepared, marks_of(prepared, Workload().seed), float(sys.argv[3]))))
