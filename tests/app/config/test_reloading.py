"""What a reload takes, and what it says of the rest."""

import attrs
import pytest

from tapir.app.config import after_reload, changes_needing_restart, load
from tapir.model.actions import Action

EVERYTHING = """\
state-dir: state
start-deadline: 5
log: { file: pop.log, verbose: false, debug: true, mode: debug, to-files: yes, format: json, level: WARNING }
brake: { shrink: 10%, grow: 300, minimum: 50 }
services:
  rpz:
    zonename: RPZ.Pop.example
    serialcache: /var/lib/dnstapir/rpz-serial.yaml
    soa: { mname: m.example., rname: r.example, refresh: 1, retry: 2, expire: 3, minimum: 4 }
    ns: [a.example., b.example.]
    ttl: 5
    redirect: garden.example.
    journal: { max-size: 6, max-age: 7, max-deltas: 8 }
    brake: { change: "5%", minimum: 9 }
  reaper: { interval: 60 }
dnsengine:
  active: true
  name: dns
  addresses: ["127.0.0.1:5359", "[::1]:0"]
  logfile: /var/log/dns.log
  allow-transfer: [192.0.2.0/24, "2001:db8::1"]
  limits: { connections: 10, connections-per-address: 2, idle-timeout: 3 }
"""


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("RPZ.Pop.example", "other.example", ("services.rpz.zonename",)),
        ("/var/lib/dnstapir/rpz-serial.yaml", "serial.yaml", ("services.rpz.serialcache",)),
        ("active: true", "active: false", ("dnsengine.active",)),
        ('"[::1]:0"', '"[::1]:1"', ("dnsengine.addresses",)),
        ("connections: 10", "connections: 11", ()),
        ("ttl: 5", "ttl: 6", ("services.rpz.ttl",)),
        ("retry: 2", "retry: 3", ("services.rpz.soa.retry",)),
        ("ns: [a.example., b.example.]", "ns: []", ("services.rpz.ns",)),
        ("redirect: garden", "redirect: park", ("services.rpz.redirect",)),
        ("max-age: 7", "max-age: 8", ("services.rpz.journal.max-age",)),
        ("minimum: 9", "minimum: 10", ("services.rpz.brake",)),
        ("state-dir: state", "state-dir: other", ("state-dir",)),
        ("2001:db8::1", "2001:db8::2", ()),
        ("start-deadline: 5", "start-deadline: 6", ()),
    ],
)
def test_what_a_reload_does_not_take(write_config, old, new, keys):
    before = load(write_config(main=EVERYTHING))
    assert old in EVERYTHING
    assert changes_needing_restart(before, load(write_config(main=EVERYTHING.replace(old, new)))) == keys
    assert changes_needing_restart(before, before) == ()


def test_the_rest_stays_until_the_restart_and_is_named_again(write_config):
    old = load(write_config(main=EVERYTHING))
    text = EVERYTHING.replace("ttl: 5", "ttl: 6").replace("state-dir: state", "state-dir: other")
    new = load(
        write_config(main=text.replace("connections: 10", "connections: 11").replace("deadline: 5", "deadline: 6"))
    )
    taken = after_reload(old, new)
    assert (taken.zone, taken.state_dir, taken.server.addresses) == (old.zone, old.state_dir, old.server.addresses)
    assert (taken.server.limits.connections, taken.start_deadline) == (11, 6)
    assert changes_needing_restart(taken, new) == changes_needing_restart(old, new) == ("services.rpz.ttl", "state-dir")
    assert after_reload(old, old) == old


def test_a_policy_that_redirects_waits_for_the_target(write_config):
    old = load(write_config())
    target = attrs.evolve(old.zone, redirect=load(write_config(main=EVERYTHING)).zone.redirect)
    redirecting = attrs.evolve(old.policy, denylist_action=Action.REDIRECT)
    new = attrs.evolve(old, zone=target, policy=redirecting)
    assert changes_needing_restart(old, new) == ("services.rpz.redirect", "policy")
    assert after_reload(old, new) == old
    assert after_reload(new, attrs.evolve(new, start_deadline=1)).policy == redirecting
    harmless = attrs.evolve(old.policy, denytapir_mask=0, denytapir_action=Action.REDIRECT)
    assert after_reload(old, attrs.evolve(old, policy=harmless)).policy == harmless
    firing = attrs.evolve(harmless, denytapir_mask=1)
    assert after_reload(old, attrs.evolve(old, policy=firing)).policy == old.policy
