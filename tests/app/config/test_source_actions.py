"""`action` and `weight` of a source: what they may be, and what becomes of them when they are not."""

import attrs
import pytest

from tapir.app.cli.commands import summarise
from tapir.app.config import ConfigErrors, after_reload, changes_needing_restart, load
from tapir.model.actions import Action

SOURCES = "pop-sources.yaml"
ACTIONS = "nxdomain, nodata, drop, redirect, tcp-only, passthru or allowlist"
TARGET = "services: { rpz: { zonename: z., redirect: garden.example. } }\ndnsengine: { active: no }"


def faults(folder):
    with pytest.raises(ConfigErrors) as caught:
        load(folder)
    return [str(error).replace(f"{folder}/", "") for error in caught.value.errors]


def test_upstreams_behaviour_is_the_default(write_config, source_text):
    (source,) = load(write_config(sources=source_text())).sources
    assert (source.action, source.weight) == (None, 1)


@pytest.mark.parametrize(
    ("word", "action"),
    [
        ("TCP-only", Action.TCP_ONLY),
        ("drop", Action.DROP),
        ("redirect", Action.REDIRECT),
        ("allowlist", Action.PASSTHRU),
    ],
)
@pytest.mark.parametrize("kind", ["denylist", "doubtlist"])
def test_an_action(write_config, source_text, word, action, kind):
    config = load(write_config(main=TARGET, sources=source_text(type=kind, action=word)))
    assert config.sources[0].action is action
    assert not [notice for notice in config.notices if notice.warning]


@pytest.mark.parametrize("weight", [0, 1, 1_000_000])
def test_a_weight(write_config, source_text, weight):
    (source,) = load(write_config(sources=source_text(type="doubtlist", weight=weight))).sources
    assert source.weight == weight


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"action": "block"}, f"sources.x.action: 'block' is not allowed; allowed is {ACTIONS}"),
        ({"action": "[drop]"}, "sources.x.action: a list is not text"),
        (
            {"action": "redirect"},
            "sources.x.action: redirect has no target; set services.rpz.redirect to a domain name, or use nxdomain, "
            "nodata, drop, tcp-only or passthru",
        ),
        (
            {"type": "allowlist", "action": "passthru"},
            "sources.x.action: an allowlist has no action: what is allowed is left alone, and not in the zone; take "
            "the key away",
        ),
        (
            {"type": "doubtlist", "weight": -1},
            "sources.x.weight: -1 is out of range; allowed is 0 to 1000000",
        ),
        ({"type": "doubtlist", "weight": 1.5}, "sources.x.weight: 1.5 is not a whole number"),
    ],
)
def test_a_fault_has_its_line(write_config, source_text, keys, fault):
    assert faults(write_config(sources=source_text(**keys))) == [f"{SOURCES}:9: {fault}"]


def test_a_broken_target_is_told_once(write_config, source_text):
    main = "services: { rpz: { zonename: z., redirect: a..b } }\ndnsengine: { active: no }"
    assert [
        fault.split(": ")[1] for fault in faults(write_config(main=main, sources=source_text(action="redirect")))
    ] == ["services.rpz.redirect"]


@pytest.mark.parametrize(("kind", "called"), [("denylist", "a denylist"), ("allowlist", "an allowlist")])
def test_a_weight_that_does_not_count_is_a_warning(write_config, source_text, kind, called):
    config = load(write_config(sources=source_text(type=kind, weight=3)))
    assert config.sources[0].weight == 1
    assert [notice.text for notice in config.notices if notice.warning] == [
        f"counts for doubtlists only; this is {called}"
    ]


def test_the_summary_says_what_comes_of_each_source(write_config):
    entry = "active: yes, source: file, format: domains, filename: f"
    sources = f"""\
sources:
  ours: {{ {entry}, name: ours, type: allowlist }}
  feed: {{ {entry}, name: feed, type: denylist }}
  bad: {{ {entry}, name: bad, type: denylist, action: tcp-only, match: subtree }}
  p: {{ {entry}, name: p, type: doubtlist }}
  q: {{ {entry}, name: q, type: doubtlist, weight: 2, action: drop }}
  off: {{ active: no, source: file, name: off, type: denylist, action: drop }}
"""
    folder = write_config(sources=sources)
    path = folder / "f"
    assert summarise(load(folder))[-6:] == [
        f"source ours: allowlist ours from {path}, left alone",
        f"source feed: denylist feed from {path}, action NXDOMAIN",
        f"source bad: denylist bad from {path}, each name with all below, action TCP-ONLY, its own",
        f"source p: doubtlist p from {path}, weight 1",
        f"source q: doubtlist q from {path}, weight 2, action DROP where a rule fires",
        "source off: denylist off from file (not active)",
    ]


def test_a_reload_takes_actions_and_weights(write_config, source_text):
    old = load(write_config(sources=source_text(type="doubtlist")))
    new = load(write_config(sources=source_text(type="doubtlist", action="drop", weight=2)))
    assert changes_needing_restart(old, new) == ()
    assert after_reload(old, new) == new


def test_a_source_that_redirects_waits_for_the_target(write_config, source_text):
    main = "services: { rpz: { zonename: z. } }\ndnsengine: { active: no }"
    old = load(write_config(main=main, sources=source_text(action="drop")))
    new = load(write_config(main=TARGET, sources=source_text(action="redirect")))
    assert changes_needing_restart(old, new) == ("services.rpz.redirect", "sources.x.action")
    taken = after_reload(old, new)
    assert taken.sources == old.sources
    assert changes_needing_restart(taken, new) == ("services.rpz.redirect", "sources.x.action")
    fresh = after_reload(attrs.evolve(old, sources=()), new)
    assert [source.action for source in fresh.sources] == [None]
    assert after_reload(new, new) == new
