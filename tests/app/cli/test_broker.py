"""`tapir mqtt` as an operator reads it."""

import json
from typing import Any

import attrs
from rich.console import Console

from tapir.app.cli.broker import render_mqtt
from tapir.model.messages.mqtt import GlobalConfigStatus, MqttStatus, TopicStatus

AT = 1_762_000_000_000_000

STATUS = MqttStatus(
    broker="mqtts://broker.example:8883",
    client_id="pop.example-pop-0a1b2c3d",
    state="connected",
    version="5",
    since=AT,
    trouble="",
    retry_at=None,
    connections=1,
    topics=(
        TopicStatus(
            filter="observations/down/tapir-pop",
            consumer="core",
            qos=1,
            granted=True,
            refused="",
            messages=12,
            octets=3400,
            latest_at=AT,
        ),
        TopicStatus(
            filter="config/down",
            consumer="uplink/global",
            qos=1,
            granted=False,
            refused="not authorized",
            messages=0,
            octets=0,
            latest_at=None,
        ),
    ),
    published=3,
    unacknowledged=4,
    counters=(("received", 12), ("poison", 0)),
)
GLOBAL = GlobalConfigStatus(
    topic="config/down",
    version="7",
    received_at=AT,
    checked_at=AT,
    observation_topic="observations/down/new",
    bootstrap_servers=("192.0.2.9:5455",),
    bootstrap_url="https://%s/api/v1",
    refused=(("replayed", 2),),
    error="version 6 is not greater than 7, which holds",
)


def text(mqtt: MqttStatus | None, found: GlobalConfigStatus | None = None) -> str:
    def plain(value: Any) -> Any:
        return json.loads(json.dumps(attrs.asdict(value))) if value is not None else None

    console = Console(width=140)
    with console.capture() as capture:
        console.print(render_mqtt({"mqtt": plain(mqtt), "global": plain(found)}))
    return capture.get()


def test_a_connection_its_topics_and_the_global_configuration() -> None:
    shown = text(STATUS, GLOBAL)
    for words in (
        "mqtts://broker.example:8883, connected by MQTT 5 since",
        "pop.example-pop-0a1b2c3d",
        "4 not settled, 3 published",
        "counters  received 12\n",
        "version 7",
        "observations from observations/down/new, bootstrap from 192.0.2.9:5455",
        "replayed 2",
        "version 6 is not greater than 7",
    ):
        assert words in shown, words
    lines = [line.split() for line in shown.splitlines()]
    assert ["observations/down/tapir-pop", "core", "1", "yes", "12"] in [line[:5] for line in lines]
    assert ["config/down", "uplink/global", "1", "not", "authorized", "0", "never"] in lines


def test_a_connection_that_is_not_there() -> None:
    away = attrs.evolve(
        STATUS, state="waiting", trouble="nobody listens", retry_at=AT, since=None, topics=(), client_id="", counters=()
    )
    shown = text(away, attrs.evolve(GLOBAL, version="", refused=(), error=""))
    assert "waiting\n" in shown
    assert "trouble   nobody listens" in shown
    assert "client    not known yet" in shown
    assert "counters  none" in shown
    assert "nothing received on config/down, the configuration files hold" in shown
    assert "global" not in text(away)


def test_nothing_needs_a_connection() -> None:
    assert "no MQTT" in text(None)
