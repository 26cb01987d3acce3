"""The root of tapir's own exceptions; each package derives its own, next to what raises them."""


class TapirError(Exception):
    """Something that tapir itself found wrong; the text says what, where, and what still holds."""
