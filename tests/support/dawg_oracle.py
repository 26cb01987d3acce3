"""The check as it was in Python: the oracle of the one that is compiled.

What passes is what the format's writers would write, but for one thing: two nodes may say the same, where a writer
would have merged them, since to notice that takes more memory than all of the rest and harms no look-up.
"""

from array import array
from bisect import bisect_left
from typing import Final

from tapir.codec.dawg.layout import MAX_LENGTH, Bits, DawgError, DawgHeader, Node, read_header, settle_abits

_SURROGATES: Final = range(0xD800, 0xE000)
_LAST: Final = 0x10FFFF
_UNSAID: Final = 0xFF
_NEW, _OPEN, _DONE = range(3)


class _Graph:
    """The nodes of a file as numbers, in the order of their records; the edges of node n are first[n]:first[n + 1]."""

    def __init__(self) -> None:
        self.starts = array("Q")
        self.finals = bytearray()
        self.nskips = bytearray()
        self.first = array("I", (0,))
        self.skips = array("I")
        self.targets = array("Q")


def check_nodes(bits: Bits, header: DawgHeader) -> None:
    """Look at all that is behind the header. Raises DawgError."""
    graph = _read_nodes(bits, header)
    known = len(graph.starts)
    for edge, address in enumerate(graph.targets):
        node = bisect_left(graph.starts, address)
        if node == known or graph.starts[node] != address:
            raise DawgError("an edge leads to where no node begins", bit=address)
        graph.targets[edge] = node
    _walk(graph, header)


def _read_nodes(bits: Bits, header: DawgHeader) -> _Graph:
    """All records, one behind the other up to the end; targets are bits still."""
    graph = _Graph()
    position = header.root
    highest = addresses = 0
    for _ in range(header.nodes):
        node = Node(bits, header, position)
        if node.end > bits.length:
            raise DawgError("it ends in the middle of a node", bit=position)
        if node.edges == 1 and node.counted:
            raise DawgError("a node counts its only edge", bit=position)
        last = -1
        for number in range(node.edges):
            character = node.character(number)
            if character <= last:
                raise DawgError("a node's edges are not in order", bit=position)
            if character in _SURROGATES or character > _LAST:
                raise DawgError(f"{character:#x} is no character", bit=position)
            last = character
            skip, target = node.follow(number)
            graph.skips.append(skip)
            graph.targets.append(target)
        if node.edges == 1 and node.abits and graph.targets[-1] == node.end:
            raise DawgError("an edge that needs no address has one", bit=position)
        highest = max(highest, last)
        addresses += node.edges if node.abits else 0
        graph.starts.append(position)
        graph.finals.append(node.final)
        graph.nskips.append(node.nskip if node.counted else _UNSAID)
        graph.first.append(len(graph.targets))
        position = node.end
    if bits.length - position > 7 or bits.take(position, bits.length - position):
        raise DawgError("there is more behind the last node", bit=position)
    if header.cbits != highest.bit_length():
        raise DawgError(f"{header.cbits} bits of a character are not what the highest takes: {highest.bit_length()}")
    if header.abits != settle_abits(position - addresses * header.abits, addresses):
        raise DawgError(f"{header.abits} bits of an address are not what the last takes")
    return graph


def _walk(graph: _Graph, header: DawgHeader) -> None:
    """Follow each edge once, depth first: nodes come in this order, none is behind itself, and counts are right."""
    first, targets = graph.first, graph.targets
    nodes = len(graph.starts)
    words = array("Q", bytes(8 * nodes))
    prefixes = array("Q", bytes(8 * nodes))
    following = array("I", first[:nodes])
    state = bytearray(nodes)
    state[0] = _OPEN
    seen = 1
    path = [0]
    while path:
        node = path[-1]
        edge = following[node]
        if edge < first[node + 1]:
            following[node] += 1
            target = targets[edge]
            if state[target] == _OPEN:
                raise DawgError("words have no end: a node is behind itself", bit=graph.starts[target])
            if state[target] == _NEW:
                if target != seen:
                    raise DawgError("the nodes are not in order", bit=graph.starts[target])
                if len(path) > MAX_LENGTH:
                    raise DawgError(f"a word is longer than {MAX_LENGTH} characters", bit=graph.starts[target])
                seen += 1
                state[target] = _OPEN
                path.append(target)
            continue
        path.pop()
        state[node] = _DONE
        words[node], prefixes[node] = _count(graph, header, node, words, prefixes)
    if seen != nodes:
        raise DawgError("no word leads to a node", bit=graph.starts[seen])
    if (words[0], prefixes[0]) != (header.words, header.edges):
        found = f"{words[0]} words with {prefixes[0]} prefixes"
        raise DawgError(f"it says that it has {header.words} words with {header.edges} prefixes, and has {found}")


def _count(
    graph: _Graph, header: DawgHeader, node: int, words: "array[int]", prefixes: "array[int]"
) -> tuple[int, int]:
    """How many words and prefixes `node` leads to, whose targets are counted; it must say the same."""
    start = graph.starts[node]
    count = graph.finals[node]
    below = 0
    for edge in range(graph.first[node], graph.first[node + 1]):
        if graph.skips[edge] != count:
            raise DawgError("an edge does not skip as many words as come before it", bit=start)
        target = graph.targets[edge]
        count += words[target]
        below += 1 + prefixes[target]
        if count > header.words or below > header.edges:
            # Said before numbers get out of hand: they can double with every node.
            raise DawgError("there are more words or prefixes than the header says", bit=start)
    if count == 0 and node:
        raise DawgError("a node leads to no word", bit=start)
    if graph.nskips[node] not in (_UNSAID, count.bit_length()):
        raise DawgError("a node's skips are not as wide as its words need", bit=start)
    return count, below


def check(data: bytes) -> None:
    """Raises DawgError unless `data` is a DAWG."""
    bits = Bits(data)
    check_nodes(bits, read_header(bits))
