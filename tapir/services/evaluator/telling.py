"""What the list keeper tells the policy evaluator: changes in a stream with positions, and the publish gate (pure)."""

import uuid
from collections.abc import Iterable, Sequence

from tapir.model.messages.lists import (
    ListChange,
    ListContent,
    ListDescription,
    ListsChanged,
    ListsSnapshot,
    StreamPosition,
)
from tapir.services.evaluator.roster import Gate, SourceState, judge_gate


class Telling:
    """Where the stream stands, and the `gate` as it was told last."""

    def __init__(self) -> None:
        self._position = StreamPosition(epoch="", sequence=0)
        self.gate = Gate(publish=False, waiting_for=())

    def begin_epoch(self) -> None:
        """Start a new stream, whose listener begins with a snapshot."""
        self._position = StreamPosition(epoch=uuid.uuid4().hex, sequence=0)

    def snapshot(self, lists: tuple[ListContent, ...]) -> ListsSnapshot:
        """All `lists`, as of now."""
        return ListsSnapshot(
            position=self._position, lists=lists, publish=self.gate.publish, waiting_for=self.gate.waiting_for
        )

    def news(
        self,
        states: Iterable[SourceState],
        changes: Sequence[ListChange],
        *,
        always: bool = False,
        described: tuple[ListDescription, ...] = (),
        durable: bool = True,
    ) -> ListsChanged | None:
        """What there is to tell of `changes`, of `described` lists and of the gate; None if none of it is news."""
        gate = judge_gate(states)
        if gate == self.gate and not changes and not described and not always:
            return None
        self.gate = gate
        self._position = StreamPosition(epoch=self._position.epoch, sequence=self._position.sequence + 1)
        return ListsChanged(
            position=self._position,
            changes=tuple(changes),
            publish=gate.publish,
            waiting_for=gate.waiting_for,
            described=described,
            durable=durable,
        )
