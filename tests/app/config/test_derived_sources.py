"""What feeds say by the way: sources that nobody configures, and whose ids nobody can take."""

import attrs
import pytest

from tapir.app.config import ConfigErrors, load
from tapir.app.mapping import source_settings
from tapir.model.actions import Action, ListKind
from tapir.model.messages.feeds import actor_of


def configured(write_config, source_text, **fields):
    config = load(write_config(sources=source_text(type="doubtlist", weight=3, action="drop")))
    return attrs.evolve(config, sources=tuple(attrs.evolve(each, **fields) for each in config.sources))


def test_a_feed_has_a_part_in_the_lists_that_feeds_share(write_config, source_text):
    settings = source_settings(configured(write_config, source_text, origin="xfr", format="rpz"))
    feed, allow, doubt = settings[:3]
    assert (feed.id, feed.derived, feed.weight, feed.action, feed.format) == ("x", False, 3, Action.DROP, "rpz")
    assert [(each.id, each.name, each.kind) for each in (allow, doubt)] == [
        ("x:allow", "allow_catchall", ListKind.ALLOW),
        ("x:doubt", "doubt_catchall", ListKind.DOUBT),
    ]
    for each in (allow, doubt):
        assert each.derived
        assert each.internal
        assert not each.required
        assert (each.weight, each.action, each.brake) == (1, None, feed.brake)
        assert actor_of(each.id) == "x"
    assert not any(each.derived for each in settings[3:])


def test_a_feed_that_is_switched_off_has_its_parts_switched_off(write_config, source_text):
    feed, allow, doubt = source_settings(configured(write_config, source_text, origin="xfr", active=False))[:3]
    assert (feed.active, allow.active, doubt.active) == (False, False, False)


def test_other_sources_have_no_such_parts(write_config, source_text):
    for origin in ("file", "mqtt"):
        assert not any(each.derived for each in source_settings(configured(write_config, source_text, origin=origin)))


def test_observations_are_never_braked(write_config, source_text):
    (source, *_) = source_settings(configured(write_config, source_text, origin="mqtt"))
    assert source.brake is not None
    assert source.brake.minimum > 10**12


@pytest.mark.parametrize("ending", [":allow", ":doubt", ":ALLOW"])
def test_nobody_can_take_the_id_of_such_a_part(write_config, source_text, ending):
    with pytest.raises(ConfigErrors, match="what a feed says by the way"):
        load(write_config(sources=source_text().replace("  x:", f'  "x{ending}":')))


@pytest.mark.parametrize("ident", ["x:", "a:b", "allow", "x:allowed"])
def test_a_colon_alone_is_no_fault(write_config, source_text, ident):
    (source,) = load(write_config(sources=source_text().replace("  x:", f'  "{ident}":'))).sources
    assert source.id == actor_of(source.id) == ident
