"""What the files say arrives in `Config`, with every default filled in."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from tapir.app.config import (
    DEFAULT_STATE_DIR,
    LimitsConfig,
    OutputConfig,
    SocketAddress,
    SourceBrakeConfig,
    ZoneBrakeConfig,
    load,
    read_state_dir,
)
from tapir.model.actions import Action, ListKind
from tapir.model.names import parse_name
from tapir.policy.settings import PolicySettings
from tapir.zone.settings import ZoneSettings

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


def test_the_smallest_configuration_has_every_default(write_config):
    config = load(write_config())
    name = parse_name("rpz.pop.example.")
    assert config.zone == ZoneSettings(name=name)
    assert config.zone.ns == (parse_name("ns1.rpz.pop.example."), parse_name("ns2.rpz.pop.example."))
    assert config.zone_brake == ZoneBrakeConfig(change=0.25, minimum=1000)
    assert config.serial_cache is None
    assert config.state_dir == DEFAULT_STATE_DIR == Path("/var/lib/dnstapir/tapir")
    assert config.start_deadline == 60
    assert config.server.active
    assert config.server.addresses == (SocketAddress("127.0.0.1", 5359),)
    assert config.server.allow_transfer == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert config.server.limits == LimitsConfig(connections=512, connections_per_address=64, idle_timeout=10)
    assert config.sources == ()
    assert config.outputs == ()
    assert (config.log.level, config.log.format, config.log.to_files, config.log.files) == ("info", "text", False, ())
    assert not config.log.source_lines
    assert config.notices == ()
    assert config.policy == PolicySettings(denylist_action=Action.NXDOMAIN, denytapir_action=Action.DROP)


def test_every_key_of_the_main_file_arrives(write_config):
    folder = write_config(main=EVERYTHING)
    config = load(folder)
    assert config.state_dir == folder / "state"
    assert config.start_deadline == 5
    assert config.zone == ZoneSettings(
        name=parse_name("rpz.pop.example."),
        mname=parse_name("m.example."),
        rname=parse_name("r.example."),
        refresh=1,
        retry=2,
        expire=3,
        minimum=4,
        ttl=5,
        ns=(parse_name("a.example."), parse_name("b.example.")),
        redirect=parse_name("garden.example."),
        journal_max_octets=6,
        journal_max_age=7,
        journal_max_deltas=8,
    )
    assert config.zone_brake == ZoneBrakeConfig(change=0.05, minimum=9)
    assert config.serial_cache == Path("/var/lib/dnstapir/rpz-serial.yaml")
    assert list(map(str, config.server.addresses)) == ["127.0.0.1:5359", "[::1]:0"]
    assert config.server.allow_transfer == (ip_network("192.0.2.0/24"), ip_network("2001:db8::1"))
    assert config.server.limits == LimitsConfig(connections=10, connections_per_address=2, idle_timeout=3)
    assert (config.log.level, config.log.format, config.log.source_lines) == ("warning", "json", True)
    assert config.log.to_files
    assert config.log.files == (("main", folder / "pop.log"), ("dnsengine", Path("/var/log/dns.log")))
    assert config.notices == ()


def test_log_debug_sets_the_level_and_log_level_overrides_it(write_config):
    assert load(write_config(more="log: { debug: true }")).log.level == "debug"
    assert load(write_config(more="log: { debug: true, level: error }")).log.level == "error"


def test_keys_are_taken_in_any_case_and_ids_as_they_are_spelled(write_config, source_text):
    folder = write_config(
        main=EVERYTHING.replace("zonename", "ZoneName")
        .replace("dnsengine", "DNSEngine")
        .replace("to-files", "To-Files"),
        sources=source_text().replace("x:", "Local.Names:").replace("filename", "FileName"),
    )
    config = load(folder)
    assert config.zone.ttl == 5
    assert [source.id for source in config.sources] == ["Local.Names"]
    assert config.sources[0].path == folder / "names.txt"


def test_a_file_source(write_config, source_text):
    folder = write_config(
        sources=source_text(
            description="ours", broad="on", poll_interval='"7"', brake="{ grow: 1000% }", filename="lists/deny.txt"
        ),
        more="brake: { shrink: 25 }\n",
    )
    (source,) = load(folder).sources
    assert (source.id, source.name, source.description) == ("x", "names", "ours")
    assert (source.kind, source.origin, source.format) == (ListKind.DENY, "file", "domains")
    assert (source.active, source.supported, source.required, source.broad) == (True, True, False, True)
    assert source.path == folder / "lists/deny.txt"
    assert source.poll_interval == 7
    assert source.brake == SourceBrakeConfig(shrink=0.25, grow=10.0, minimum=1000)


@pytest.mark.parametrize(
    ("kind", "required", "expected"),
    [("allowlist", None, True), ("allowlist", "false", False), ("denylist", None, False), ("doubtlist", None, False)],
)
def test_an_allowlist_is_required_unless_waived(write_config, source_text, kind, required, expected):
    (source,) = load(write_config(sources=source_text(type=kind, required=required))).sources
    assert source.required is expected


@pytest.mark.parametrize("entry", ["{ active: false }", "{ active: no, type: grey, source: carrier-pigeon, name: }"])
def test_an_inactive_source_may_be_half_written(write_config, entry):
    (source,) = load(write_config(sources=f"sources: {{ x: {entry} }}")).sources
    assert (source.id, source.name, source.active, source.supported, source.required) == ("x", "x", False, False, False)


@pytest.mark.parametrize("kind", list(ListKind))
def test_a_dawg_file_may_feed_a_list_of_any_kind(write_config, source_text, kind):
    (source,) = load(write_config(sources=source_text(format="DAWG", type=kind.value))).sources
    assert (source.format, source.supported, source.kind) == ("dawg", True, kind)


@pytest.mark.parametrize(("keys", "column"), [({}, None), ({"column": "' Domain '"}, "Domain")])
def test_a_csv_file_is_supported_and_may_say_where_its_names_are(write_config, source_text, keys, column):
    (source,) = load(write_config(sources=source_text(format="CSV", **keys))).sources
    assert (source.format, source.supported, source.column) == ("csv", True, column)


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "yes", "Yes", "on", "y", '"true"', "'on'"])
def test_every_spelling_of_true(write_config, word):
    assert load(write_config(more=f"log: {{ debug: {word} }}")).log.level == "debug"


@pytest.mark.parametrize("word", ["false", "no", "off", "N", '"false"', "~", ""])
def test_every_spelling_of_false(write_config, word):
    assert load(write_config(more=f"log: {{ debug: {word} }}")).log.level == "info"


@pytest.mark.parametrize("text", ["outputs: {}", "outputs:", "outputs: ~", "", "# nothing", "---", "{}"])
def test_there_may_be_no_outputs(write_config, text):
    config = load(write_config(outputs=text))
    assert config.outputs == ()
    assert config.notices == ()


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.53:5353", SocketAddress("192.0.2.53", 5353)),
        ("192.0.2.53", SocketAddress("192.0.2.53", 53)),
        ("'[2001:DB8::53]:54'", SocketAddress("2001:db8::53", 54)),
        ("'[2001:db8::53]'", SocketAddress("2001:db8::53", 53)),
        ("'[fe80::1%eth0]:53'", SocketAddress("fe80::1%eth0", 53)),
    ],
)
def test_an_output_is_notified_and_may_transfer(write_config, written, address):
    config = load(write_config(outputs=f"outputs: {{ o: {{ active: true, downstream: {written} }} }}"))
    assert config.outputs == (OutputConfig(id="o", address=address),)
    assert config.server.allow_transfer[2:] == (ip_network(address.host.partition("%")[0]),)


def test_an_inactive_zone_server_needs_no_addresses(write_config):
    config = load(write_config(main="services: { rpz: { zonename: dnstapir. } }\ndnsengine: { active: false }"))
    assert not config.server.active
    assert config.server.addresses == ()


def test_a_lone_word_is_a_list_of_one(write_config):
    main = "services: { rpz: { zonename: dnstapir. } }\ndnsengine: { addresses: '127.0.0.1:53' }"
    assert load(write_config(main=main)).server.addresses == (SocketAddress("127.0.0.1", 53),)


def test_tags_and_actions_in_any_case_with_cores_words_for_tags(write_config):
    policy = """\
policy:
  allowlist: { action: ALLOWLIST }
  denylist: { action: Passthru }
  doubtlist:
    numsources: { limit: 1, action: NODATA }
    numtapirtags: { limit: 9, action: drop }
    denytapir: { tags: [BadIP, likelymalware, globally_new], action: redirect }
"""
    main = "services: { rpz: { zonename: z., redirect: garden.example. } }\ndnsengine: { active: no }"
    config = load(write_config(main=main, policy=policy))
    assert config.policy == PolicySettings(
        allowlist_action=Action.PASSTHRU,
        denylist_action=Action.PASSTHRU,
        numsources_limit=1,
        numsources_action=Action.NODATA,
        numtapirtags_limit=9,
        numtapirtags_action=Action.DROP,
        denytapir_mask=0b10101,
        denytapir_action=Action.REDIRECT,
    )
    assert config.notices == ()


def test_files_are_merged_in_upstreams_order(write_config):
    folder = write_config(more="policy: { denylist: { action: drop } }\n", outputs="log: { level: error }")
    config = load(folder)
    assert config.log.level == "error"
    assert config.policy.denylist_action is Action.NXDOMAIN


def test_anchors_aliases_and_merge_keys(write_config):
    text = """\
sources:
  a: &a { active: yes, name: a, type: denylist, source: file, format: domains, filename: a.txt }
  b: { <<: *a, name: b }
  c: { <<: [ { name: c }, *a ] }
"""
    config = load(write_config(sources=text))
    assert [(source.id, source.name, source.path and source.path.name) for source in config.sources] == [
        ("a", "a", "a.txt"),
        ("b", "b", "a.txt"),
        ("c", "c", "a.txt"),
    ]


def test_the_state_dir_of_the_command_line_counts_and_starts_where_the_command_does(
    write_config, monkeypatch, tmp_path
):
    folder = write_config(main=EVERYTHING)
    monkeypatch.chdir(tmp_path)
    assert load(folder, Path("elsewhere")).state_dir == tmp_path / "elsewhere"
    assert load(Path("config")).state_dir == folder / "state"


def test_the_state_dir_is_found_in_a_broken_configuration(write_config, tmp_path):
    assert read_state_dir(write_config(more="state-dir: here\nlog: 5\n", policy="[")) == tmp_path / "config/here"
    assert read_state_dir(write_config()) is None
    assert read_state_dir(write_config(more="state-dir: [a]")) is None
    assert read_state_dir(tmp_path / "absent") is None
