"""The fixtures of the benches."""

from benching import make_knot

__all__ = ["make_knot"]
