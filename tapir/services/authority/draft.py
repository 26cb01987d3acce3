"""What the zone is to become, and how that differs from what it is; pure.

The evaluator's stream goes into the draft as it comes, whether or not it may be published now. So what it says is held
against the draft, a hold or a brake loses nothing, and all that came during one commit is the next version.
"""

from collections.abc import Iterable

import attrs

from tapir.model.actions import Action
from tapir.model.blocks import NameBlock, RecordBlock, RecordDelta
from tapir.model.names import Name
from tapir.zone.difference import difference
from tapir.zone.errors import ZoneError
from tapir.zone.serial import next_serial
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion

_SHIFT = 8


@attrs.frozen(kw_only=True)
class ChangeSize:
    """How much a difference changes: a name whose action changes is removed and added, but one name."""

    names: int
    removed: int
    added: int


class Draft:
    """The desired content, with its net difference from `base`, the published version (None: there is none yet).

    One task or worker at a time. The serial of `version` is provisional until `publish` sets it.
    """

    def __init__(self, settings: ZoneSettings, base: ZoneVersion | None) -> None:
        self._settings = settings
        self._base = base
        self._version = base
        # Both actions in one small number, before above after: no object a name beside the name itself.
        self._net: dict[Name, int] = {}
        self._removed = 0
        self._added = 0

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
        return ChangeSize(names=len(self._net), removed=self._removed, added=self._added)

    @property
    def differs(self) -> bool:
        """Whether there is anything to publish; a first version counts, also when it is empty."""
        return self._version is not None and (self._base is None or bool(self._net))

    def replace(self, content: RecordBlock) -> None:
        """The zone is to hold exactly `content`. Raises ZoneError, and nothing has changed."""
        if self._version is None:
            self._version = ZoneVersion.build(self._settings, 1, content)
            return
        self.change(difference(self._version, content))

    def change(self, delta: RecordDelta) -> None:
        """The desired content changes by `delta`. Raises ZoneError, and nothing has changed, if it does not fit."""
        if self._version is None:
            raise ZoneError("there is nothing yet that could change")
        if len(delta) == 0:
            return
        self._version = self._version.successor(delta, next_serial(self._version.serial))
        if self._base is not None:
            # The successor has checked `delta` against the desired content, so here every step fits.
            for name, action in _pairs(delta.removed):
                self._note(name, before=action, after=Action.NONE)
            for name, action in _pairs(delta.added):
                self._note(name, before=Action.NONE, after=action)

    def follow(self, contents: Iterable[RecordBlock | RecordDelta]) -> str:
        """Replace and change, one after the other; returns what did not fit, unless a later whole content mends it."""
        problem = ""
        for content in contents:
            try:
                if isinstance(content, RecordBlock):
                    self.replace(content)
                    problem = ""
                elif not problem:
                    self.change(content)
            except ZoneError as exc:
                problem = str(exc)
        return problem

    def delta(self) -> RecordDelta:
        """The net difference from the published version to the desired content, the least there is."""
        return RecordDelta(
            removed=_block((name, code >> _SHIFT) for name, code in self._net.items() if code >> _SHIFT),
            added=_block((name, code & 0xFF) for name, code in self._net.items() if code & 0xFF),
        )

    def titled(self, serial: int) -> ZoneVersion:
        """The desired content under `serial`. Raises ZoneError when there is none."""
        if self._version is None:
            raise ZoneError("there is nothing yet to publish")
        return retitle(self._version, serial)

    def publish(self, version: ZoneVersion) -> None:
        """`version`, which `titled` made, is published: nothing differs any more."""
        self._base = version
        self._version = version
        self._net = {}
        self._removed = self._added = 0

    def rebase(self, version: ZoneVersion) -> None:
        """What is published has another serial now, and the same content: what is desired stays."""
        self._base = version
        if not self._net:
            self._version = version

    def move_base(self, version: ZoneVersion, change: RecordDelta) -> None:
        """What is published has changed by `change` and is `version` now: what is desired stays."""
        self._base = version
        for name, action in _pairs(change.removed):
            self._shift(name, before=action, after=Action.NONE)
        for name, action in _pairs(change.added):
            self._shift(name, before=Action.NONE, after=action)
        if not self._net:
            self._version = version

    def _shift(self, name: Name, *, before: int, after: int) -> None:
        """`name` was published as `before`, and is as `after` now."""
        code = self._net.get(name)
        desired = before if code is None else code & 0xFF
        if code is not None:
            self._removed -= bool(code >> _SHIFT)
            self._added -= bool(desired)
        if after == desired:
            self._net.pop(name, None)
            return
        self._net[name] = after << _SHIFT | desired
        self._removed += bool(after)
        self._added += bool(desired)

    def _note(self, name: Name, *, before: int, after: int) -> None:
        code = self._net.get(name)
        if code is None:
            original = before
        else:
            original = code >> _SHIFT
            self._removed -= bool(original)
            self._added -= bool(code & 0xFF)
        if original == after:
            self._net.pop(name, None)
            return
        self._net[name] = original << _SHIFT | after
        self._removed += bool(original)
        self._added += bool(after)


def retitle(version: ZoneVersion, serial: int) -> ZoneVersion:
    """The content of `version` under `serial`."""
    return version if version.serial == serial else version.successor(RecordDelta(), serial)


def _pairs(records: RecordBlock) -> Iterable[tuple[Name, int]]:
    return zip(records.names, records.actions, strict=True)


def _block(records: Iterable[tuple[Name, int]]) -> RecordBlock:
    collected = list(records)
    return RecordBlock(
        names=NameBlock.of(name for name, _ in collected), actions=bytes([action for _, action in collected])
    )
