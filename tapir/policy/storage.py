"""Memory for columns that grow: in place, so that growing costs neither a copy nor the memory of one.

What was never written to costs no memory, so there may be more of it than is needed.
"""

import mmap
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)

_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Store(Generic[T]):
    """An array, zero where nothing was written, that can be resized while nobody looks at it."""

    def __init__(self, dtype: type[T], size: int = 1) -> None:
        self._dtype = np.dtype(dtype)
        self._map = mmap.mmap(-1, self._octets(size), flags=_PRIVATE)
        self._size = size

    def _octets(self, size: int) -> int:
        return -(-max(size, 1) * self._dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE

    def __len__(self) -> int:
        """How many items there is room for."""
        return self._size

    @property
    def view(self) -> npt.NDArray[T]:
        """The items; to be dropped before the next `resize`."""
        return np.frombuffer(self._map, self._dtype, self._size)

    def resize(self, size: int) -> None:
        """Have room for `size` items, those added being zero. Raises BufferError when somebody looks."""
        octets = self._octets(size)
        if size < self._size:
            # What is cut off within the last page must not come back.
            self.view[size : octets // self._dtype.itemsize] = 0
        if octets != len(self._map):
            self._map.resize(octets)
        self._size = size

    def grow(self, want: int) -> None:
        """Have room for `want` items at least, and for some more when there was none."""
        if want > self._size:
            self.resize(max(want, self._size + self._size // 4))


def lazy_zeros(size: int) -> npt.NDArray[np.uint8]:
    """Octets that cost nothing where nobody writes to them; NumPy's own zeros are written when there are few."""
    return Store(np.uint8, size).view


class SlotColumn(Generic[T]):
    """A value a slot, 0 where none was set; wildcards take memory only once one has a value."""

    def __init__(self, dtype: type[T]) -> None:
        self._dtype = dtype
        self._names: Store[T] = Store(dtype)
        self._stars: Store[T] | None = None

    def grow(self, extent: int) -> None:
        """Make room for the slots of `extent` nodes."""
        self._names.grow(extent)
        if self._stars is not None:
            self._stars.grow(extent)

    @property
    def names(self) -> npt.NDArray[T]:
        """The values of exact slots, by node; to be dropped before the next `grow`."""
        return self._names.view

    @property
    def stars(self) -> npt.NDArray[T] | None:
        """The values of star slots, by node, if any has one; to be dropped before the next `grow`."""
        return None if self._stars is None else self._stars.view

    def __getitem__(self, slots: npt.NDArray[np.int32]) -> npt.NDArray[T]:
        """The values of `slots`."""
        nodes = slots >> 1
        odd = (slots & 1) != 0
        if not odd.any():
            values: npt.NDArray[T] = self.names[nodes]
            return values
        stars = self.stars
        values = np.zeros(len(slots), self._dtype) if odd.all() else self.names[nodes]
        values[odd] = 0 if stars is None else stars[nodes[odd]]
        return values

    def at(self, slot: int) -> int:
        """The value of one slot."""
        column = self.stars if slot & 1 else self.names
        return 0 if column is None else int(column[slot >> 1])

    def __setitem__(self, slots: npt.NDArray[np.int32], values: npt.NDArray[T] | T) -> None:
        """Give `slots` these values, or all this one; of a slot that comes twice the last one stays."""
        odd = (slots & 1) != 0
        if not odd.any():
            self.names[slots >> 1] = values
            return
        if self._stars is None:
            self._stars = Store(self._dtype, len(self._names))
        if not isinstance(values, np.ndarray):
            values = np.full(len(slots), values, self._dtype)
        self._stars.view[slots[odd] >> 1] = values[odd]
        self.names[slots[~odd] >> 1] = values[~odd]

    def octets(self, extent: int) -> int:
        """How much memory the slots of `extent` nodes may take; of star slots, those never set take none."""
        return extent * np.dtype(self._dtype).itemsize * (1 if self._stars is None else 2)

    def drop_stars(self) -> None:
        """Give the memory of star slots back: all of them are 0."""
        self._stars = None
