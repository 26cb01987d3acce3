"""What minimising needs of the world: keys, and lists. Each is derived or read in a worker, and its trouble is said."""

from functools import partial
from typing import Any, Final

from actors import Context
from tapir.codec.cryptopan import CryptopanError
from tapir.model.messages.events import EventKind
from tapir.services.ingest.lists import Loaded, load_lists
from tapir.services.ingest.minimisersettings import Keys, MinimiserSettings, derive_keys
from tapir.services.ingest.minimiservoice import Voice

_LISTS: Final = "lists of EDM"
_KEY: Final = "cryptopan-key"


class Means:
    """The keys and the lists that are in force; None as long as there are none."""

    def __init__(self, *, secret: bytes, voice: Voice) -> None:
        self._secret = secret
        self._voice = voice
        self.keys: Keys | None = None
        self.lists: Loaded | None = None

    def __repr__(self) -> str:
        return f"<Means: {'keys' if self.keys else 'no keys'}, {'lists' if self.lists else 'no lists'}>"

    async def derive(self, ctx: Context[Any], settings: MinimiserSettings) -> CryptopanError | None:
        """Have the keys of `settings`; where they cannot be, those from before stay, and this is why."""
        refused: CryptopanError | None = None
        text = ""
        if self.keys is None or not self.keys.serve(settings):
            try:
                self.keys = await ctx.run_blocking(derive_keys, settings)
            except CryptopanError as exc:
                holds = "frames wait until there is one" if self.keys is None else "the former key is in use"
                refused, text = exc, f"{exc}; {holds}"
        self._voice.note(ctx.log, _KEY, text, now=ctx.now())
        return refused

    async def read(self, ctx: Context[Any], settings: MinimiserSettings) -> Loaded:
        """Have the lists as they are now, as far as they can be read."""
        load = partial(load_lists, secret=self._secret, now=ctx.now(), before=self.lists)
        lists = self.lists = await ctx.run_blocking(load, settings.lists)
        text = "; ".join(lists.troubles)
        self._voice.note(ctx.log, _LISTS, text, now=ctx.now(), kind=EventKind.LIST_UNUSABLE)
        return lists
