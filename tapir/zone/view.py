"""What a server answers from: a version, and the way to it."""

from collections.abc import Iterator

import attrs

from tapir.model.blocks import RecordBlock
from tapir.zone.chunk import Packer
from tapir.zone.errors import ZoneError
from tapir.zone.journal import Journal
from tapir.zone.passed import bodies_of
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import Body, ZoneVersion

_REMEMBERED = 4


@attrs.frozen(eq=False, repr=False)
class Difference:
    """The net difference from `from_serial` to a version, as the records of an IXFR from SOA to SOA."""

    from_serial: int
    to_serial: int
    changes: int
    bodies: tuple[Body, ...]

    @property
    def octets(self) -> int:
        """How much wire the records take."""
        return sum(len(wire) for _, wire in self.bodies)

    def __repr__(self) -> str:
        return f"<Difference {self.from_serial}→{self.to_serial}, {self.changes} changes>"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ZoneView:
    """A committed version with the journal that leads to it. Raises ZoneError if it leads elsewhere."""

    version: ZoneVersion
    journal: Journal = Journal()
    _differences: dict[int, Difference] = attrs.field(factory=dict, init=False)
    """the last few, by serial: after a NOTIFY every secondary asks for the same one"""

    def __attrs_post_init__(self) -> None:
        if self.journal.steps and self.journal.to_serial != self.version.serial:
            raise ZoneError(f"a journal up to {self.journal.to_serial} does not lead to {self.version!r}")

    @property
    def serial(self) -> int:
        """The version's serial."""
        return self.version.serial

    @property
    def settings(self) -> ZoneSettings:
        """The version's settings."""
        return self.version.settings

    def difference_from(self, serial: int) -> Difference | None:
        """The difference that an IXFR from `serial` sends; None if the journal does not reach back to it.

        Making one costs its steps; the last few are remembered.
        """
        known = self._differences.get(serial)
        if known is not None:
            return known
        net = self.journal.net(serial)
        if net is None:
            return None
        encoding = self.version.encoding
        new = (1, encoding.soa(self.version.serial))
        bodies = (
            new,
            (1, encoding.soa(serial)),
            *_bodies(self.version, net.removed),
            *bodies_of(net.passed.removed),
            new,
            *_bodies(self.version, net.added),
            *bodies_of(net.passed.added),
            new,
        )
        difference = Difference(serial, self.version.serial, len(net), bodies)
        # Swapped, not changed: a worker thread may be at it too, and at worst one difference is made twice.
        kept = dict([*self._differences.items()][1 - _REMEMBERED :])
        object.__setattr__(self, "_differences", kept | {serial: difference})
        return difference

    def __repr__(self) -> str:
        return f"<ZoneView {self.version!r} {self.journal!r}>"


def _bodies(version: ZoneVersion, records: RecordBlock) -> Iterator[Body]:
    packer = Packer(version.encoding)
    packer.pack(records)
    packer.flush()
    return ((len(chunk), chunk.wire) for chunk in packer.chunks)
