"""What enrolment writes starts, with only the edits that the guide asks for.

The texts below are rendered as the reference implementation's `enroll` renders its templates: indent 4, plain
substitution, and a marker that is a YAML comment wherever the registry gave no value.
"""

import pytest

from tapir.app.config import ConfigErrors, SocketAddress, load
from tapir.model.actions import Action, ListKind
from tapir.model.names import parse_name

MARK = "### EDIT! {} not found in the enrolment response"
CERTS = "/nowhere/certs"

ANSWERED = {
    "ConfigTopic": "config/down/tapir-pop",
    "StatusTopic": "status/up/node.example/tapir-pop",
    "ObservationsTopic": "observations/down/tapir-pop",
    "MqttBroker": "mqtts://mqtt.dnstapir.example:8883",
}
NOT_ANSWERED = {key: MARK.format(key) for key in ANSWERED}

MAIN = """\
dnsengine:
    addresses: [ ### EDIT! e.g. 127.0.0.1:5359 ]
    active: true
    name: TAPIR-POP DNS Engine
    logfile: /var/log/dnstapir/pop-dnsengine.log
cli:
    tapir-pop:
        url: https://127.0.0.1:9099/api/v1
        tlsurl: https://127.0.0.1:9098/api/v1
        apikey: be-nice-to-a-bad-tempered-tapir
apiserver:
    active: true
    name: TAPIR-POP API Server
    key: be-nice-to-a-bad-tempered-tapir
    addresses: [ 0.0.0.0:9099 ]
    tlsaddresses: [ 0.0.0.0:9098 ]
bootstrapserver:
    active: true
    name: TAPIR-POP Bootstrapserver
    addresses: [ 0.0.0.0:5454 ]
    tlsaddresses: [ 0.0.0.0:5455 ]
services:
    reaper:
        interval: 60
    rpz:
        zonename: dnstapir.
        serialcache: /etc/dnstapir/pop/rpz-serial.yaml
    refreshengine:
        active: true
        name: TAPIR-POP Source Refresher
keystore:
    path: {certs}/validation-keys.json
tapir:
    mqtt:
        logfile: /var/log/dnstapir/pop-mqtt.log
        server: {MqttBroker}
        cacert: {certs}/ca.crt
        clientcert: {certs}/tls.crt
        clientkey: {certs}/tls.key
        qos: 0
    config:
        topic: {ConfigTopic}
        active: true
    status:
        topic: {StatusTopic}
        signingkey: {certs}/datakey-priv.json
certs:
    certdir: {certs}
    cacertfile: {certs}/ca.crt
    tapir-pop:
        cert: {certs}/tls.crt
        key: {certs}/tls.key
log:
    file: /var/log/dnstapir/dnstapir-pop.log
    verbose: true
    debug: true
"""

SOURCES = """\
sources:
    tapir1:
        active: true
        name: dns-tapir
        description: DNS TAPIR main intelligence feed
        type: doubtlist
        source: mqtt
        topic: {ObservationsTopic}
        format: tapir-msg-v1
        bootstrap: []
        bootstrapurl: https://%s/api/v1
        bootstrapkey: be-nice-to-a-bad-tempered-tapir
"""

OUTPUTS = """\
outputs:
    rpz1:
        downstream: ### EDIT! ip:port that NOTIFY goes to
        active: true
"""

POLICY = """\
policy:
    logfile: /var/log/dnstapir/pop-policy.log
    allowlist:
        action: PASSTHRU
    denylist:
        action: NODATA
    doubtlist:
        numsources:
            limit: 2
            action: NXDOMAIN
        numtapirtags:
            limit: 3
            action: NXDOMAIN
        denytapir:
            tags: []
            action: REDIRECT
"""


@pytest.fixture
def enrol(write_config):
    """Writes the files of an enrolment; `edits` are the replacements that the operator makes."""

    def write(values: dict[str, str], *edits: tuple[str, str]):
        texts = {"main": MAIN, "sources": SOURCES, "outputs": OUTPUTS, "policy": POLICY}
        for key, text in texts.items():
            for name, value in {**values, "certs": CERTS}.items():
                text = text.replace(f"{{{name}}}", value)
            for old, new in edits:
                text = text.replace(old, new)
            texts[key] = text
        return write_config(**texts)

    return write


ADDRESSES = ("[ ### EDIT! e.g. 127.0.0.1:5359 ]", "[ 127.0.0.1:5359 ]")
DOWNSTREAM = ("### EDIT! ip:port that NOTIFY goes to", "192.0.2.53:53")


def test_what_enrolment_could_not_fill_in_is_asked_for(enrol):
    with pytest.raises(ConfigErrors) as caught:
        load(enrol(NOT_ANSWERED, ADDRESSES, DOWNSTREAM))
    asked = [fault.key for fault in caught.value.errors]
    assert asked[:2] == ["tapir.mqtt.server", "tapir.config.topic"]


def test_the_files_of_an_enrolment_start_with_the_two_edits_of_the_guide(enrol):
    folder = enrol(ANSWERED, ADDRESSES, DOWNSTREAM)
    config = load(folder)
    assert config.zone.name == parse_name("dnstapir.")
    assert str(config.serial_cache) == "/etc/dnstapir/pop/rpz-serial.yaml"
    assert config.server.addresses == (SocketAddress("127.0.0.1", 5359),)
    assert [output.address for output in config.outputs] == [SocketAddress("192.0.2.53", 53)]
    assert config.policy.denylist_action is Action.NODATA
    (source,) = config.sources
    assert (source.id, source.name, source.kind, source.supported) == ("tapir1", "dns-tapir", ListKind.DOUBT, True)
    assert config.log.level == "debug"


def test_what_an_enrolled_operator_is_told(enrol):
    folder = enrol(ANSWERED, ADDRESSES, DOWNSTREAM)
    assert [(notice.place.file.name, notice.place.line, notice.key) for notice in load(folder).notices] == [
        ("dnstapir-pop.yaml", 14, "apiserver.key"),
        ("dnstapir-pop.yaml", 29, "services.refreshengine.active"),
        ("dnstapir-pop.yaml", 37, "tapir.mqtt.cacert"),
        ("dnstapir-pop.yaml", 38, "tapir.mqtt.clientcert"),
        ("dnstapir-pop.yaml", 39, "tapir.mqtt.clientkey"),
        ("dnstapir-pop.yaml", 40, "tapir.mqtt.qos"),
        ("dnstapir-pop.yaml", 54, "log.file"),
        ("pop-policy.yaml", 16, "policy.doubtlist.denytapir.action"),
    ]


def test_the_unedited_files_say_what_to_edit(enrol):
    folder = enrol(ANSWERED)
    with pytest.raises(ConfigErrors) as caught:
        load(folder)
    main, outputs = caught.value.lines
    assert main == (
        f"{folder}/dnstapir-pop.yaml:4: not YAML: while parsing a flow sequence, expected ',' or ']', but got ':' (it "
        "began in line 2); line 2 still has the mark `### EDIT`: put the value there and take the mark away"
    )
    assert outputs == (
        f"{folder}/pop-outputs.yaml:3: outputs.rpz1.downstream: has no value; edit it: needed is the address that "
        "NOTIFY goes to, IP:port, such as 192.0.2.53:53"
    )
