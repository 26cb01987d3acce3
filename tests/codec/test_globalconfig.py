"""The global configuration: as upstream sends it, and all that is wrong with one at once."""

import contextlib
import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.globalconfig import (
    MAX_PAYLOAD,
    MAX_SERVERS,
    MAX_TOPICS,
    BootstrapSettings,
    GlobalConfiguration,
    GlobalConfigurationError,
    TopicSettings,
    encode_global_configuration,
    parse_global_configuration,
)

EXAMPLE = (
    b'{"TapirConfigVersion":"1","Rpz":{"EnvelopeSize":400},\n'
    b' "Bootstrap":{"Servers":["192.0.2.9:5455"],"BaseUrl":"https://%s/api/v1","ApiToken":"s3cret"},\n'
    b' "ObservationTopics":[{"Topic":"observations/down/tapir-pop","PubKeyName":"","PrivKeyName":""}],'
    b'"StatusTopics":[]}'
)
VALUE = GlobalConfiguration(
    version="1",
    envelope_size=400,
    bootstrap=BootstrapSettings(servers=("192.0.2.9:5455",), base_url="https://%s/api/v1", token="s3cret"),
    observation_topics=(TopicSettings(topic="observations/down/tapir-pop"),),
)


def with_bootstrap(**members):
    base = {"Servers": ["192.0.2.9:5455"], "BaseUrl": "https://%s/api/v1", "ApiToken": "s3cret"}
    return json.dumps({"TapirConfigVersion": "1", "Bootstrap": {**base, **members}}).encode()


def with_topics(*topics, member="ObservationTopics"):
    return json.dumps({"TapirConfigVersion": "1", member: topics}).encode()


def problems(data):
    with pytest.raises(GlobalConfigurationError) as caught:
        parse_global_configuration(data)
    assert str(caught.value) == "; ".join(caught.value.problems)
    assert "s3cret" not in str(caught.value)
    return caught.value.problems


def test_upstreams_example():
    assert parse_global_configuration(EXAMPLE) == VALUE
    assert encode_global_configuration(VALUE) == EXAMPLE.replace(b"\n ", b"")
    assert "s3cret" not in repr(VALUE)
    assert VALUE.bootstrap.url_of("192.0.2.9:5455") == "https://192.0.2.9:5455/api/v1"


def test_what_is_not_said_stays():
    least = parse_global_configuration(b'{"tapirconfigversion":"2","bootstrap":{"BaseUrl":"?"},"Rpz":null,"more":[]}')
    assert least == GlobalConfiguration(version="2")
    assert parse_global_configuration(encode_global_configuration(least)) == least


def test_versions_have_an_order():
    texts = ["0", "1", "1.0.1", "1.9", "1.10", "2", "20260101"]
    orders = [attrs.evolve(VALUE, version=text).order for text in texts]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)
    assert attrs.evolve(VALUE, version="1.0.0").order == VALUE.order


@pytest.mark.parametrize("server", ["192.0.2.9:1", "[2001:db8::1]:5455", "pop.example:65535"])
def test_servers(server):
    assert parse_global_configuration(with_bootstrap(Servers=[server])).bootstrap.servers == (server,)


@pytest.mark.parametrize(
    "server",
    [
        "",
        "192.0.2.9",
        "192.0.2.9:0",
        "192.0.2.9:65536",
        "2001:db8::1:53",
        "[192.0.2.9]:1",
        "[::g]:1",
        "a/b:1",
        "a@b:1",
        None,
    ],
)
def test_no_servers(server):
    assert "`Bootstrap.Servers[1]`" in problems(with_bootstrap(Servers=[server]))[0]


@pytest.mark.parametrize(
    "url", ["", "https://pop.example/", "ftp://%s/", "https://%s%s/", "https://x%s/", "https://%s/%d"]
)
def test_no_base_urls(url):
    assert "`Bootstrap.BaseUrl`" in problems(with_bootstrap(BaseUrl=url))[0]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no JSON"),
        (b"[]", "not an object"),
        (b" " * (MAX_PAYLOAD + 1), "octets"),
        (b"{}", "`TapirConfigVersion`"),
        (b'{"TapirConfigVersion":"v1"}', "`TapirConfigVersion`"),
        (b'{"TapirConfigVersion":1}', "`TapirConfigVersion` is a number, not a string"),
        (b'{"TapirConfigVersion":"1","Rpz":[]}', "Rpz is an array, not an object"),
        (b'{"TapirConfigVersion":"1","Rpz":{"EnvelopeSize":-1}}', "`Rpz.EnvelopeSize` is not between"),
        (with_bootstrap(Servers="x"), "`Bootstrap.Servers` is a string, not an array"),
        (with_bootstrap(Servers=[1]), "`Bootstrap.Servers` is a number, not an array of strings"),
        (with_bootstrap(Servers=["192.0.2.9:1"] * (MAX_SERVERS + 1)), "33 servers"),
        (with_bootstrap(ApiToken="s3cret\r\nX: y"), "`Bootstrap.ApiToken`"),
        (with_topics({}), "`ObservationTopics[1].Topic` has 0 characters"),
        (with_topics({"Topic": "a"}, {"Topic": "a/#"}), "`ObservationTopics[2].Topic` has a wildcard"),
        (with_topics({"Topic": "a\0"}, member="StatusTopics"), "`StatusTopics[1].Topic` has characters"),
        (with_topics({"Topic": "\ud800"}), "`ObservationTopics[1].Topic` has characters"),
        (with_topics({"Topic": "a", "PubKeyName": "k" * 2000}), "`PrivKeyName` is longer"),
        (with_topics(*[{"Topic": "a"}] * (MAX_TOPICS + 1)), "33 topics"),
        (with_topics(1), "ObservationTopics[1] is a number, not an object"),
    ],
)
def test_what_is_wrong_is_told(data, told):
    assert told in problems(data)[0]


def test_everything_is_told_at_once():
    data = json.dumps(
        {"Bootstrap": {"Servers": ["x", "192.0.2.9:1", "y"], "ApiToken": "s3cret "}, "StatusTopics": [{"Topic": "+"}]}
    )
    assert len(problems(data.encode())) == 6


TOPICS = st.lists(
    st.builds(TopicSettings, topic=st.sampled_from(["a", "b/c", "é"]), public_key_name=st.text(max_size=5)),
    max_size=MAX_TOPICS,
)


@given(
    st.builds(
        GlobalConfiguration,
        version=st.lists(st.integers(0, 10**17), min_size=1, max_size=5).map(lambda parts: ".".join(map(str, parts))),
        envelope_size=st.integers(0, 2**31 - 1),
        bootstrap=st.none()
        | st.builds(
            BootstrapSettings,
            servers=st.lists(st.sampled_from(["192.0.2.9:1", "[::1]:2"]), min_size=1, max_size=3).map(tuple),
            base_url=st.sampled_from(["http://%s", "https://%s/api/v1"]),
            token=st.from_regex(r"\A[!-~]{0,9}\Z"),
        ),
        observation_topics=TOPICS.map(tuple),
        status_topics=TOPICS.map(tuple),
    )
)
def test_what_is_written_is_read(value):
    assert parse_global_configuration(encode_global_configuration(value)) == value


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Servers", "BaseUrl", "Topic", "topic", "EnvelopeSize"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["TapirConfigVersion", "Rpz", "Bootstrap", "ObservationTopics", "StatusTopics"]), VALUES
    ).map(lambda members: json.dumps(members).encode())
)
def test_any_octets_are_a_configuration_or_refused(data):
    with contextlib.suppress(GlobalConfigurationError):
        assert isinstance(parse_global_configuration(data).order, tuple)
