"""DAWG files: a sorted set of words as a minimal automaton, packed bit by bit (github.com/smhanov/dawg).

    header   u(32) size in octets | u(8) cbits | u(8) abits | words | nodes | edges (7codes)
    node     final fallthrough=1 character(cbits)                          one edge, to the node right behind
             final 0 single=1    character address(abits)                  one edge, to the node at that bit
             final 0 0 E nskip   E times: character skip(nskip) address    none or several; the first has no skip

A character is a Unicode code point, an address a bit's offset from the beginning of the file, a skip the number of
words that come before those behind an edge. A 7code is big-endian groups of seven bits, an octet each, the top bit set
on all but the last. `edges` counts the distinct prefixes of the words; 0 makes every look-up fail elsewhere. Bits are
numbered from the most significant one. Nothing in the file says that it is a DAWG, and nothing protects what it says,
so `parse_dawg` looks at every bit of it once; from then on look-ups decode it where it lies.

The format has no room for a choice: one set of words is one sequence of octets (`encode_dawg`).
"""

from tapir.codec.dawg.layout import MAX_COUNT, DawgError, DawgHeader
from tapir.codec.dawg.names import NameWalk, join_names
from tapir.codec.dawg.reading import Dawg, parse_dawg
from tapir.codec.dawg.writing import encode_dawg

__all__ = ["MAX_COUNT", "Dawg", "DawgError", "DawgHeader", "NameWalk", "encode_dawg", "join_names", "parse_dawg"]
