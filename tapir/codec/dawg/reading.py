"""Look-ups in a DAWG, decoded from its octets each time: nothing is unpacked, so many may share one file."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from tapir.codec.dawg.checking import check_nodes
from tapir.codec.dawg.layout import Bits, DawgHeader, Node, read_header
from tapir.codec.dawg.names import NameWalk, find_names
from tapir.model.blocks import NameBlock

_KNOWN: Final = 1 << 14
"""How many nodes an enumeration keeps decoded."""

_Decoded = tuple[bool, tuple[tuple[str, int], ...]]


def parse_dawg(data: bytes | memoryview) -> "Dawg":
    """The DAWG in `data`, every part of which was checked. Raises DawgError, and nothing else whatever the octets.

    The octets must stay as they are for as long as the DAWG is used.
    """
    bits = Bits(data)
    header = read_header(bits)
    check_nodes(bits, header)
    return Dawg(bits, header)


class Dawg:
    """A checked DAWG: an ordered set of words, each known by its place. Made by `parse_dawg`."""

    __slots__ = ("_bits", "header")

    def __init__(self, bits: Bits, header: DawgHeader) -> None:
        self._bits = bits
        self.header = header

    def __len__(self) -> int:
        return self.header.words

    def __repr__(self) -> str:
        return f"<Dawg of {self.header.words} words, {self.header.size} octets>"

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.index(word) is not None

    def index(self, word: str) -> int | None:
        """The place of `word` in the order of words, from 0; None when it is not one of them."""
        node = self._node(self.header.root)
        place = 0
        for character in word:
            number = node.find(ord(character))
            if number is None:
                return None
            skip, target = node.follow(number)
            place += skip
            node = self._node(target)
        return place if node.final else None

    def word(self, index: int) -> str:
        """The word at place `index`. Raises IndexError when there is none."""
        if not 0 <= index < len(self):
            raise IndexError(f"the DAWG has {len(self)} words, and none at {index}")
        characters: list[str] = []
        node = self._node(self.header.root)
        left = index
        while not (node.final and left == 0):
            number = node.last_within(left)
            skip, target = node.follow(number)
            characters.append(chr(node.character(number)))
            left -= skip
            node = self._node(target)
        return "".join(characters)

    def __iter__(self) -> Iterator[str]:
        """The words in order: that of their code points."""
        path: list[str] = []
        known: dict[int, _Decoded] = {}
        final, edges = self._decode(self.header.root, known)
        if final:
            yield ""
        stack = [iter(edges)]
        while stack:
            for character, target in stack[-1]:
                path.append(character)
                final, edges = self._decode(target, known)
                if final:
                    yield "".join(path)
                stack.append(iter(edges))
                break
            else:
                stack.pop()
                if path:
                    path.pop()

    def holds(self, names: NameBlock) -> npt.NDArray[np.bool_]:
        """Which of `names`, in wire form, are words; see `tapir.codec.dawg.names`."""
        return find_names(self._bits, self.header, names)

    def names(self, *, below: NameBlock | None = None, subtree: bool = False) -> NameWalk:
        """All words that are names, or those strictly below one of `below`, a block at a time.

        With `subtree` a name that is no wildcard is followed by the wildcard for all below it.
        """
        return NameWalk(self._bits, self.header, below=below, subtree=subtree)

    def _decode(self, start: int, known: dict[int, _Decoded]) -> _Decoded:
        """The node at `start`, from `known` if it was met lately: ends of words are shared by many."""
        found = known.get(start)
        if found is None:
            if len(known) >= _KNOWN:
                known.clear()
            node = self._node(start)
            edges = tuple((chr(node.character(number)), node.follow(number)[1]) for number in range(node.edges))
            found = known[start] = bool(node.final), edges
        return found

    def _node(self, start: int) -> Node:
        return Node(self._bits, self.header, start)
