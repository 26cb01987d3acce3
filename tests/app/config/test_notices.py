"""What stops nothing is told all the same, with its place."""

import pytest

from tapir.app.config import ConfigErrors, load

MAIN = "dnstapir-pop.yaml"
SOURCES = "pop-sources.yaml"
OUTPUTS = "pop-outputs.yaml"
POLICY = "pop-policy.yaml"


def notices(folder) -> list[str]:
    return [
        f"{'warning' if notice.warning else 'notice'} {notice}".replace(f"{folder}/", "")
        for notice in load(folder).notices
    ]


MORE = [
    ("apiserver: { active: false }", []),
    ("bootstrapserver: { active: no }", []),
    ("tapir: {}", []),
    ("keystore: { path: keys.json }", []),
    ("cli: { tapir-pop: { url: x, anything: [1] } }", []),
    ("certs: { certdir: c, cacertfile: d, cert: e, key: f, tapir-pop: { cert: g, key: h } }", []),
    ("service: { maxrefresh: 900, reset_soa_serial: true, debug: false }", []),
    ("external: { filedir: a, tmpdir: b }", []),
    ("src: { style: classic }", []),
    (
        "tapir: { mqtt: { server: mqtts://broker.example, qos: 0 } }",
        [
            "notice {MAIN}:6: tapir.mqtt.server: no connection is made: no active source, `tapir.config` or "
            "`tapir.status` needs it"
        ],
    ),
    ("apiserver: { active: true, key: secret }", []),
    ("bootstrapserver: { name: boot }", []),
    (
        "log:\n  file: a.log\ntapir: { mqtt: { logfile: b.log } }",
        [
            "notice {MAIN}:7: log.file: the log goes to stderr only; with `log.to-files: true` also to log.file, "
            "tapir.mqtt.logfile",
        ],
    ),
    ("logg: {}", ["warning {MAIN}:6: logg: unknown key, ignored; did you mean `log`?"]),
    ("log: { levell: info }", ["warning {MAIN}:6: log.levell: unknown key, ignored; did you mean `level`?"]),
    (
        "serialcache: here",
        ["warning {MAIN}:6: serialcache: unknown key, ignored; did you mean `services.rpz.serialcache`?"],
    ),
    (
        "log: { whatever: 1 }",
        [
            "warning {MAIN}:6: log.whatever: unknown key, ignored; known in log: debug, file, filedir, format, level, "
            "mode, to-files, verbose"
        ],
    ),
    ("zzz: { a: [1, { b: c }] }", ["warning {MAIN}:6: zzz: unknown key, ignored"]),
    ("start_deadline: 5", ["warning {MAIN}:6: start_deadline: unknown key, ignored; did you mean `start-deadline`?"]),
    (
        "sources: { a: { active: true } }",
        ["warning {MAIN}:6: sources: ignored here: sources are read from pop-sources.yaml only"],
    ),
    (
        "policy: { denylist: { action: drop } }",
        ["warning {MAIN}:6: policy.denylist.action: ignored: {POLICY}:2 sets it too, and counts"],
    ),
]


@pytest.mark.parametrize(("more", "expected"), MORE)
def test_notices_on_the_main_file(write_config, more, expected):
    folder = write_config(more=more + "\n")
    assert notices(folder) == [line.format(MAIN=MAIN, POLICY=POLICY) for line in expected]


def test_refreshengine_is_accepted_and_ignored(write_config):
    main = """\
services:
  rpz: { zonename: dnstapir. }
  refreshengine: { active: false, name: old }
dnsengine: { active: true, addresses: [] }
"""
    assert notices(write_config(main=main)) == [
        f"notice {MAIN}:3: services.refreshengine.active: accepted and ignored: there is no such engine to switch off, "
        "every source looks after itself",
        f"warning {MAIN}:4: dnsengine.addresses: empty, so that the zone is served nowhere",
    ]


def test_an_output_that_may_not_transfer(write_config):
    folder = write_config(
        main="services: { rpz: { zonename: z. } }\ndnsengine: { addresses: ['127.0.0.1:53'], allow-transfer: ['::1'] }",
        outputs="outputs: { o: { active: true, downstream: 192.0.2.53 } }",
    )
    assert notices(folder) == [
        f"warning {MAIN}:2: dnsengine.allow-transfer: leaves out 192.0.2.53, which outputs.o notifies and which may "
        "not transfer"
    ]


SOURCE = [
    (
        {"filename": "names.txt"},
        "notice {SOURCES}:8: sources.x.filename: there is no file {folder}/names.txt yet; the source waits for it",
    ),
    (
        {"filename": "../config"},
        "warning {SOURCES}:8: sources.x.filename: {folder}/../config is a folder; the source waits until it is a file",
    ),
    ({"filname": "a"}, "warning {SOURCES}:9: sources.x.filname: unknown key, ignored; did you mean `filename`?"),
    ({"required": "true"}, "warning {SOURCES}:9: sources.x.required: counts for allowlists only; this is a denylist"),
    (
        {"source": "xfr", "upstream": "192.0.2.1", "zone": "feed.example"},
        "warning {SOURCES}:7: sources.x.format: is not looked at: what is transferred is rpz, and not 'domains'",
    ),
    (
        {"column": "name"},
        "warning {SOURCES}:9: sources.x.column: counts for files of format csv only; this one is domains",
    ),
    (
        {"active": "false", "type": "grey"},
        "warning {SOURCES}:5: sources.x.type: 'grey' is not allowed; allowed is allowlist, denylist or doubtlist",
    ),
]


@pytest.mark.parametrize(("keys", "expected"), SOURCE)
def test_notices_on_a_source(write_config, source_text, keys, expected):
    folder = write_config(sources=source_text(**keys))
    if "there is no file" not in expected:
        (folder / "names.txt").touch()
    expected = expected.format(SOURCES=SOURCES, folder=folder).replace(f"{folder}/", "")
    assert expected in notices(folder)
    assert len(notices(folder)) == 1


OUTPUT = [
    ("{ downstream: 192.0.2.1 }", "active: missing, so this output is not active; allowed is true or false"),
    (
        "{ active: true, format: json, downstream: nonsense }",
        "format: 'json' is not supported, this output is ignored; allowed is rpz",
    ),
    (
        "{ active: true, format: RPZ, downstream: '192.0.2.53:53' }",
        "downstream: outputs.first has this address too; it is notified once",
    ),
]


def test_a_source_cannot_well_be_called_zone(write_config, source_text):
    folder = write_config(sources=source_text().replace("  x:", "  zone:"))
    (folder / "names.txt").touch()
    assert notices(folder) == [
        f"warning {SOURCES}:2: sources.zone: `tapir accept zone` is about the zone, so what the brake holds of this "
        "source cannot be accepted; give it another id"
    ]


@pytest.mark.parametrize(("entry", "expected"), OUTPUT)
def test_notices_on_an_output(write_config, entry, expected):
    folder = write_config(outputs=f"outputs:\n  first: {{ active: true, downstream: 192.0.2.53 }}\n  second: {entry}\n")
    assert notices(folder) == [f"warning {OUTPUTS}:3: outputs.second.{expected}"]
    assert [output.id for output in load(folder).outputs] == ["first"]


def test_redirect_without_a_target_is_a_warning_while_its_rule_cannot_fire(write_config):
    policy = """\
policy:
  allowlist: { action: drop }
  denylist: { action: drop }
  doubtlist:
    numsources: { limit: 1, action: drop }
    numtapirtags: { limit: 1, action: drop }
    denytapir: { tags: [], action: REDIRECT }
"""
    assert notices(write_config(policy=policy)) == [
        f"warning {POLICY}:2: policy.allowlist.action: DROP is never applied: what is allowed is not in the zone",
        f"warning {POLICY}:7: policy.doubtlist.denytapir.action: redirect has no target; set services.rpz.redirect to "
        "a domain name before the first tag is named; until then it does nothing",
    ]


def test_notices_come_with_faults_too(write_config):
    with pytest.raises(ConfigErrors) as caught:
        load(write_config(more="logg: {}\nlog: 5\n"))
    assert [notice.key for notice in caught.value.notices] == ["logg"]
    assert str(caught.value) == "\n".join(caught.value.lines)
