"""Stores that fail on demand, for whoever tests what becomes of a zone then."""

from pathlib import Path
from typing import Any

from tapir.model.blocks import ListBlock, LookupList
from tapir.model.names import Name
from tapir.store.errors import StoreCorrupt
from tapir.store.zones import ZoneStore


def entries_of(content: ListBlock | LookupList) -> dict[Name, int]:
    """The names and tags of a list that was stored as such, and not as where it is looked up."""
    assert isinstance(content, ListBlock)
    return dict(content)


class FailingStore:
    """A ZoneStore whose writes fail while `failing` says how."""

    def __init__(self) -> None:
        self.failing: Exception | None = None
        self.opening: Exception | None = None

    def open(self, path: Path) -> Any:
        if self.opening is not None:
            raise self.opening
        store = ZoneStore.open(path)
        outer = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                method = getattr(store, name)
                if name in {"commit", "reset", "set_held"}:

                    def write(*args: Any, **kwargs: Any) -> Any:
                        if isinstance(outer.failing, StoreCorrupt):
                            failing, outer.failing = outer.failing, None
                            raise failing
                        if outer.failing is not None:
                            raise outer.failing
                        return method(*args, **kwargs)

                    return write
                return method

        return Wrapped()
