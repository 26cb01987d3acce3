"""The client's life: made, connected, made anew for other settings, switched off and on; and how it stands.

One task runs it, so that there are never two clients of one identifier, which would throw each other out.
"""

import random
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import attrs
import trio

from actors import Context
from tapir.codec.mqtt.packets import Subscription
from tapir.services.uplink.session_files import TlsFiles, common_name
from tapir.services.uplink.session_settings import BrokerSettings, MqttSettings
from tapir.services.uplink.session_voice import Voice
from tapir.store.broker import BrokerSession, read_session, write_session
from tapir.store.errors import StoreError
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.dial import Dial, MakeContext, broker_dial
from tapir.transport.mqtt.states import Connected, Connecting, Lost, State, Trouble
from tapir.transport.tls import TlsError

_MICROSECONDS: Final = 1_000_000

Dialler = Callable[[BrokerSettings, MakeContext | None], Dial]
"""Makes the way to a broker; the second calls for TLS."""


class Life:
    """`begin` once; `pull` takes the messages of each client, and is cancelled with it."""

    def __init__(
        self,
        settings: MqttSettings,
        *,
        dial: Dialler | None,
        pull: Callable[[Context[Any], MqttClient], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._make_dial = dial
        self._pull = pull
        self._wanted: tuple[Subscription, ...] = ()
        self._ctx: Context[Any] | None = None
        self._scope: trio.CancelScope | None = None
        self._switched = trio.Event()
        self._ended = trio.Event()
        self._ending = False
        self._files: TlsFiles | None = None
        self._voice: Voice | None = None
        self._stored: BrokerSession | None = None
        self._saving = self._unsaved = False
        self._look = trio.Event()
        self._writing = trio.Lock()
        self._reconnected_at = float("-inf")
        self._connected_since: float | None = None
        self.active = True
        self.client: MqttClient | None = None
        self.client_id = ""
        self.state = "connecting"
        self.version = ""
        self.since: int | None = None
        self.trouble = ""
        self.retry_at: int | None = None
        self.answers: dict[str, int] = {}
        self.refusals: dict[str, str] = {}
        self.takeovers = 0

    def begin(self, ctx: Context[Any], wanted: tuple[Subscription, ...]) -> None:
        """Connect and stay so, in a task of the actor."""
        self._ctx = ctx
        self._wanted = wanted
        self.since = ctx.now()
        ctx.start_soon(self._run, ctx, name="connection")

    async def end(self) -> None:
        """Say goodbye; returns when that is done, which is soon."""
        self._ending = True
        self._switch()
        await self._ended.wait()

    def set_active(self, active: bool, *, restart: bool = False) -> str:
        """Connect, or not; returns a sentence."""
        was, self.active = self.active, active
        if active and was and not restart:
            return f"MQTT is on already, {self.state}"
        self._switch()
        if not active:
            return "MQTT is off until it is switched on again, or tapir restarts; the broker keeps what comes meanwhile"
        return "MQTT is restarted" if was else "MQTT is on"

    def configure(self, settings: MqttSettings, wanted: tuple[Subscription, ...]) -> None:
        """Go by these settings; only another broker, or another way to it, makes another client."""
        old, self._settings = self._settings, settings
        resubscribes, self._wanted = wanted != self._wanted, wanted
        self._look.set()
        if settings.broker != old.broker or settings.state_path != old.state_path:
            self._switch()
        elif resubscribes and self.client is not None:
            self._save()  # what is new before it is subscribed to, so that it is known after a crash
            self.client.subscribe(wanted)

    def tick(self) -> None:
        """Time went by: a connection that held for long is a good one."""
        since = self._connected_since
        if since is not None and trio.current_time() - since >= self._settings.settled_after and self._voice:
            self._voice.holds()

    # -- the one task

    async def _run(self, ctx: Context[Any]) -> None:
        try:
            while not self._ending:
                if not self.active:
                    self._note(ctx, "off")
                    await self._switched.wait()
                self._switched = trio.Event()
                if self.active and not self._ending:
                    with trio.CancelScope() as self._scope:
                        await self._connect(ctx)
                    self._scope = self.client = self._connected_since = None
        finally:
            self._ended.set()

    def _switch(self) -> None:
        self._switched.set()
        if self._scope is not None:
            self._scope.cancel()

    async def _connect(self, ctx: Context[Any]) -> None:
        broker = self._settings.broker
        self._note(ctx, "connecting")
        self._files = TlsFiles(broker) if broker.tls else None
        stored = await self._remember(ctx)
        name = await self._name(ctx, broker)
        self.client_id = f"{name}-{self._settings.role}-{stored.suffix}"
        self._voice = Voice(ctx.log, broker=str(broker), client_id=self.client_id, resumes=stored.known)
        client = MqttClient(
            broker.client(self.client_id),
            dial=self._dial(ctx, broker),
            random=random.Random(),  # noqa: S311 - for the jitter
            subscriptions=self._wanted,
            former_filters=stored.filters,
            report=partial(self._report, ctx),
        )
        await self._write(ctx, self._session())
        async with trio.open_nursery() as nursery:
            self.client = client
            client.subscribe(self._wanted)  # they may have changed while the files were read
            nursery.start_soon(self._pull, ctx, client)
            if self._files is not None:
                nursery.start_soon(self._watch, ctx, client, self._files)
            await client.run()

    def _dial(self, ctx: Context[Any], broker: BrokerSettings) -> Dial:
        make_context = self._files.context if self._files is not None else None
        if self._make_dial is not None:
            return self._make_dial(broker, make_context)
        return broker_dial(broker.host, broker.port, make_context=make_context, in_thread=ctx.run_blocking)

    # -- what the client tells

    def _report(self, ctx: Context[Any], state: State) -> None:
        self.retry_at = None
        match state:
            case Connecting():
                # The reason why the last one ended stands until there is a connection.
                self._note(ctx, "connecting", trouble=self.trouble)
            case Lost():
                self._connected_since = None
                self.takeovers += state.trouble is Trouble.TAKEN_OVER
                self._note(ctx, "waiting", trouble="" if state.trouble is Trouble.RENEWED else state.text)
                self.retry_at = ctx.now() + round(state.retry_in * _MICROSECONDS)
                if self._voice is not None:
                    self._voice.lost(state)
            case Connected():
                if self._connected_since is None:
                    self._connected_since = trio.current_time()
                    self._note(ctx, "connected")
                self.version = str(state.version)
                self.answers = {sub.topic_filter: code for sub, code in state.answers}
                self.refusals = dict(state.refused)
                if self._voice is not None:
                    self._voice.connected(state)
                self._save()

    def _note(self, ctx: Context[Any], state: str, *, trouble: str = "") -> None:
        if state != self.state:
            self.since = ctx.now()
        self.state, self.trouble = state, trouble

    # -- what is remembered

    async def _remember(self, ctx: Context[Any]) -> BrokerSession:
        """How we are called; made up where nothing says it."""
        if self._stored is None:
            try:
                self._stored = await ctx.run_blocking(read_session, self._settings.state_path)
            except StoreError as exc:
                ctx.log.warning("%s; we connect under a new identifier, and what the broker kept is lost", exc)
        if self._stored is None:
            self._stored = BrokerSession(suffix=secrets.token_hex(4))
        return self._stored

    def _session(self) -> BrokerSession:
        assert self._stored is not None  # noqa: S101 - read before anything is subscribed to
        wanted = {subscription.topic_filter for subscription in self._wanted}
        answered = self.state == "connected" and set(self.answers) == wanted
        return attrs.evolve(
            self._stored,
            filters=tuple(sorted(wanted if answered else wanted | set(self._stored.filters))),
            known=self._stored.known or self.state == "connected",
        )

    def _save(self) -> None:
        self._unsaved = True
        if not self._saving and self._ctx is not None and not self._ending:
            self._saving = True
            self._ctx.start_soon(self._save_filters, self._ctx, name="save")

    async def _save_filters(self, ctx: Context[Any]) -> None:
        """Remember what the broker's session may be subscribed to: what was and what is wanted, until it answered."""
        try:
            while self._unsaved:
                self._unsaved = False
                await self._write(ctx, self._session())
        finally:
            self._saving = False

    async def _write(self, ctx: Context[Any], session: BrokerSession) -> None:
        path = self._settings.state_path
        async with self._writing:
            try:
                if session != self._stored or not await ctx.run_blocking(path.exists):
                    await ctx.run_blocking(write_session, path, session)
            except (StoreError, OSError) as exc:
                if self._voice is not None:
                    self._voice.trouble("state", f"{exc}; after a restart the broker may not know us again")
            self._stored = session

    # -- certificates

    async def _name(self, ctx: Context[Any], broker: BrokerSettings) -> str:
        """What our client identifier begins with; without the certificate there is no connection anyway."""
        if broker.certificate is None:
            return "tapir"
        said = ""
        while True:
            try:
                return await ctx.run_blocking(common_name, broker.certificate)
            except TlsError as exc:
                self._note(ctx, "waiting", trouble=str(exc))
                if str(exc) != said:
                    said = str(exc)
                    ctx.log.warning("MQTT: %s; it is looked for again every %g s", exc, self._settings.file_interval)
            await trio.sleep(self._settings.file_interval)

    async def _watch(self, ctx: Context[Any], client: MqttClient, files: TlsFiles) -> None:
        """Have a new connection when the files changed and are good for one."""
        seen = refused = None
        while True:
            with trio.move_on_after(self._settings.file_interval):
                await self._look.wait()
            reloaded, self._look = self._look.is_set(), trio.Event()
            signs = await ctx.run_blocking(files.signs)
            used = files.used
            if used is None or signs in (used.signs, refused):
                continue
            if signs != seen and not reloaded:
                seen = signs  # whoever replaces them may not be done: once more, and unchanged
                continue
            material = await ctx.run_blocking(files.look)
            if material.digest == used.digest and used.digest:
                files.used = material
                continue
            why = await ctx.run_blocking(files.try_out)
            if why:
                refused = signs
                ctx.log.warning("the new files for MQTT cannot be used: %s; the connection stays as it is", why)
                continue
            wait = self._reconnected_at + self._settings.reconnect_interval - trio.current_time()
            if wait > 0:
                await trio.sleep(wait)
            self._reconnected_at = trio.current_time()
            client.reconnect()
