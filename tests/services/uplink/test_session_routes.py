"""Topic filters matched as a broker matches them, and what came counted by subscription."""

import pytest

from tapir.services.uplink.session_routes import Routes, matches
from tapir.services.uplink.session_settings import MqttSubscription


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a", False),
        ("a", "a/b", False),
        ("a/b", "A/b", False),
        # the examples of MQTT 5 §4.7.1.2 and §4.7.1.3
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "anything/at/all", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("+/b/#", "a/b", True),
        # §4.7.2
        ("#", "$SYS/x", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        # §4.8.2
        ("$share/pops/a/+", "a/b", True),
        ("$share/pops/a/+", "b/b", False),
    ],
)
def test_a_filter_matches_as_the_standard_says(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


def test_routes() -> None:
    one = MqttSubscription(filter="a/+", consumer="x", qos=0)
    two = MqttSubscription(filter="a/b", consumer="y", qos=1)
    three = MqttSubscription(filter="a/+", consumer="z", qos=1)
    again = MqttSubscription(filter="a/#", consumer="x", qos=0)
    routes = Routes((one, two, three, again, one))
    assert routes.consumers == ("x", "y", "z")
    assert [(each.topic_filter, each.qos) for each in routes.wanted] == [("a/+", 1), ("a/b", 1), ("a/#", 0)]
    assert routes.find("a/b", 10, at=5) == ("x", "y", "z")
    assert routes.find("a/c", 1, at=6) == ("x", "z")
    assert routes.find("b", 1, at=7) == ()
    found = routes.traffic(one)
    assert (found.messages, found.octets, found.latest_at) == (2, 11, 6)
    changed = routes.changed((one, MqttSubscription(filter="c", consumer="y")))
    assert changed.traffic(one).messages == 2
    assert changed.find("a/b", 1, at=8) == ("x",)


def test_topics_without_end_are_not_remembered_without_end() -> None:
    routes = Routes((MqttSubscription(filter="a/+", consumer="x"),))
    for number in range(5000):
        assert routes.find(f"a/{number}", 1, at=0) == ("x",)
    assert len(routes._known) <= 4096


def test_what_is_no_filter_is_refused() -> None:
    with pytest.raises(Exception, match="#"):
        MqttSubscription(filter="a/#/b", consumer="x")
