"""The dump of `debug-dnstap-filename`: a line of JSON a frame as the existing EDM writes it, with pseudonyms.

The members are called as the JSON of the dnstap tools has them. What may tell of the client is not in it: neither his
address nor the query. For debugging: it costs some two hundred microseconds a frame, and the file grows.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import dns.exception
import dns.message

from tapir.codec.dnstap import DecodedBlock, Family, Marks, MessageType, Outcome, decode
from tapir.model.blocks import FrameBlock
from tapir.store.files import write_all

_MODE: Final = 0o600
_FAMILIES: Final = {Family.INET: "INET", Family.INET6: "INET6"}
_PROTOCOLS: Final = {1: "UDP", 2: "TCP", 3: "DOT", 4: "DOH", 5: "DNSCryptUDP", 6: "DNSCryptTCP", 7: "DOQ"}
_TYPES: Final = {int(kind): kind.name for kind in MessageType}


class DebugDump:
    """The file, which is appended to. Blocking; belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __repr__(self) -> str:
        return f"<DebugDump {self._path}>"

    def append(self, frames: FrameBlock) -> str:
        """Append frames that have pseudonyms already; why they were not taken, empty when they were."""
        try:
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
                self._descriptor = os.open(self._path, flags, _MODE)
            write_all(self._descriptor, "".join(describe_frames(frames)).encode())
        except OSError as exc:
            return f"{self._path}: {exc.strerror or exc}"
        except Exception as exc:  # noqa: BLE001 - a frame that nobody can describe is minimised all the same
            return f"{self._path}: a frame could not be described ({type(exc).__name__})"
        return ""

    def close(self) -> None:
        """Take no more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def describe_frames(frames: FrameBlock) -> Iterator[str]:
    """A line for each frame."""
    # The hashes of names are of no use here, so any secret will do.
    block = decode(frames, bytes(16))
    for row in range(len(block)):
        yield json.dumps(_described(block, row), ensure_ascii=True, separators=(",", ":")) + "\n"


def _described(block: DecodedBlock, row: int) -> dict[str, Any]:
    message: dict[str, Any] = {"type": _TYPES.get(int(block.message_type[row]), str(block.message_type[row]))}
    if not block.marks[row] & (Marks.NO_TIME | Marks.ABSURD_TIME):
        at = datetime.fromtimestamp(int(block.time[row]) / 1e6, UTC) if 0 <= block.time[row] < 1 << 52 else None
        message["response_time"] = None if at is None else at.isoformat().replace("+00:00", "Z")
    if family := int(block.family[row]):
        message["socket_family"] = _FAMILIES.get(Family(family)) if family <= Family.INET6 else str(family)
    if protocol := int(block.protocol[row]):
        message["socket_protocol"] = _PROTOCOLS.get(protocol, str(protocol))
    data = block.frames.data
    for name, starts, lengths in (
        ("query_address", block.query_address_at, block.query_address_length),
        ("response_address", block.response_address_at, block.response_address_length),
    ):
        address = data[int(starts[row]) : int(starts[row]) + int(lengths[row])]
        if address:
            message[name] = str(ip_address(address)) if len(address) in (4, 16) else address.hex()
    for name, ports, missing in (
        ("query_port", block.query_port, Marks.NO_QUERY_PORT),
        ("response_port", block.response_port, Marks.NO_RESPONSE_PORT),
    ):
        if not block.marks[row] & missing:
            message[name] = int(ports[row])
    if wire := block.wire(row):
        message["response_message"] = _text(wire)
    described: dict[str, Any] = {"type": "MESSAGE"}
    identity_at, identity_length = int(block.identity_at[row]), int(block.identity_length[row])
    if identity_length:
        described["identity"] = data[identity_at : identity_at + identity_length].decode(errors="replace")
    if block.outcome[row] != Outcome.NO_MESSAGE:
        described["message"] = message
    return described


def _text(wire: bytes) -> str:
    try:
        return dns.message.from_wire(wire, ignore_trailing=True).to_text()
    except (dns.exception.DNSException, ValueError) as exc:
        return f"parse failed: {type(exc).__name__}, {len(wire)} octets"
