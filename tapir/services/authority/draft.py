"""What the zone is to become, and how that differs from what it is; pure.

The evaluator's stream goes into the draft as it comes, whether or not it may be published now. So what it says is held
against the draft, a hold or a brake loses nothing, and all that came during one commit is the next version.
"""

from collections.abc import Iterable

import attrs
import numpy as np

from tapir.codec.columns import NO_CHANGES, Changes
from tapir.codec.passed import between
from tapir.model.blocks import NOTHING_PASSED, PassedDelta, RecordBlock, RecordDelta
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
    def of_delta(cls, delta: RecordDelta) -> "ChangeSize":
        """The size of `delta`. Raises ZoneError where it says something twice."""
        return cls.of(changes_of(delta), delta.passed)

    @classmethod
    def of(cls, changes: Changes, passed: PassedDelta = NOTHING_PASSED) -> "ChangeSize":
        """The size of `changes`, and of what becomes of records that are passed through."""
        before = np.frombuffer(changes.before, dtype=np.uint8)
        after = np.frombuffer(changes.after, dtype=np.uint8)
        changed = before != after
        return cls(
            names=int(changed.sum()) + len(passed),
            removed=int((changed & (before != 0)).sum()) + len(passed.removed),
            added=int((changed & (after != 0)).sum()) + len(passed.added),
        )


@attrs.frozen(kw_only=True, eq=False)
class Content:
    """All that the zone is to hold: rules, and what is passed through."""

    records: RecordBlock
    passed: tuple[bytes, ...] = ()


class Draft:
    """The desired content, with its net difference from `base`, the published version (None: there is none yet).

    One task or worker at a time. The serial of `version` is provisional until `publish` sets it.
    """

    def __init__(self, settings: ZoneSettings, base: ZoneVersion | None) -> None:
        self._settings = settings
        self._base = base
        self._version = base
        self._net: Changes | None = NO_CHANGES
        self._passed = NOTHING_PASSED
        """with `_net`, the difference of what is passed through"""
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

    def replace(self, content: RecordBlock, passed: tuple[bytes, ...] = ()) -> None:
        """The zone is to hold exactly `content` and what is `passed`. Raises ZoneError, and nothing has changed."""
        self._replace(Content(records=content, passed=passed))
        self._measure()

    def change(self, delta: RecordDelta) -> None:
        """The desired content changes by `delta`. Raises ZoneError, and nothing has changed, if it does not fit."""
        self._change(delta)
        self._measure()

    def follow(self, contents: Iterable[Content | RecordDelta]) -> str:
        """Replace and change, one after the other; returns what did not fit, unless a later whole content mends it."""
        problem = ""
        for content in contents:
            try:
                if isinstance(content, Content):
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
        if self._net is None:
            return RecordDelta()
        rules = self._net.delta()
        return RecordDelta(removed=rules.removed, added=rules.added, passed=self._passed)

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

    def _replace(self, content: Content) -> None:
        if self._version is None:
            self._version = ZoneVersion.build(self._settings, 1, content.records, passed=content.passed)
            return
        rules = difference(self._version, content.records)
        passed = between(self._version.passed.records, content.passed)
        self._change(RecordDelta(removed=rules.removed, added=rules.added, passed=passed))

    def _change(self, delta: RecordDelta) -> None:
        if self._version is None:
            raise ZoneError("there is nothing yet that could change")
        if len(delta) == 0:
            return
        from_base = self._version is self._base
        changes = changes_of(delta)
        self._version = self._version.successor(changes, next_serial(self._version.serial), passed=delta.passed)
        self._net = changes if from_base else None
        self._passed = delta.passed

    def _measure(self) -> None:
        """Find out how far the desired content is from what is published: here, in a worker, and not when asked."""
        if self._base is None or self._version is None:
            self._know(NO_CHANGES)
        elif self._net is None:
            delta = self._version.difference_from(self._base)
            self._know(changes_of(delta), delta.passed)
        else:
            self._know(self._net, self._passed)

    def _know(self, net: Changes, passed: PassedDelta = NOTHING_PASSED) -> None:
        self._net = net
        self._passed = passed
        self._size = ChangeSize.of(net, passed)


def retitle(version: ZoneVersion, serial: int) -> ZoneVersion:
    """The content of `version` under `serial`."""
    return version if version.serial == serial else version.successor(RecordDelta(), serial)
