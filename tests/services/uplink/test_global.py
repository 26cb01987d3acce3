"""The global configuration: verified, remembered, applied, and never played again."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trio.testing import MockClock

from actors import ActorError
from actors.testing import run_actor
from tapir.codec.globalconfig import BootstrapSettings, GlobalConfiguration, TopicSettings, encode_global_configuration
from tapir.codec.jose import SigningKey, parse_keystore, parse_signing_key, sign_flattened
from tapir.codec.jose.base64url import encode_base64url
from tapir.model.messages.mqtt import GetGlobalConfig, GlobalConfigStatus, MqttBlock
from tapir.services.uplink.global_config import GlobalConfigKeeper, GlobalSettings
from tapir.services.uplink.global_reading import ConfigurationRefused, judge
from tapir.store.errors import StoreCorrupt
from tapir.store.learned import Learned, read_learned, write_learned

TOKEN = "s3cret-token"


def make_key(kid: str = "core") -> tuple[SigningKey, bytes]:
    """A key, and the keystore document with its public half."""
    private = Ed25519PrivateKey.generate()
    public = {
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": kid,
        "x": encode_base64url(private.public_key().public_bytes_raw()).decode(),
    }
    document = {**public, "d": encode_base64url(private.private_bytes_raw()).decode()}
    return parse_signing_key(json.dumps(document).encode()), json.dumps({"keys": [public]}).encode()


def configuration(version: str, topic: str = "observations/down/new") -> GlobalConfiguration:
    return GlobalConfiguration(
        version=version,
        bootstrap=BootstrapSettings(servers=("192.0.2.9:5455",), base_url="https://%s/api/v1", token=TOKEN),
        observation_topics=(TopicSettings(topic=topic),),
    )


def signed(key: SigningKey, found: GlobalConfiguration) -> bytes:
    return sign_flattened(encode_global_configuration(found), key)


# -- judging


@pytest.mark.parametrize(
    ("version", "held", "reason"),
    [
        ("2", "1", None),
        ("1.10", "1.9", None),
        ("1", "1", "repeated"),
        ("1.0", "1", "replayed"),  # the same order, other words
        ("1", "2", "replayed"),
        ("1.9", "1.10", "replayed"),
    ],
)
def test_only_a_greater_version_is_taken(version: str, held: str, reason: str | None) -> None:
    key, document = make_key()
    message, keystore = signed(key, configuration(version)), parse_keystore(document)
    if reason is None:
        accepted = judge(message, keystore, held=configuration(held))
        assert (accepted.configuration.version, accepted.signers) == (version, ("core",))
        assert TOKEN not in repr(accepted)
    else:
        with pytest.raises(ConfigurationRefused) as caught:
            judge(message, keystore, held=configuration(held))
        assert caught.value.reason == reason


def test_what_is_wrong_has_its_reason() -> None:
    key, document = make_key()
    other, _ = make_key()
    keystore = parse_keystore(document)
    cases = {
        "malformed": b"{",
        "bad-signature": signed(other, configuration("1")),
        "unknown-kid": signed(make_key("else")[0], configuration("1")),
        "invalid": sign_flattened(b'{"TapirConfigVersion":"one"}', key),
        "too-large": b"{" + b" " * (1 << 20),
    }
    for reason, message in cases.items():
        with pytest.raises(ConfigurationRefused) as caught:
            judge(message, keystore, held=None)
        assert caught.value.reason == reason
        assert TOKEN not in str(caught.value)


# -- remembering


def test_what_was_learned_is_remembered_and_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "global.json"
    assert read_learned(path) is None
    found = configuration("1")
    learned = Learned(configuration=found, payload=encode_global_configuration(found), received_at=17)
    write_learned(path, learned)
    assert read_learned(path) == learned
    assert path.stat().st_mode & 0o777 == 0o600
    assert TOKEN not in repr(learned)
    good = path.read_text()
    for wrong in (good.replace("17", "-1"), good.replace('"payload":"e', '"payload":"f'), good.replace("sha256", "x")):
        path.write_text(wrong)
        with pytest.raises(StoreCorrupt):
            read_learned(path)


# -- the actor


class Stage:
    """A keeper with a session that is a probe, and what it had applied."""

    def __init__(self, folder: Path) -> None:
        self.key, document = make_key()
        self.keystore = folder / "keys.json"
        self.keystore.write_bytes(document)
        self.settings = GlobalSettings(
            consumer="uplink/global", topic="config", keystore=self.keystore, store_path=folder / "global.json"
        )
        self.applied: list[str] = []
        self.failing = False
        self.blocks = 0

    async def apply(self, learned: Learned) -> None:
        self.applied.append(learned.configuration.version)
        if self.failing:
            raise ActorError("a source does not stop")

    def keeper(self, session: Any) -> Callable[[], GlobalConfigKeeper]:
        apply: Callable[[Learned], Awaitable[None]] = self.apply
        return lambda: GlobalConfigKeeper(
            self.settings, session=session, learned=lambda: read_learned(self.settings.store_path), apply=apply
        )

    def block(self, *messages: bytes) -> MqttBlock:
        self.blocks += 1
        return MqttBlock(id=self.blocks, topics=("config",) * len(messages), payloads=messages)


class Ears:
    """Stands for the session: keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def tell(self, message: Any) -> None:
        self.heard.append(message)

    @property
    def settled(self) -> list[int]:
        return [block for message in self.heard for block in getattr(message, "blocks", ())]


async def status(running: Any) -> GlobalConfigStatus:
    found = await running.ref.ask(GetGlobalConfig())
    assert isinstance(found, GlobalConfigStatus)
    return found


async def test_a_configuration_is_remembered_applied_and_settled(tmp_path: Path, autojump_clock: MockClock) -> None:
    stage, ears = Stage(tmp_path), Ears()
    async with run_actor(stage.keeper(ears)) as running:
        assert type(ears.heard[0]).__name__ == "ConsumeAgain"
        assert (await status(running)).version == ""
        await running.ref.tell(stage.block(signed(stage.key, configuration("1"))))
        found = await status(running)
        assert (found.version, found.observation_topic, found.error) == ("1", "observations/down/new", "")
        assert found.bootstrap_servers == ("192.0.2.9:5455",)
        assert TOKEN not in repr(found)
        assert (stage.applied, ears.settled) == (["1"], [1])
    # After a restart it holds, and cannot be played again.
    async with run_actor(stage.keeper(ears)) as running:
        assert (await status(running)).version == "1"
        await running.ref.tell(stage.block(signed(stage.key, configuration("1"))))
        await running.ref.tell(stage.block(signed(stage.key, configuration("0.9"))))
        found = await status(running)
        assert found.refused == (("repeated", 1), ("replayed", 1))
        assert "0.9 is not greater than 1" in found.error
    assert (stage.applied, ears.settled) == (["1"], [1, 2, 3])


async def test_of_several_the_last_good_one_is_applied(tmp_path: Path, autojump_clock: MockClock) -> None:
    stage, ears = Stage(tmp_path), Ears()
    async with run_actor(stage.keeper(ears)) as running:
        versions = ("3", "1", "5", "4")
        await running.ref.tell(stage.block(b"junk", *(signed(stage.key, configuration(v)) for v in versions)))
        found = await status(running)
        assert (found.version, found.refused) == ("5", (("malformed", 1), ("replayed", 2)))
    assert stage.applied == ["5"]


async def test_without_keys_messages_wait(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    stage, ears = Stage(tmp_path), Ears()
    good = stage.keystore.read_bytes()
    stage.keystore.unlink()
    async with run_actor(stage.keeper(ears)) as running:
        await running.ref.tell(stage.block(signed(stage.key, configuration("1"))))
        await trio.sleep(1000)
        assert "keys.json" in (await status(running)).error
        assert ears.settled == []
        stage.keystore.write_bytes(good)
        await trio.sleep(31)
        assert ((await status(running)).version, ears.settled) == ("1", [1])
        # From then on the last good keys serve.
        stage.keystore.write_bytes(b"{")
        await running.ref.tell(stage.block(signed(stage.key, configuration("2"))))
        assert (await status(running)).version == "2"
    assert len([record for record in caplog.records if "messages wait" in record.getMessage()]) == 1


async def test_what_cannot_be_remembered_is_not_applied(tmp_path: Path, autojump_clock: MockClock) -> None:
    stage, ears = Stage(tmp_path), Ears()
    async with run_actor(stage.keeper(ears)) as running:
        stage.settings.store_path.mkdir()
        await running.ref.tell(stage.block(signed(stage.key, configuration("1"))))
        assert "cannot be remembered" in (await status(running)).error
        assert (stage.applied, ears.settled) == ([], [])
        stage.settings.store_path.rmdir()
        await trio.sleep(31)
        assert (stage.applied, ears.settled) == (["1"], [1])


async def test_what_could_not_be_applied_everywhere_is_said(tmp_path: Path, autojump_clock: MockClock) -> None:
    stage, ears = Stage(tmp_path), Ears()
    stage.failing = True
    async with run_actor(stage.keeper(ears)) as running:
        await running.ref.tell(stage.block(signed(stage.key, configuration("1"))))
        assert "not every part goes by version 1 yet" in (await status(running)).error
    assert ears.settled == [1]
    learned = read_learned(stage.settings.store_path)
    assert learned is not None
    assert learned.configuration.version == "1"
