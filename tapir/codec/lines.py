"""The lines of a file that comes in blocks of any size, of which a kernel may take most at once."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

_PART: Final = 1 << 16
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Skip = Callable[[bytes, int, int], tuple[int, int]]
"""Takes lines of a chunk from a position and a line number on; where it stopped, and at which line."""


class Lines:
    """Iterates over the lines with their numbers from 1; None is one of more than `longest` octets, which is not held.

    Lines end in LF, which is taken off, a CR before it is not; a UTF-8 byte order mark at the very beginning is.
    `skip` takes what it can before each line that the iterator gives, but not before those of `following`.
    """

    def __init__(self, data: bytes | Iterable[bytes], *, longest: int, skip: Skip | None = None) -> None:
        self.skip = skip
        self._chunks = _chunks((data,) if isinstance(data, bytes) else data, longest)
        self._longest = longest
        self._chunk: bytes | None = b""
        self._position = 0
        self._number = 1

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> tuple[int, bytes | None]:
        while (chunk := self._chunk) is not None:
            if self._position < len(chunk):
                if self.skip is None:
                    break
                self._position, self._number = self.skip(chunk, self._position, self._number)
                if self._position < len(chunk):
                    break
            self._chunk, self._position = next(self._chunks), 0
        return self._take()

    def following(self) -> tuple[int, bytes | None] | None:
        """The very next line; None at the end."""
        while self._chunk is not None and self._position == len(self._chunk):
            try:
                self._chunk, self._position = next(self._chunks), 0
            except StopIteration:
                return None
        return self._take()

    def _take(self) -> tuple[int, bytes | None]:
        number, chunk, start = self._number, self._chunk, self._position
        self._number = number + 1
        if chunk is None:
            self._chunk, self._position = b"", 0
            return number, None
        end = chunk.index(b"\n", start)
        self._position = end + 1
        return number, chunk[start:end] if end - start <= self._longest else None


def largest_chunk(longest: int) -> int:
    """Octets of the lines that are looked at together, with lines of up to `longest` octets among them."""
    return _PART + longest + 1


def _chunks(blocks: Iterable[bytes], longest: int) -> Iterator[bytes | None]:
    """Whole lines, each with an LF, of at most `largest_chunk`; None for a line that is too long."""
    rest = b""
    too_long = False
    marked = True
    for part in _parts(blocks):
        start, end = 0, part.rfind(b"\n") + 1
        if end and too_long:
            yield None
            start = part.index(b"\n") + 1
            too_long = marked = False
        chunk = rest + part[start:end] if end else b""
        rest = part[end:] if end else rest + part
        if chunk:
            yield chunk.removeprefix(_BYTE_ORDER_MARK) if marked else chunk
            marked = False
        if len(rest) > longest + (len(_BYTE_ORDER_MARK) if marked and rest.startswith(_BYTE_ORDER_MARK) else 0):
            too_long = True
        if too_long:
            rest = b""
    if too_long:
        yield None
    elif rest:
        yield (rest.removeprefix(_BYTE_ORDER_MARK) if marked else rest) + b"\n"


def _parts(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """`blocks` in parts that one call may look through without keeping other threads waiting."""
    for block in blocks:
        if len(block) <= _PART:
            yield block
        else:
            for start in range(0, len(block), _PART):
                yield block[start : start + _PART]
