"""Names in a DAWG: found by block, and gone through in order, without a word of Python for each.

A word is a name's text, lower-case, with the dot at its end; `.example.com.` is all strictly below `example.com.`, the
wildcard name `*.example.com.` in wire form. Where text needs an escape, both `format_name`'s spelling and that of the
tools in Go count. What is spelt otherwise (in capitals, without the dot, `*.name.`) is found by nobody who looks names
up, here or elsewhere, so it is refused where words are gone through, with its place as its line.
"""

from array import array
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from tapir.codec.dawg.checking import nodes_of
from tapir.codec.dawg.layout import Bits, DawgError, DawgHeader
from tapir.codec.lists import MALFORMED, SHOWN_LINES
from tapir.kernels.dawg import Words, tabulate
from tapir.model.blocks import NameBlock
from tapir.model.messages.lists import Refusal
from tapir.model.names import MAX_TEXT

_NAMES: Final = 1 << 14
_OCTETS: Final = 1 << 19
_STEPS: Final = 1 << 20
"""How far a walk goes before it says how far it is: some twenty milliseconds."""
_ASKED: Final = 1 << 16


class NameWalk:
    """Goes through a checked DAWG once, block by block; what is no name is counted.

    Iterating gives (names, their places from 1), also empty ones, so that whoever waits sees that it goes on.
    """

    def __init__(
        self, bits: Bits, header: DawgHeader, *, below: NameBlock | None = None, subtree: bool = False
    ) -> None:
        """With `below`, only names strictly below one of these are given; of `subtree` words each with its wildcard."""
        room = header.nodes + 1
        # Of the path no more is touched than the longest word has characters, which `check` and the count of prefixes
        # keep far below that of nodes.
        self._words = Words(
            nodes_of(bits, header),
            np.empty(room, np.int64).data,
            np.empty(room, np.int64).data,
            bytearray(MAX_TEXT + 1),
            subtree,
        )
        self._bad = array("I", bytes(4 * SHOWN_LINES))
        self._wanted = memoryview(b""), memoryview(b"\0\0\0\0").cast("I"), memoryview(b"").cast("i")
        if below is not None:
            table = np.zeros(1 << (2 * len(below) + 2).bit_length(), np.int32)
            self._wanted = memoryview(below.data), memoryview(below.offsets).cast("I"), table.data
            tabulate(*self._wanted)

    def __iter__(self) -> Iterator[tuple[NameBlock, "array[int]"]]:
        data = bytearray(_OCTETS)
        offsets = array("I", bytes(4 * _NAMES + 4))
        numbers = array("I", bytes(4 * _NAMES))
        done = False
        while not done:
            count = self._words.fill(data, offsets, numbers, self._bad, _STEPS, *self._wanted)
            done, *_ = self._words.progress()
            block = NameBlock(data=bytes(data[: offsets[count]]), offsets=offsets[: count + 1].tobytes())
            yield block, numbers[:count]

    @property
    def words(self) -> int:
        """How many words were met so far."""
        return int(self._words.progress()[1])

    @property
    def characters(self) -> int:
        """How many characters these words have."""
        return int(self._words.progress()[2])

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The words so far that are no names."""
        count = int(self._words.progress()[3])
        if not count:
            return ()
        return (Refusal(reason=MALFORMED, count=count, lines=tuple(self._bad[:count])),)


def find_names(bits: Bits, header: DawgHeader, names: NameBlock) -> npt.NDArray[np.bool_]:
    """Which of `names` are words, a wildcard as the word that stands for all below; the root and `*.` never are."""
    nodes = nodes_of(bits, header)
    offsets = memoryview(names.offsets).cast("I")
    flags = np.zeros(len(names), np.bool_)
    found = flags.view(np.uint8).data
    for first in range(0, len(names), _ASKED):
        last = min(first + _ASKED, len(names))
        nodes.find(names.data, offsets, first, last, found[first:last])
    return flags


def join_names(blocks: list[NameBlock]) -> NameBlock:
    """One block of many. Raises DawgError when it would hold more octets than offsets can say."""
    octets = sum(len(block.data) for block in blocks)
    if octets > np.iinfo(np.uint32).max:
        raise DawgError(f"its names have {octets} octets, more than a list can hold")
    offsets = np.zeros(sum(map(len, blocks)) + 1, np.uint32)
    at = base = 0
    for block in blocks:
        offsets[at : at + len(block) + 1] = np.frombuffer(block.offsets, np.uint32) + np.uint32(base)
        at += len(block)
        base += len(block.data)
    return NameBlock(data=b"".join(block.data for block in blocks), offsets=offsets.tobytes())
