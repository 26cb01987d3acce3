"""Addresses that must not come out, and a search for them in every form that an address could come out in.

Four octets turn up by chance once in some billions of places; so the marks are few, and what is searched is small.
"""

import base64
import io
import ipaddress
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

_PARQUET: Final = b"PAR1"


def address(text: str) -> bytes:
    """The octets of an address."""
    return ipaddress.ip_address(text).packed


def forms_of(mark: bytes) -> dict[str, bytes]:
    """Every form of an address that is looked for, by what it is called; letters in lower case."""
    parsed = ipaddress.ip_address(mark)
    text = str(parsed)
    forms = {
        "text": text.encode(),
        "exploded": parsed.exploded.encode(),
        "network": (text.rpartition(".")[0] + "." if parsed.version == 4 else parsed.exploded[:19]).encode(),
        "reverse": parsed.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa").encode(),
        "hex": mark.hex().encode(),
        "hex, little end first": mark[::-1].hex().encode(),
        "hex with spaces": mark.hex(" ").encode(),
        "hex with colons": mark.hex(":").encode(),
        "packed": mark,
        "packed, little end first": mark[::-1],
        "repr": repr(mark)[2:-1].encode(),
        "repr of a list": ", ".join(map(str, mark)).encode(),
        "JSON": json.dumps(mark.decode("latin-1"))[1:-1].encode(),
        "UTF-8": mark.decode("latin-1").encode(),
        "escapes": "".join(f"\\{octet:03d}" for octet in mark).encode(),
        "number": str(int.from_bytes(mark)).encode(),
        "number, little end first": str(int.from_bytes(mark, "little")).encode(),
        "number, signed": str(int.from_bytes(mark, signed=True)).encode(),
        "base64": base64.b64encode(mark)[: len(mark) * 8 // 6],
    }
    if parsed.version == 6:
        for name, half in (("network", mark[:8]), ("host", mark[8:])):
            forms |= {
                f"{name} packed": half,
                f"{name} packed, little end first": half[::-1],
                f"{name} as number": str(int.from_bytes(half)).encode(),
                f"{name} as number, signed": str(int.from_bytes(half, signed=True)).encode(),
                f"{name} in hex": half.hex().encode(),
            }
        for shift in (1, 2):
            forms[f"base64, shifted by {shift}"] = base64.b64encode(bytes(shift) + mark + bytes(2))[4:20]
    return forms


class Search:
    """Looks for `marks` in what came out; `findings` are where, which and how."""

    def __init__(self, marks: Iterable[bytes]) -> None:
        self._forms = [(mark.hex(), name, form) for mark in marks for name, form in forms_of(mark).items()]
        self._numbers: dict[int, str] = {}
        for mark in {bytes.fromhex(mark) for mark, _, _ in self._forms}:
            for half in (mark,) if len(mark) == 4 else (mark[:8], mark[8:]):
                for octets in (half, half[::-1]):
                    for signed in (False, True):
                        self._numbers[int.from_bytes(octets, signed=signed)] = mark.hex()
        self.findings: list[str] = []
        self.octets = 0

    def through(self, where: str, data: bytes) -> None:
        """Look through these octets, and if they are a parquet file, through its values too."""
        self.octets += len(data)
        lower = data.lower()
        for mark, name, form in self._forms:
            # Octets are looked for as they are, what is text in any case of letters.
            if (form in data) if "packed" in name else (form.lower() in lower):
                self.findings.append(f"{where}: {mark} as {name}")
        if data[:4] == _PARQUET and data[-4:] == _PARQUET:
            for row in pq.read_table(io.BytesIO(data)).to_pylist():
                for column, value in row.items():
                    self._value(f"{where}: {column}", value)

    def through_folder(self, folder: Path, *, but: Iterable[Path] = ()) -> None:
        """Look through every file below `folder`, and its name."""
        spared = set(but)
        for path in _files(folder):
            if path not in spared:
                self.through(str(path.relative_to(folder)), str(path.name).encode() + b"\n" + path.read_bytes())
                if path.suffix == ".parquet":
                    self.through(str(path.relative_to(folder)), path.read_bytes())

    def _value(self, where: str, value: Any) -> None:
        if isinstance(value, int) and value in self._numbers:
            self.findings.append(f"{where}: {self._numbers[value]} as a value")
        elif isinstance(value, bytes | str):
            self.through(where, value.encode() if isinstance(value, str) else value)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
