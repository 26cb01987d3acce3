"""Addresses replaced by their pseudonyms, a block at a time, with a cache that is bounded in octets."""

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

import tapir.kernels.prefixes
from tapir.codec.cryptopan import CryptoPan
from tapir.kernels.pseudonyms import WAYS, Cache
from tapir.minimiser.addresses import AddressColumn

_ENTRY: Final = 33
"""octets that an entry takes, its mark included"""
_FIRST_SETS: Final = 512

SEED_SIZE: Final = 16


@attrs.frozen(kw_only=True)
class PseudonymStatistics:
    """What was done since the start; `entries` and `octets` are of now, `evicted` does not count a change of the key.

    `misses` are pseudonyms that were made: where anything is remembered, the second time in a block is a hit already.
    `invalid` counts what had neither 4 nor 16 octets, and came out as zeroes.
    """

    hits: int
    misses: int
    evicted: int
    invalid: int
    generation: int
    entries: int
    octets: int


@attrs.define(eq=False, repr=False)
class _Table:
    """A cache with its buffers."""

    entries: NDArray[np.uint64]
    marks: NDArray[np.uint8]
    cache: Cache

    @classmethod
    def of(cls, sets: int, seed: bytes) -> "_Table":
        entries = np.zeros(4 * WAYS * sets, np.uint64)
        marks = np.zeros(WAYS * sets, np.uint8)
        first, second = int.from_bytes(seed[:8]), int.from_bytes(seed[8:16])
        cache = Cache(first, second, entries.data, marks.data, np.zeros(sets, np.uint8).data)
        return cls(entries, marks, cache)


class Pseudonymiser:
    """Pseudonyms of one pipeline; belongs to its thread.

    The cache grows as addresses come, up to `octets` (half as much more while it grows), and then gives up those not
    asked for of late. An IPv4 address that is mapped into IPv6 is IPv4 here: its pseudonym has 4 octets.
    """

    def __init__(self, cryptopan: CryptoPan, *, octets: int, seed: bytes) -> None:
        """`octets` bounds the cache, 0 for none; `seed` is SEED_SIZE random octets, against chosen addresses."""
        self._cryptopan = cryptopan
        self._seed = seed
        self._limit = octets // (_ENTRY * WAYS + 1)
        self._table = self._emptied()
        self._hits = self._misses = self._evicted = self._invalid = self._generation = 0

    def __repr__(self) -> str:
        return f"<Pseudonymiser of generation {self._generation}>"

    def rotate(self, cryptopan: CryptoPan) -> None:
        """Use another key from the next block on; nothing of the old one is kept."""
        self._cryptopan = cryptopan
        self._evicted += self._table.cache.evicted if self._table else 0
        self._table = self._emptied()
        self._generation += 1

    def statistics(self) -> PseudonymStatistics:
        """How it went so far."""
        table = self._table
        return PseudonymStatistics(
            hits=self._hits,
            misses=self._misses,
            evicted=self._evicted + (table.cache.evicted if table else 0),
            invalid=self._invalid,
            generation=self._generation,
            entries=table.cache.used if table else 0,
            octets=len(table.marks) // WAYS * (_ENTRY * WAYS + 1) if table else 0,
        )

    def pseudonymise(self, addresses: AddressColumn) -> AddressColumn:
        """The pseudonyms of a block's addresses, of 4 or 16 octets each; no address is left empty.

        What has neither size keeps the one it has, and is zeroes.
        """
        count = len(addresses)
        keys = np.empty((count, 16), np.uint8)
        sizes = np.empty(count, np.uint8)
        self._invalid += tapir.kernels.prefixes.canonical(
            addresses.octets.reshape(-1).data, addresses.sizes.data, keys.reshape(-1).data, sizes.data
        )
        words = keys.view(np.uint64)
        out = np.zeros((count, 2), np.uint64)
        missing, numbers, fresh = (np.empty(count, np.uint32) for _ in range(3))
        table = self._table or _Table.of(1, self._seed)
        hits, misses, different = table.cache.look(
            words.reshape(-1).data,
            sizes.data,
            out.reshape(-1).data,
            missing.data,
            numbers.data,
            fresh.data,
            np.zeros(2 * count + 1, np.uint32).data,
        )
        # What comes again within a block is made once, and for the rest as good as remembered where anything is.
        made = different if self._table else misses
        self._hits += hits + misses - made
        self._misses += made
        if misses:
            rows = fresh[:different]
            new = self._made(keys[rows], sizes[rows] == 4).view(np.uint64)
            out[missing[:misses]] = new[numbers[:misses]]
            if self._table:
                self._enter(words[rows], new)
        octets = out.view(np.uint8)
        short = np.flatnonzero(sizes == 4)
        octets[short, :4] = octets[short, 12:]
        octets[short, 4:] = 0
        return AddressColumn(octets=octets, sizes=sizes)

    def _made(self, keys: NDArray[np.uint8], short: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """The pseudonyms of addresses in canonical form, in that form."""
        pseudonyms = keys.copy()
        pseudonyms[short, 12:] = self._cryptopan.transform(keys[short, 12:])
        pseudonyms[~short] = self._cryptopan.transform(keys[~short])
        return pseudonyms

    def _enter(self, words: NDArray[np.uint64], pseudonyms: NDArray[np.uint64]) -> None:
        """Keep them, in a larger table if this one is half full and may grow: beyond that, sets of eight run over."""
        table = self._table
        if table is None:
            return
        sets = len(table.marks) // WAYS
        wanted = sets
        while 2 * (table.cache.used + len(words)) > WAYS * wanted and wanted < self._limit:
            wanted = min(2 * wanted, self._limit)
        if wanted > sets:
            grown = _Table.of(wanted, self._seed)
            grown.cache.move(table.entries.data, table.marks.data)
            self._evicted += table.cache.evicted
            self._table = table = grown
        table.cache.enter(words.reshape(-1).data, pseudonyms.reshape(-1).data)

    def _emptied(self) -> _Table | None:
        return _Table.of(min(_FIRST_SETS, self._limit), self._seed) if self._limit else None
