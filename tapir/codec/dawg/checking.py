"""Is it a DAWG? Every bit of a file is looked at before any of it is used.

What passes is what the format's writers would write, but for one thing: two nodes may say the same, where a writer
would have merged them, since to notice that takes more memory than all of the rest and harms no look-up.
"""

from typing import Final

import numpy as np

from tapir.codec.dawg.layout import MAX_LENGTH, Bits, DawgError, DawgHeader
from tapir.kernels.dawg import Nodes

# By the codes of the kernel, from 1.
_REASONS: Final = (
    "it ends in the middle of a node",
    "a number is longer than it need be",
    "a node counts its only edge",
    "a node's edges are not in order",
    "{found:#x} is no character",
    "an edge that needs no address has one",
    "there is more behind the last node",
    "{cbits} bits of a character are not what the highest takes: {found}",
    "{abits} bits of an address are not what the last takes",
    "an edge leads to where no node begins",
    "words have no end: a node is behind itself",
    "the nodes are not in order",
    "an edge does not skip as many words as come before it",
    "there are more words or prefixes than the header says",
    "a node leads to no word",
    "a node's skips are not as wide as its words need",
    "no word leads to a node",
    "it says that it has {words} words with {edges} prefixes, and has {found} words with {also} prefixes",
    f"a word is longer than {MAX_LENGTH} characters",
)


def nodes_of(bits: Bits, header: DawgHeader) -> Nodes:
    """A reader of its own on the nodes of a file; one for each thread."""
    return Nodes(bits.data, header.root, header.cbits, header.abits, header.nskip_width)


def check_nodes(bits: Bits, header: DawgHeader) -> None:
    """Look at all that is behind the header; takes memory in proportion to the octets. Raises DawgError."""
    # No record is shorter than two bits, so what a header makes up reserves nothing beyond that.
    room = min(header.nodes, bits.length // 2 + 1)
    nodes = nodes_of(bits, header)
    code = nodes.check(
        header.nodes,
        header.words,
        header.edges,
        np.zeros(bits.length // 32 + 1, np.uint32).data,
        np.empty(bits.length // 32 + 1, np.uint32).data,
        np.empty(room, np.uint32).data,
        np.empty(room, np.uint32).data,
        np.zeros(room, np.uint8).data,
        np.empty(min(room, MAX_LENGTH + 1), np.int64).data,
        np.empty(min(room, MAX_LENGTH + 1), np.int64).data,
    )
    if code:
        bit, found, also = nodes.trouble()
        reason = _REASONS[code - 1].format(
            found=found, also=also, cbits=header.cbits, abits=header.abits, words=header.words, edges=header.edges
        )
        raise DawgError(reason, bit=None if bit < 0 else bit)
