"""Every fault is found, at once, and says where it is, what is wrong and what is allowed."""

import pytest

from tapir.app.config import ConfigErrors, load

MAIN = "dnstapir-pop.yaml"
SOURCES = "pop-sources.yaml"
OUTPUTS = "pop-outputs.yaml"
POLICY = "pop-policy.yaml"


def faults(folder) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(folder)
    return [line.replace(f"{folder}/", "") for line in caught.value.lines]


ACTIONS = "nxdomain, nodata, drop, redirect, tcp-only, passthru or allowlist"

# What is added to the smallest main file, whose five lines it follows.
MORE = [
    ("log: 5", "6: log: 5 is not a section; a section holds `key: value` lines"),
    ("log: [a]", "6: log: a list is not a section; a section holds `key: value` lines"),
    ("log: { file: [a] }", "6: log.file: a list is not text"),
    ("log: { file: 5 }", "6: log.file: 5 is not text; if it is meant as text, write it in quotes"),
    ("log: { debug: 1 }", "6: log.debug: 1 is neither true nor false"),
    ("log: { debug: maybe }", "6: log.debug: 'maybe' is neither true nor false"),
    ("log: { level: loud }", "6: log.level: 'loud' is not allowed; allowed is debug, info, warning or error"),
    ("log: { format: xml }", "6: log.format: 'xml' is not allowed; allowed is text or json"),
    (
        "log: { to-files: true }",
        "6: log.file: missing; needed with `log.to-files: true` is the path of the main log",
    ),
    ("apiserver: { key: 12345 }", "6: apiserver.key: 12345 is not text; if it is meant as text, write it in quotes"),
    ("apiserver: { addresses: {} }", "6: apiserver.addresses: a section is not a list"),
    ("start-deadline: -1", "6: start-deadline: -1 is out of range; allowed is 0 or more seconds"),
    ("start-deadline: 1.5", "6: start-deadline: 1.5 is not a whole number"),
    ("start-deadline: 010", "6: start-deadline: '010' is not a whole number"),
    ("start-deadline: true", "6: start-deadline: true is not a whole number"),
    ("start-deadline: '+5'", "6: start-deadline: '+5' is not a whole number"),
    ("brake: { shrink: half }", "6: brake.shrink: 'half' is not a percentage; allowed is one such as 25%"),
    ("brake: { shrink: -5 }", "6: brake.shrink: -5 is not a percentage; allowed is one such as 25%"),
    ("brake: { shrink: true }", "6: brake.shrink: true is neither a number nor text"),
    (
        "brake: { shrink: 0.5 }",
        "6: brake.shrink: 0.5 is under one percent; if that is meant, write 0.5%, else 50%",
    ),
    ("state-dir: [a]", "6: state-dir: a list is not text"),
    ("log: {}\nLog: {}", "7: log: given twice, first in line 6; a key is given once"),
    ("start-deadline: !!binary aGk=", "6: start-deadline: the YAML tag 'binary' is not used here"),
    ("start-deadline: !minutes 1", "6: start-deadline: the YAML tag '!minutes' is not used here"),
    ("[a, b]: 5", "6: a key is a word, not a list or a section"),
    ("cli: &c [*c]", "6: cli[0]: this alias is inside of what it names"),
    ("a: &a 1\n<<: *a", "7: `<<` merges sections, and this is none"),
]


@pytest.mark.parametrize(("more", "fault"), MORE)
def test_a_fault_in_the_main_file(write_config, more, fault):
    assert faults(write_config(more=more + "\n")) == [f"{MAIN}:{fault}"]


RPZ = [
    ("zonename: .", "zonename: '.' is too wide; allowed is a domain name, such as rpz.pop.example."),
    (
        "zonename: '*.example.'",
        "zonename: '*.example.' is too wide; allowed is a domain name, such as rpz.pop.example.",
    ),
    ("zonename: a..b", "zonename: 'a..b' is not a domain name: it has an empty label"),
    ("zonename:", "zonename: has no value; needed is the name of the output zone, such as dnstapir."),
    (
        f"zonename: {'.'.join(['a' * 63, 'b' * 63, 'c' * 63, 'd' * 58])}",
        "zonename: the zone's name has 252 octets: allowed are 251, for ns1 and ns2 below it",
    ),
    ("ttl: -1", "ttl: -1 is out of range; allowed is 0 to 2147483647 seconds"),
    ("ttl: 2147483648", "ttl: 2147483648 is out of range; allowed is 0 to 2147483647 seconds"),
    ("soa: { refresh: 0 }", "soa.refresh: 0 is out of range; allowed is 1 to 2147483647 seconds"),
    (
        "soa: { rname: hostmaster@example. }",
        "soa.rname: 'hostmaster@example.' is not a domain name: it has the character '@'",
    ),
    ("ns: [a.example., a.example.]", "ns: the zone has 2 name servers: allowed are 1 to 16, none twice"),
    ("ns: [a.example., ~]", "ns[1]: has no value; an item is the name of a name server"),
    ("ns: [a.example., 5]", "ns[1]: 5 is not text; if it is meant as text, write it in quotes"),
    ("journal: { max-size: 0 }", "journal.max-size: 0 is out of range; allowed is 1 or more"),
    ("brake: { change: x }", "brake.change: 'x' is not a percentage; allowed is one such as 25%"),
    (
        "redirect: a.rpz.pop.example.",
        "redirect: redirect target a.rpz.pop.example. lies in the zone rpz.pop.example. itself",
    ),
    ("redirect: rpz-drop.", "redirect: redirect target rpz-drop. already means DROP in RPZ"),
]


@pytest.mark.parametrize(("line", "fault"), RPZ)
def test_a_fault_in_the_zone(write_config, line, fault):
    head = "" if line.startswith("zonename") else "    zonename: rpz.pop.example.\n"
    main = f"dnsengine: {{ active: false }}\nservices:\n  rpz:\n{head}    {line}\n"
    assert faults(write_config(main=main)) == [f"{MAIN}:{5 if head else 4}: services.rpz.{fault}"]


ENGINE = [
    ("addresses:", "addresses: has no value; needed is a list of IP:port, such as [127.0.0.1:5359]"),
    ("active: true", "addresses: missing; needed is a list of IP:port, such as [127.0.0.1:5359]"),
    ("addresses: [~]", "addresses[0]: has no value; needed is a list of IP:port, such as [127.0.0.1:5359]"),
    (
        "addresses: ['127.0.0.1']",
        "addresses[0]: '127.0.0.1' names no port; allowed is IP:port, such as 127.0.0.1:5359 or [::1]:5359",
    ),
    (
        "addresses: [':5359']",
        "addresses[0]: ':5359' names no address; allowed is IP:port, for every address 0.0.0.0:5359 and [::]:5359",
    ),
    (
        "addresses: ['localhost:5359']",
        "addresses[0]: 'localhost:5359' has no IP address; allowed is IP:port, names are not looked up",
    ),
    ("addresses: ['127.0.0.1:65536']", "addresses[0]: '127.0.0.1:65536' has no such port; allowed is 0 to 65535"),
    ("addresses: ['127.0.0.1:dns']", "addresses[0]: '127.0.0.1:dns' has no such port; allowed is 0 to 65535"),
    (
        "addresses: ['::1']",
        "addresses[0]: '::1' may end in a port or not; allowed is an IPv6 address in brackets, [::1]:53",
    ),
    (
        "addresses: ['a:b:c']",
        "addresses[0]: 'a:b:c' is no address; allowed is IP:port, such as 127.0.0.1:5359 or [::1]:5359",
    ),
    (
        "addresses: ['127.0.0.1:53', '127.0.0.1:53']",
        "addresses: 127.0.0.1:53 is given twice; an address is given once",
    ),
    (
        "allow-transfer: [192.0.2.1/24]",
        "allow-transfer[0]: '192.0.2.1/24' has bits set past its length; allowed is 192.0.2.0/24 or 192.0.2.1",
    ),
    (
        "allow-transfer: [any]",
        "allow-transfer[0]: 'any' is no prefix; allowed is an IP address or one with a length, 192.0.2.0/24",
    ),
    ("limits: { connections: 0 }", "limits.connections: 0 is out of range; allowed is 1 or more"),
    ("limits: { idle-timeout: 0 }", "limits.idle-timeout: 0 is out of range; allowed is 1 or more seconds"),
]


@pytest.mark.parametrize(("line", "fault"), ENGINE)
def test_a_fault_in_the_zone_server(write_config, line, fault):
    addresses = "" if "addresses" in fault else "  addresses: ['127.0.0.1:5359']\n"
    main = f"services: {{ rpz: {{ zonename: dnstapir. }} }}\ndnsengine:\n  {line}\n{addresses}"
    number = 2 if "missing" in fault else 3
    assert faults(write_config(main=main)) == [f"{MAIN}:{number}: dnsengine.{fault}"]


SOURCE = [
    ({"active": None}, "2: sources.x.active: missing; needed is true or false"),
    ({"active": "perhaps"}, "3: sources.x.active: 'perhaps' is neither true nor false"),
    ({"name": None}, "2: sources.x.name: missing; needed is the list's name"),
    ({"name": "' '"}, "4: sources.x.name: ' ' cannot be a list's name; allowed is any printable text"),
    ({"type": None}, "2: sources.x.type: missing; needed is allowlist, denylist or doubtlist"),
    ({"type": "greylist"}, "5: sources.x.type: 'greylist' is not allowed; allowed is allowlist, denylist or doubtlist"),
    ({"source": None}, "2: sources.x.source: missing; needed is file, mqtt or xfr"),
    ({"source": "http"}, "6: sources.x.source: 'http' is not allowed; allowed is file, mqtt or xfr"),
    ({"format": None}, "2: sources.x.format: missing; needed is domains, csv or dawg"),
    ({"format": "json"}, "7: sources.x.format: 'json' is not allowed; allowed is domains, csv or dawg"),
    ({"filename": None}, "2: sources.x.filename: missing; needed is the path of the list"),
    ({"filename": ""}, "8: sources.x.filename: has no value; needed is the path of the list"),
    (
        {"source": "xfr", "format": "rpz", "zone": "feed.example"},
        "2: sources.x.upstream: missing; needed is the primary's address, HOST:port, such as 192.0.2.53:53",
    ),
    (
        {"format": "csv", "column": "' '"},
        "9: sources.x.column: ' ' cannot be the title of a column; allowed is any printable text",
    ),
    ({"poll_interval": 0}, "9: sources.x.poll-interval: 0 is out of range; allowed is 1 or more seconds"),
    ({"brake": "{ grow: all }"}, "9: sources.x.brake.grow: 'all' is not a percentage; allowed is one such as 25%"),
]


@pytest.mark.parametrize(("keys", "fault"), SOURCE)
def test_a_fault_in_a_source(write_config, source_text, keys, fault):
    folder = write_config(sources=source_text(**keys))
    assert faults(folder) == [f"{SOURCES}:{fault}".format(folder=folder).replace(f"{folder}/", "")]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1: sources: missing; needed is one entry for each source, or `sources: {}` for none"),
        ("sources:", "1: sources: has no value; needed is one entry for each source, or `sources: {}` for none"),
        ("sources: []", "1: sources: a list is not a section; it holds one entry for each id"),
        ("sources:\n  x: 5", "2: sources.x: 5 is not a section; a section holds `key: value` lines"),
        (
            "sources:\n  a/b: {active: no}",
            "2: sources.a/b: this cannot be the id of a source; allowed is any printable text without `/`",
        ),
        (
            "sources:\n  a: {active: no}\n  A: {active: no}",
            "3: sources.A: given twice, first in line 2; a key is given once",
        ),
    ],
)
def test_a_fault_in_the_sources(write_config, text, fault):
    assert faults(write_config(sources=text)) == [f"{SOURCES}:{fault}"]


def test_two_active_lists_of_a_class_cannot_share_a_name(write_config, source_text):
    text = source_text() + source_text().removeprefix("sources:\n").replace("  x:", "  y:")
    assert faults(write_config(sources=text)) == [
        f"{SOURCES}:11: sources.y.name: sources.x is a denylist of this name too; allowed is a name of its own"
    ]
    load(write_config(sources=text.replace("type: denylist", "type: allowlist", 1)))
    load(write_config(sources=text.replace("active: true", "active: false", 1)))


OUTPUT = [
    (
        "",
        "2: outputs.o.downstream: missing; edit it: needed is the address that NOTIFY goes to, IP:port, such as "
        "192.0.2.53:53",
    ),
    (
        "downstream:",
        "4: outputs.o.downstream: has no value; edit it: needed is the address that NOTIFY goes to, IP:port, such as "
        "192.0.2.53:53",
    ),
    (
        "downstream: resolver.example:53",
        "4: outputs.o.downstream: 'resolver.example:53' has no IP address; allowed is IP:port, names are not looked up",
    ),
    ("downstream: 192.0.2.53:0", "4: outputs.o.downstream: '192.0.2.53:0' has no such port; allowed is 1 to 65535"),
    (
        "downstream: '[192.0.2.53'",
        "4: outputs.o.downstream: '[192.0.2.53' is no address; allowed is IP:port, such as 192.0.2.53:53 or "
        "[2001:db8::53]:53",
    ),
    ("downstream: 53", "4: outputs.o.downstream: 53 is not text; if it is meant as text, write it in quotes"),
]


@pytest.mark.parametrize(("line", "fault"), OUTPUT)
def test_a_fault_in_an_output(write_config, line, fault):
    text = f"outputs:\n  o:\n    active: true\n    {line}\n"
    assert faults(write_config(outputs=text)) == [f"{OUTPUTS}:{fault}"]
    load(write_config(outputs=text.replace("true", "false") if line != "downstream: 53" else "outputs: {}"))


RULES = [
    ("denylist: {}", f"2: policy.denylist.action: missing; needed is {ACTIONS}"),
    ("denylist: { action: block }", f"2: policy.denylist.action: 'block' is not allowed; allowed is {ACTIONS}"),
    (
        "denylist: { action: REDIRECT }",
        "2: policy.denylist.action: redirect has no target; set services.rpz.redirect to a domain name, or use "
        "nxdomain, nodata, drop, tcp-only or passthru",
    ),
]


@pytest.mark.parametrize(("line", "fault"), RULES)
def test_a_fault_in_the_denylist_policy(write_config, line, fault):
    policy = (
        f"policy:\n  {line}\n  doubtlist:\n    numsources: {{ limit: 2, action: drop }}\n"
        "    numtapirtags: { limit: 2, action: drop }\n    denytapir: { tags: [], action: drop }\n"
    )
    assert faults(write_config(policy=policy)) == [f"{POLICY}:{fault}"]


DOUBT = [
    ("numsources: { limit: 0, action: drop }", "numsources.limit: 0 is out of range; allowed is 1 or more"),
    ("numsources: { action: drop }", "numsources.limit: missing; needed is a whole number, 1 or more"),
    ("numsources: { limit: two, action: drop }", "numsources.limit: 'two' is not a whole number"),
    (
        "denytapir: { tags: [malware], action: drop }",
        "denytapir.tags[0]: 'malware' is not a tag; allowed is newname, highvolume, badip, cdntracker, likelymalware, "
        "likelybotnetcc, foo, bar, baz, gazonk, frotz, globally_new, newly_registered, "
        "registry_investigation or looptest",
    ),
    (
        "denytapir: { tags: [badip], action: redirect }",
        "denytapir.action: redirect has no target; set services.rpz.redirect to a domain name, or use nxdomain, "
        "nodata, drop, tcp-only or passthru",
    ),
]


@pytest.mark.parametrize(("line", "fault"), DOUBT)
def test_a_fault_in_the_doubtlist_policy(write_config, line, fault):
    rules = {
        "numsources": "numsources: { limit: 2, action: drop }",
        "numtapirtags": "numtapirtags: { limit: 2, action: drop }",
        "denytapir": "denytapir: { tags: [], action: drop }",
    }
    rules.pop(line.partition(":")[0])
    policy = f"policy:\n  denylist: {{ action: drop }}\n  doubtlist:\n    {line}\n    " + "\n    ".join(rules.values())
    assert faults(write_config(policy=policy)) == [f"{POLICY}:4: policy.doubtlist.{fault}"]


def test_all_faults_of_all_files_are_told_at_once_in_their_order(write_config, source_text):
    folder = write_config(
        main="services: { rpz: { zonename: 5, ttl: x } }\ndnsengine:\n  addresses: [nonsense]\nstart-deadline: soon\n",
        sources=source_text(type="grey", filename=None),
        outputs="outputs: { o: { active: true } }",
        policy="policy: { denylist: { action: block } }",
    )
    assert [line.split(": ")[:2] for line in faults(folder)] == [
        [f"{MAIN}:1", "services.rpz.zonename"],
        [f"{MAIN}:1", "services.rpz.ttl"],
        [f"{MAIN}:3", "dnsengine.addresses[0]"],
        [f"{MAIN}:4", "start-deadline"],
        [f"{SOURCES}:2", "sources.x.filename"],
        [f"{SOURCES}:5", "sources.x.type"],
        [f"{OUTPUTS}:1", "outputs.o.downstream"],
        [f"{POLICY}:1", "policy.denylist.action"],
        [f"{POLICY}:1", "policy.doubtlist.numsources.limit"],
        [f"{POLICY}:1", "policy.doubtlist.numsources.action"],
        [f"{POLICY}:1", "policy.doubtlist.numtapirtags.limit"],
        [f"{POLICY}:1", "policy.doubtlist.numtapirtags.action"],
        [f"{POLICY}:1", "policy.doubtlist.denytapir.action"],
    ]


def test_a_missing_folder_and_missing_files(write_config, tmp_path):
    absent = tmp_path / "absent"
    assert faults(absent) == [
        f"{absent}: there is no such folder; allowed is a folder with {MAIN}, {SOURCES}, {OUTPUTS}, {POLICY}, or with "
        "dnstapir-edm.toml for EDM"
    ]
    no_file = "there is no such file; it must exist, and may be empty where nothing in it is needed"
    folder = write_config(main=None, outputs=None)
    assert faults(folder) == [f"{MAIN}: {no_file}", f"{OUTPUTS}: {no_file}"]


UNREADABLE = [
    (b"\xff\xfe", "1: not UTF-8"),
    (b"a: 1\nb: \xff", "2: not UTF-8"),
    (b"a: 1\n\x00", "2: not YAML: special characters are not allowed"),
    (b"just words", "1: a file holds `key: value` lines, and this one something else"),
    (b"- a\n- b", "1: a file holds `key: value` lines, and this one something else"),
    (b"a: b: c", "1: not YAML: mapping values are not allowed here"),
    (
        b"a: 1\n---\nb: 2",
        "2: not YAML: expected a single document in the stream, but found another document (it began in line 1)",
    ),
    (b"a: *nobody", "1: not YAML: found undefined alias 'nobody'"),
    (b"a: [" + b"[" * 5000, "1: not a configuration: it is nested too deeply"),
]


@pytest.mark.parametrize(("octets", "fault"), UNREADABLE)
def test_a_file_that_cannot_be_read_has_one_fault_only(write_config, octets, fault):
    folder = write_config()
    (folder / POLICY).write_bytes(octets)
    assert faults(folder) == [f"{POLICY}:{fault}"]


def test_aliases_cannot_multiply_without_bound(write_config):
    rows = [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    (fault,) = faults(write_config(policy="\n".join(["a: &a [1]", *rows])))
    assert fault.startswith(f"{POLICY}:1: ")
    assert fault.endswith(": more than 100000 values; aliases multiply what they name")
