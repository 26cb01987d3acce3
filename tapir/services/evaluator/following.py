"""Following a stream of changes with a base that is asked for, and noticing when a part of it is missing (pure)."""

import enum

import attrs

from tapir.model.messages.lists import StreamPosition


class Step(enum.Enum):
    """What to do with a change that was heard."""

    APPLY = "apply"
    DROP = "drop"
    """it is in our base already"""
    ASK = "ask"
    """our base is not the one that it changes"""


@attrs.frozen(kw_only=True)
class Following:
    """Where a follower stands: `base` is what it has, `heard` the newest position it heard of since it asked for one.

    The answer to an ask and the changes told meanwhile take different ways, so a change may overtake the base that it
    changes.
    """

    base: StreamPosition | None = None
    heard: StreamPosition | None = None

    def hear(self, position: StreamPosition) -> tuple["Following", Step]:
        """Where the follower stands after it heard of a change to `position`, and what to do with the change."""
        if position.follows(self.base):
            return Following(base=position), Step.APPLY
        if self.base is not None and self.base.epoch == position.epoch and position.sequence <= self.base.sequence:
            return self, Step.DROP
        return Following(heard=position), Step.ASK

    def ask(self) -> "Following":
        """The follower asks for a base from now on; what it heard before will be in it."""
        return Following()

    def arrive(self, position: StreamPosition) -> tuple["Following", bool]:
        """The base as of `position` arrived; true when a change overtook it, so that it has to be asked for again."""
        heard = self.heard
        overtaken = heard is not None and (heard.epoch != position.epoch or heard.sequence > position.sequence)
        return Following(base=None if overtaken else position), overtaken
