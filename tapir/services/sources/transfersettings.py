"""What the actor of a feed is told."""

from pathlib import Path

import attrs

from tapir.services.sources.feedstate import FeedIdentity
from tapir.services.sources.transferprimary import PrimarySettings
from tapir.transport.transfer import Patience
from tapir.zone.faults import TransferLimits
from tapir.zone.schedule import TimerBounds


@attrs.frozen(kw_only=True)
class TransferSettings:
    """One feed: what it is a source for, where it comes from, and how much and how long it may take."""

    feed: FeedIdentity
    primaries: tuple[PrimarySettings, ...]
    """at least one; they are asked in this order, but for what is known of them"""
    store_path: Path
    bounds: TimerBounds = TimerBounds()
    limits: TransferLimits = TransferLimits()
    patience: Patience = Patience()

    @property
    def id(self) -> str:
        """The source."""
        return self.feed.source
