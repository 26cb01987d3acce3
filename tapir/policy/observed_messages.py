"""What messages say of names, laid out for the book: a row a statement, and the order in which they count. Pure."""

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from tapir.codec.columns import concatenated, joined
from tapir.model.blocks import NameBlock, ObservationBlock, WithdrawalBlock
from tapir.policy.observed_rows import Rows
from tapir.policy.table import Flags

Order = npt.NDArray[np.intp]


@attrs.frozen(kw_only=True, eq=False)
class Report:
    """What one message says of names: a name once, and in one of the two; `removed_at` is the time of its removals."""

    added: ObservationBlock
    removed: WithdrawalBlock
    removed_at: int


@attrs.frozen(kw_only=True, eq=False)
class Messages:
    """Statements, a row each; of those that are `removing`, deadlines and tags mean nothing."""

    stamps: npt.NDArray[np.int64]
    deadlines: npt.NDArray[np.int64]
    tags: npt.NDArray[np.uint32]
    removing: Flags

    def part(self, which: Order) -> "Messages":
        """These rows."""
        return Messages(
            stamps=self.stamps[which],
            deadlines=self.deadlines[which],
            tags=self.tags[which],
            removing=self.removing[which],
        )


def gathered(reports: Sequence[Report]) -> tuple[NameBlock, Messages, Order]:
    """All statements of `reports`, the names they are about, and their numbers in the order in which they count."""
    added = [report.added for report in reports]
    removed = [report.removed for report in reports]
    additions, removals = [len(block) for block in added], [len(block) for block in removed]
    nothing = np.zeros(sum(removals), np.int64)
    removed_at = np.repeat(np.array([report.removed_at for report in reports], np.int64), removals)
    numbers = np.arange(len(reports))
    messages = Messages(
        stamps=np.concatenate(
            [
                times_in([block.observed for block in added]),
                np.maximum(times_in([block.observed for block in removed]), removed_at),
            ]
        ),
        deadlines=np.concatenate([times_in([block.deadlines for block in added]), nothing]),
        tags=np.concatenate(
            [
                np.frombuffer(concatenated([block.tags for block in added]), np.uint32),
                nothing.astype(np.uint32),
            ]
        ),
        removing=np.arange(sum(additions) + sum(removals)) >= sum(additions),
    )
    # Of each message the additions, then the removals: a stable sort by message brings them into that order.
    order = np.argsort(np.concatenate([np.repeat(numbers, additions), np.repeat(numbers, removals)]), kind="stable")
    return joined([*(block.names for block in added), *(block.names for block in removed)]), messages, order


def times_in(columns: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """The times in these columns, one after the other."""
    return np.frombuffer(concatenated(columns), np.int64)


def waves(rows: Rows, order: Order, *, unique: bool) -> Iterator[Order]:
    """The statements about `rows` in `order`, cut up so that none speaks of a row twice; one piece if all are `unique`.

    As many pieces as there are statements about the row that most are about.
    """
    if unique:
        yield order
        return
    grouped = order[np.argsort(rows[order], kind="stable")]
    own = rows[grouped]
    heads = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
    turns = np.arange(len(own)) - np.repeat(heads, np.diff(np.append(heads, len(own))))
    for turn in range(int(turns.max()) + 1):
        yield grouped[turns == turn]
