"""What the log hears of the connection: each trouble once, and once that it works again."""

import logging
from typing import Any

from tapir.transport.mqtt.settings import DAY
from tapir.transport.mqtt.states import Connected, Lost, Trouble

Log = logging.Logger | logging.LoggerAdapter[Any]


class Voice:
    """Told of every state, it says what is news; what comes and goes stays one trouble until the connection `holds`."""

    def __init__(self, log: Log, *, broker: str, client_id: str, resumes: bool) -> None:
        """`resumes`: the broker should have a session of ours already."""
        self._log = log
        self._broker = broker
        self._client_id = client_id
        self._resumes = resumes
        self._connected_once = False
        self._said: set[str] = set()
        self._refused: set[tuple[str, str]] = set()

    def lost(self, state: Lost) -> None:
        """There is no connection, or no longer."""
        if state.trouble is Trouble.RENEWED:
            self._log.info("%s: the connection is made anew, since its certificates changed", self._broker)
        else:
            self.trouble(state.trouble.value, state.text)

    def trouble(self, kind: str, text: str) -> None:
        """Something is wrong; said once for each `kind` until it works again."""
        if kind not in self._said:
            self._said.add(kind)
            self._log.warning("MQTT: %s; it is tried again, and nothing that the broker keeps is lost", text)

    def connected(self, state: Connected) -> None:
        """The broker answered our subscriptions, now or again."""
        if not self._connected_once:
            self._log.info("connected with %s as %s, MQTT %s", self._broker, self._client_id, state.version)
            if state.session_expiry < DAY and state.version == 5:
                self._log.warning(
                    "%s keeps what comes while we are away for %d s only", self._broker, state.session_expiry
                )
        if self._resumes and not state.session_present and "session" not in self._said:
            self._said.add("session")
            self._log.warning(
                "%s has forgotten our session: what came while we were away may be lost; sources that can bootstrap "
                "should be refreshed",
                self._broker,
            )
        self._connected_once = self._resumes = True
        refused = set(state.refused)
        for topic_filter, why in sorted(refused - self._refused):
            self._log.warning("%s refuses the subscription to %s: %s", self._broker, topic_filter, why)
        for topic_filter, _ in sorted(self._refused - refused):
            self._log.info("%s grants the subscription to %s now", self._broker, topic_filter)
        self._refused = refused

    def holds(self) -> None:
        """The connection has held for a while."""
        if self._said:
            self._said.clear()
            self._log.info("MQTT works again: connected with %s as %s", self._broker, self._client_id)
