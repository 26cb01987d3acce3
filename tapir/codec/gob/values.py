"""What a bootstrap stream holds, as it is there: Go's field names in our spelling, texts and times untouched."""

import attrs

from tapir.codec.gob.times import NOTHING, GobTime


@attrs.frozen(kw_only=True)
class TapirName:
    """An entry of a list; `ttl` is nanoseconds. `num_tags` is never set upstream, `action` only for names of RPZ."""

    name: str = ""
    time_added: GobTime = NOTHING
    ttl: int = 0
    tag_mask: int = 0
    num_tags: int = 0
    action: int = 0


@attrs.frozen(kw_only=True)
class MqttDetails:
    """How the sender gets the list; `bootstrap_key` is a secret that upstream hands to everybody."""

    topics: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()
    bootstrap_url: str = ""
    bootstrap_key: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True, repr=False)
class WbgList:
    """A list (`WBGlist`): `names` by the key they stand under, `reaper` by slot the names that leave then.

    Both are in the order of the stream, None where there is no map at all.
    """

    name: str = ""
    description: str = ""
    type: str = ""
    immutable: bool = False
    src_format: str = ""
    format: str = ""
    datasource: str = ""
    filename: str = ""
    upstream: str = ""
    mqtt: MqttDetails | None = None
    rpz_zone_name: str = ""
    rpz_upstream: str = ""
    rpz_serial: int = 0
    names: tuple[tuple[str, TapirName], ...] | None = None
    reaper: tuple[tuple[GobTime, tuple[tuple[str, bool], ...]], ...] | None = None

    def __repr__(self) -> str:
        return f"<WbgList {self.name!r} of {len(self.names or ())} names>"
