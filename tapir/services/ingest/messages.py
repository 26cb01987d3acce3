"""What the actors of this group say to each other only."""

import attrs

from tapir.codec.newqname import Sightings


@attrs.frozen(kw_only=True, eq=False)
class NamesSighted:
    """These names did not come lately; the recent names have them as asked for from now on.

    Who does not get the store asked about them has them forgotten there. No client is in it, and names are not shown.
    """

    sightings: Sightings = attrs.field(repr=False)

    def __len__(self) -> int:
        return len(self.sightings)
