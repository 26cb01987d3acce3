"""Client and server addresses as columns: 16 octets and a size for each, whatever a frame said."""

import attrs
import numpy as np
from numpy.typing import NDArray

import tapir.kernels.murmur
import tapir.kernels.prefixes
from tapir.codec.columns import Buffer

Octets = NDArray[np.uint8]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class AddressColumn:
    """Addresses, one a row.

    `octets` is n x 16, contiguous, zeroes behind an address of 4; `sizes` is how many octets each has: 0 where there is
    none, 4, 16, or what else a frame said, 255 for more than 16. Its `repr` shows no address.
    """

    octets: Octets
    sizes: Octets

    @classmethod
    def gathered(
        cls, data: Buffer, starts: NDArray[np.uint32], lengths: NDArray[np.unsignedinteger]
    ) -> "AddressColumn":
        """The addresses that lie in `data`; raises IndexError where one does not."""
        octets = np.empty((len(starts), 16), np.uint8)
        sizes = np.empty(len(starts), np.uint8)
        tapir.kernels.prefixes.gather(
            data,
            np.ascontiguousarray(starts, np.uint32).data,
            np.ascontiguousarray(lengths, np.uint32).data,
            octets.reshape(-1).data,
            sizes.data,
        )
        return cls(octets=octets, sizes=sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def __repr__(self) -> str:
        return f"<AddressColumn of {len(self)}>"

    def taken(self, rows: NDArray[np.integer]) -> "AddressColumn":
        """These rows."""
        return AddressColumn(octets=self.octets[rows], sizes=self.sizes[rows])

    def clients(self) -> tuple[NDArray[np.uint64], Octets]:
        """What each counts as in a sketch: its hash, and its family: 4, 6, or 0 for what is no address.

        What is IPv4 mapped into IPv6 counts as IPv4, but not as the same client as the address that it maps.
        """
        hashes = np.empty(len(self), np.uint64)
        families = np.empty(len(self), np.uint8)
        tapir.kernels.murmur.clients(self.octets.reshape(-1).data, self.sizes.data, hashes.data, families.data)
        return hashes, families
