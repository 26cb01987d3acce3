"""Settings that outlive an incarnation."""

from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.define
class Latest(Generic[T]):
    """The settings in force, shared by the incarnations of one actor.

    Only the running incarnation writes it. Without it a crash would go back to the settings that the process began
    with, whatever was reloaded since.
    """

    value: T
