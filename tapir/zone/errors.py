"""What the zone refuses."""

from tapir.model.errors import TapirError


class ZoneError(TapirError):
    """A value does not fit the zone; whatever was being built was not, and nothing changed."""
