"""How frames are minimised: what an operator may set, and what the pipeline is made of it."""

from pathlib import Path
from typing import Final

import attrs

from actors import Request
from tapir.codec.cryptopan import CryptoPan, derive, derive_spool_key
from tapir.minimiser.pipeline import PipelineSettings
from tapir.services.ingest.lists import ListPaths, Loaded
from tapir.store.parquetfiles import Retention

_ENTRY: Final = 33
"""octets that a remembered pseudonym takes"""


@attrs.frozen(kw_only=True)
class MinimiserSettings:
    """What of frames is kept, and where. `data_dir`, `durable`, `debug_dnstap` and the room for pseudonyms take a
    restart of the actor; the others can be given to one that runs.
    """

    cryptopan_key: str = attrs.field(repr=False)
    cryptopan_salt: str = attrs.field(repr=False)
    pseudonym_entries: int
    """how many pseudonyms are remembered, as far as `pseudonym_octets` allows it"""
    pseudonym_octets: int
    well_known: Path
    ignored_clients: Path | None
    ignored_names: Path | None
    data_dir: Path
    threshold: int
    """up to how many clients a histogram counts exactly and tells no sketch of"""
    sessions: bool
    keep_sessions: Retention
    durable: bool
    """whether the running interval is spooled"""
    debug_dnstap: Path | None

    @property
    def lists(self) -> ListPaths:
        """Where the lists are."""
        return ListPaths(
            well_known=self.well_known,
            ignored_clients=self.ignored_clients,
            ignored_names=self.ignored_names,
            data_dir=self.data_dir,
        )


@attrs.frozen(kw_only=True)
class ConfigureMinimiser(Request[None]):
    """New settings are in force when this is answered; lists are read again."""

    settings: MinimiserSettings


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Keys:
    """What is made of the key and its salt."""

    key: str
    salt: str
    cryptopan: CryptoPan
    spool: bytes

    def __repr__(self) -> str:
        return "<Keys>"

    def serve(self, settings: MinimiserSettings) -> bool:
        """Whether they are those of `settings`."""
        return (self.key, self.salt) == (settings.cryptopan_key, settings.cryptopan_salt)


def derive_keys(settings: MinimiserSettings) -> Keys:
    """The keys of `settings`. Blocking: two tenths of a second, and 64 MiB. Raises CryptopanError."""
    key, salt = settings.cryptopan_key, settings.cryptopan_salt
    return Keys(key=key, salt=salt, cryptopan=derive(key, salt), spool=derive_spool_key(key, salt))


def pipeline_settings(
    settings: MinimiserSettings, begun: MinimiserSettings, keys: Keys, lists: Loaded
) -> PipelineSettings:
    """What a pipeline works by that was `begun` with other settings."""
    return PipelineSettings(
        cryptopan=keys.cryptopan,
        pseudonym_octets=min(begun.pseudonym_octets, _ENTRY * begun.pseudonym_entries),
        clients=lists.ignored_clients.value,
        ignored_names=lists.names_to_ignore,
        threshold=settings.threshold,
        sessions=settings.sessions,
        spool=begun.durable,
        debug=begun.debug_dnstap is not None,
    )
