"""The names of a block in order of their wire octets, and some of its names as a block; see `tapir.codec.ordering`."""

from tapir.codec.ordering import Positions, in_order, take_names

__all__ = ["Positions", "in_order", "take_names"]
