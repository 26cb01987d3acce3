"""How the session stands, as `tapir mqtt` and the management API show it."""

from tapir.codec.mqtt.packets import FAILURE
from tapir.model.messages.mqtt import MqttStatus, TopicStatus
from tapir.services.uplink.session_desk import Desk
from tapir.services.uplink.session_life import Life
from tapir.services.uplink.session_routes import Routes
from tapir.services.uplink.session_settings import MqttSettings, MqttSubscription
from tapir.transport.mqtt.states import Statistics


def describe_session(settings: MqttSettings, routes: Routes, desk: Desk, life: Life) -> MqttStatus:
    """All that is known now; nothing is waited for."""
    statistics = life.client.statistics() if life.client is not None else Statistics()
    return MqttStatus(
        broker=str(settings.broker),
        client_id=life.client_id,
        state=life.state,
        version=life.version,
        since=life.since,
        trouble=life.trouble,
        retry_at=life.retry_at,
        connections=statistics.connections,
        topics=tuple(_topic(subscription, routes, life) for subscription in routes.subscriptions),
        published=statistics.acknowledged,
        unacknowledged=max(statistics.unacknowledged, desk.held),
        counters=(
            ("received", statistics.received),
            ("repeated", statistics.repeated),
            ("blocks", desk.counters["blocks"]),
            ("held", desk.held),
            ("unwanted", desk.counters["unwanted"]),
            ("poison", desk.counters["poison"]),
            ("abandoned", desk.counters["abandoned"]),
            ("takeovers", life.takeovers),
            ("publish-refused", statistics.refused),
            ("publish-resent", statistics.resent),
            ("publish-waiting", statistics.waiting),
            ("octets-in", statistics.octets_in),
            ("octets-out", statistics.octets_out),
        ),
    )


def _topic(subscription: MqttSubscription, routes: Routes, life: Life) -> TopicStatus:
    traffic = routes.traffic(subscription)
    code = life.answers.get(subscription.filter)
    return TopicStatus(
        filter=subscription.filter,
        consumer=subscription.consumer,
        qos=subscription.qos,
        granted=None if code is None else code < FAILURE,
        refused=life.refusals.get(subscription.filter, ""),
        messages=traffic.messages,
        octets=traffic.octets,
        latest_at=traffic.latest_at,
    )
