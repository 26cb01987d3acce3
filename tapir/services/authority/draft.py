"""What the zone is to become, and how that differs from what it is; pure.

The evaluator's stream goes into the draft as it comes, whether or not it may be published now. So what it says is held
against the draft, a hold or a brake loses nothing, and all that came during one commit is the next version.
"""

from collections.abc import Iterable

import attrs
import numpy as np

from tapir.codec.columns import NO_CHANGES, Changes
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.zone.difference import changes_of, difference
from tapir.zone.errors import ZoneError
from tapir.zone.serial import next_serial
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion


@attrs.frozen(kw_only=True)
class ChangeSize:
    """How much a difference changes: a name whose action changes is removed and added, but one name."""

    names: int
    removed: int
    added: int

    @classmethod
    def of(cls, changes: Changes) -> "ChangeSize":
        """The size of `changes`."""
        before = np.frombuffer(changes.before, dtype=np.uint8)
        after = np.frombuffer(changes.after, dtype=np.uint8)
        changed = before != after
        return cls(
            names=int(changed.sum()),
            removed=int((changed & (before != 0)).sum()),
            added=int((changed & (after != 0)).sum()),
        )


class Draft:
    """The desired content, with its net difference from `base`, the published version (None: there is none yet).

    One task or worker at a time. The serial of `version` is provisional until `publish` sets it.
    """

    def __init__(self, settings: ZoneSettings, base: ZoneVersion | None) -> None:
        self._settings = settings
        self._base = base
        self._version = base
        self._net: Changes | None = NO_CHANGES
        self._size = ChangeSize.of(NO_CHANGES)

    @property
    def version(self) -> ZoneVersion | None:
        """The desired content; None until something is desired."""
        return self._version

    @property
    def size(self) -> ChangeSize:
        """How far the desired content is from what is published."""
        if self._base is None:
            records = len(self._version) if self._version is not None else 0
            return ChangeSize(names=records, removed=0, added=records)
        return self._size

    @property
    def differs(self) -> bool:
        """Whether there is anything to publish; a first version counts, also when it is empty."""
        return self._version is not None and (self._base is None or self._size.names > 0)

    def replace(self, content: RecordBlock) -> None:
        """The zone is to hold exactly `content`. Raises ZoneError, and nothing has changed."""
        self._replace(content)
        self._measure()

    def change(self, delta: RecordDelta) -> None:
        """The desired content changes by `delta`. Raises ZoneError, and nothing has changed, if it does not fit."""
        self._change(delta)
        self._measure()

    def follow(self, contents: Iterable[RecordBlock | RecordDelta]) -> str:
        """Replace and change, one after the other; returns what did not fit, unless a later whole content mends it."""
        problem = ""
        for content in contents:
            try:
                if isinstance(content, RecordBlock):
                    self._replace(content)
                    problem = ""
                elif not problem:
                    self._change(content)
            except ZoneError as exc:
                problem = str(exc)
        self._measure()
        return problem

    def delta(self) -> RecordDelta:
        """The net difference from the published version to the desired content, the least there is."""
        return self._net.delta() if self._net is not None else RecordDelta()

    def titled(self, serial: int) -> ZoneVersion:
        """The desired content under `serial`. Raises ZoneError when there is none."""
        if self._version is None:
            raise ZoneError("there is nothing yet to publish")
        return retitle(self._version, serial)

    def publish(self, version: ZoneVersion) -> None:
        """`version`, which `titled` made, is published: nothing differs any more."""
        self._base = version
        self._version = version
        self._know(NO_CHANGES)

    def rebase(self, version: ZoneVersion) -> None:
        """What is published has another serial now, and the same content: what is desired stays."""
        self._base = version
        if not self._size.names:
            self._version = version

    def move_base(self, version: ZoneVersion) -> None:
        """What is published has become `version` by itself: what is desired stays."""
        self._base = version
        self._net = None
        self._measure()
        if not self._size.names:
            self._version = version

    def _replace(self, content: RecordBlock) -> None:
        if self._version is None:
            self._version = ZoneVersion.build(self._settings, 1, content)
            return
        self._change(difference(self._version, content))

    def _change(self, delta: RecordDelta) -> None:
        if self._version is None:
            raise ZoneError("there is nothing yet that could change")
        if len(delta) == 0:
            return
        changes = changes_of(delta)
        from_base = self._version is self._base
        self._version = self._version.successor(changes, next_serial(self._version.serial))
        self._net = changes if from_base else None

    def _measure(self) -> None:
        """Find out how far the desired content is from what is published: here, in a worker, and not when asked."""
        if self._base is None or self._version is None:
            self._know(NO_CHANGES)
        elif self._net is None:
            self._know(changes_of(self._version.difference_from(self._base)))
        else:
            self._know(self._net)

    def _know(self, net: Changes) -> None:
        self._net = net
        self._size = ChangeSize.of(net)


def retitle(version: ZoneVersion, serial: int) -> ZoneVersion:
    """The content of `version` under `serial`."""
    return version if version.serial == serial else version.successor(RecordDelta(), serial)
