"""Makes a DAWG of sorted words: the one sequence of octets that stands for them.

Words are added in order, so all but the path of the latest is final; what leaves that path is merged with its like
at once (Daciuk et al. 2000). A node is a flat tuple, (final, character, target, character, target, ...), and its
number is its place in the registry: targets come before the nodes that lead to them.
"""

from collections.abc import Iterable

from tapir.codec.dawg.layout import HEADER, MAX_COUNT, MAX_LENGTH, MAX_SIZE, DawgError, count_octets, settle_abits

_FLUSH = 1 << 14


def encode_dawg(words: Iterable[str]) -> bytes:
    """The DAWG of `words`, which must be in order of code points, each once.

    Raises DawgError when they are not, when one is no Unicode text or is longer
    than MAX_LENGTH, or when there are more than the format can count.
    """
    nodes, count, prefixes = _minimise(words)
    return _Layout(nodes, count, prefixes).encode()


def _minimise(words: Iterable[str]) -> tuple[list[tuple[int, ...]], int, int]:
    """The nodes, the root last; how many words there are, and how many distinct prefixes they have."""
    registry: dict[tuple[int, ...], int] = {}
    path: list[list[int]] = [[0]]  # the nodes of the latest word, the root first
    latest = ""
    count = prefixes = 0
    for word in words:
        if count and word <= latest:
            raise DawgError(f"{word!r} stands behind {latest!r}: words must be in order, and each once")
        if not _is_text(word):
            raise DawgError(f"{word!r} is no Unicode text")
        if len(word) > MAX_LENGTH:
            raise DawgError(f"a word is longer than {MAX_LENGTH} characters")
        common = _common(latest, word)
        _register(registry, path, common)
        for character in word[common:]:
            path[-1].append(ord(character))
            path.append([0])
        path[-1][0] = 1
        prefixes += len(word) - common
        count += 1
        latest = word
    _register(registry, path, 0)
    return [*registry, tuple(path[0])], count, prefixes


def _register(registry: dict[tuple[int, ...], int], path: list[list[int]], depth: int) -> None:
    """Take the nodes below `depth` off the path, deepest first; each becomes its parent's last target."""
    while len(path) > depth + 1:
        node = tuple(path.pop())
        path[-1].append(registry.setdefault(node, len(registry)))


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    length = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        length += 1
    return length


def _is_text(word: str) -> bool:
    if word.isascii():
        return True
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Layout:
    """The nodes in the order and at the places where the file has them."""

    def __init__(self, nodes: list[tuple[int, ...]], count: int, prefixes: int) -> None:
        self._nodes = nodes
        self._words = count
        self._prefixes = prefixes
        self._counts = [0] * len(nodes)
        for number, node in enumerate(nodes):
            self._counts[number] = node[0] + sum(self._counts[target] for target in node[2::2])
        self._order = self._in_order()
        self._places = [0] * len(nodes)
        for place, number in enumerate(self._order):
            self._places[number] = place

    def _in_order(self) -> list[int]:
        """Depth first from the root, each node where it is met first."""
        order: list[int] = []
        met = bytearray(len(self._nodes))
        stack = [len(self._nodes) - 1]
        while stack:
            number = stack.pop()
            if not met[number]:
                met[number] = 1
                order.append(number)
                stack.extend(self._nodes[number][:1:-2])
        return order

    def encode(self) -> bytes:
        """The whole file."""
        fanout = max(len(node) // 2 for node in self._nodes)
        for what, value in (
            ("words", self._words),
            ("nodes", len(self._nodes)),
            ("prefixes", self._prefixes),
            ("edges of a node", fanout),
        ):
            if value > MAX_COUNT:
                raise DawgError(f"{value} {what} are more than the format can count ({MAX_COUNT})")
        counts = b"".join(map(count_octets, (self._words, len(self._nodes), self._prefixes)))
        root = HEADER + 8 * len(counts)
        cbits = max((character for node in self._nodes for character in node[1::2]), default=0).bit_length()
        nskip_width = self._words.bit_length().bit_length()
        # Lengths without addresses, and how many of these there are: what remains to be found is how wide they are.
        lengths: list[int] = []
        addresses: list[int] = []
        for place, number in enumerate(self._order):
            length, stored = self._measure(place, number, cbits, nskip_width)
            lengths.append(length)
            addresses.append(stored)
        abits = settle_abits(root + sum(lengths), sum(addresses))
        starts = [0] * len(self._nodes)
        position = root
        for number, length, stored in zip(self._order, lengths, addresses, strict=True):
            starts[number] = position
            position += length + stored * abits
        size = (position + 7) // 8
        if size > MAX_SIZE:
            raise DawgError(f"{size} octets are more than the format can hold ({MAX_SIZE})")
        out = _BitWriter()
        out.put(size, 32)
        out.put(cbits, 8)
        out.put(abits, 8)
        out.put(int.from_bytes(counts, "big"), 8 * len(counts))
        for place, number in enumerate(self._order):
            self._write(out, place, number, cbits, abits, nskip_width, starts)
        return out.finish()

    def _measure(self, place: int, number: int, cbits: int, nskip_width: int) -> tuple[int, int]:
        """How many bits the record has without its addresses, and how many addresses."""
        node = self._nodes[number]
        edges = len(node) // 2
        if edges == 1:
            return (2 + cbits, 0) if self._places[node[2]] == place + 1 else (3 + cbits, 1)
        skips = (edges - 1) * self._counts[number].bit_length() if edges else 0
        return 3 + 8 * len(count_octets(edges)) + nskip_width + edges * cbits + skips, edges

    def _write(
        self, out: "_BitWriter", place: int, number: int, cbits: int, abits: int, nskip_width: int, starts: list[int]
    ) -> None:
        node = self._nodes[number]
        final = node[0]
        edges = len(node) // 2
        if edges == 1:
            if self._places[node[2]] == place + 1:
                out.put((final << 1 | 1) << cbits | node[1], 2 + cbits)
            else:
                out.put(((final << 2 | 1) << cbits | node[1]) << abits | starts[node[2]], 3 + cbits + abits)
            return
        octets = count_octets(edges)
        nskip = self._counts[number].bit_length()
        out.put(final << 2, 3)
        out.put(int.from_bytes(octets, "big"), 8 * len(octets))
        out.put(nskip, nskip_width)
        skip = final
        for edge in range(edges):
            character, target = node[1 + 2 * edge], node[2 + 2 * edge]
            out.put(character, cbits)
            if edge:
                out.put(skip, nskip)
            out.put(starts[target], abits)
            skip += self._counts[target]


class _BitWriter:
    """Collects bits, most significant first."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._value = 0
        self._width = 0

    def put(self, value: int, width: int) -> None:
        self._value = self._value << width | value
        self._width += width
        if self._width >= _FLUSH:
            left = self._width % 8
            self._octets += (self._value >> left).to_bytes(self._width // 8, "big")
            self._value &= (1 << left) - 1
            self._width = left

    def finish(self) -> bytes:
        """All of it, with as many zero bits behind it as fill the last octet."""
        self.put(0, -self._width % 8)
        return bytes(self._octets) + self._value.to_bytes(self._width // 8, "big")
