import attrs
import pytest

from tapir.model.names import ROOT, Name, format_name, parse_name
from tapir.zone.encoding import encoding_of
from tapir.zone.errors import ZoneError
from tapir.zone.settings import ZoneSettings

ZONE = parse_name("rpz.example")


def test_defaults_are_upstreams():
    settings = ZoneSettings(name=ZONE)
    assert format_name(settings.mname) == "mname."
    assert format_name(settings.rname) == "hostmaster.dnstapir.se."
    assert (settings.refresh, settings.retry, settings.expire, settings.minimum, settings.ttl) == (
        60,
        60,
        86400,
        60,
        3600,
    )
    assert [format_name(server) for server in settings.ns] == ["ns1.rpz.example.", "ns2.rpz.example."]
    assert settings.apex == ZONE


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("name", ROOT, "root"),
        ("name", Name((b"\x3f" + b"a" * 63) * 3 + b"\x3b" + b"a" * 59 + b"\0"), "253 octets"),
        ("ttl", -1, "ttl"),
        ("refresh", 2**31, "refresh"),
        ("ns", (), "0 name servers"),
        ("ns", (ZONE, ZONE), "twice"),
        ("ns", tuple(parse_name(f"ns{i}.example") for i in range(17)), "17 name servers"),
        ("redirect", parse_name("rpz-drop"), "means DROP"),
        ("redirect", parse_name("garden.rpz.example"), "itself"),
        ("redirect", ZONE, "itself"),
        ("journal_max_octets", 0, "journal_max_octets"),
        ("journal_max_age", 0, "journal_max_age"),
        ("journal_max_deltas", 0, "journal_max_deltas"),
    ],
)
def test_what_no_zone_can_have_is_refused(field, value, complaint):
    with pytest.raises(ZoneError, match=complaint):
        ZoneSettings(**{"name": ZONE, field: value})


def test_the_digest_changes_with_what_secondaries_hold_and_only_then():
    settings = ZoneSettings(name=ZONE)
    digest = encoding_of(settings).digest
    for change in (
        {"mname": parse_name("a.example")},
        {"ttl": 60},
        {"minimum": 61},
        {"ns": (parse_name("ns.example"),)},
        {"redirect": parse_name("garden.example")},
        {"name": parse_name("rpz2.example"), "ns": settings.ns},
    ):
        assert encoding_of(attrs.evolve(settings, **change)).digest != digest
    assert encoding_of(attrs.evolve(settings, journal_max_age=1)).digest == digest
