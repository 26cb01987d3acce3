from typing import Any

from rich.text import Text

from tapir.app.cli.render_api import render_api


def listener(**members: Any) -> dict[str, Any]:
    told = {"address": "127.0.0.1:9099", "surface": "api", "tls": False, "listening": True, "error": ""}
    return {**told, **members}


def plain(api: Any) -> list[str]:
    return [line.plain for line in render_api(api) if isinstance(line, Text)]


def test_it_says_where_it_listens_and_where_not():
    api = {
        "certificate_error": "",
        "listeners": [
            listener(),
            listener(address="192.0.2.1:5455", surface="bootstrap", tls=True),
            listener(address="192.0.2.9:9099", listening=False, error="Cannot assign requested address"),
        ],
    }
    assert plain(api) == [
        "management API: 127.0.0.1:9099 (api), 192.0.2.1:5455 (bootstrap, tls)",
        "  cannot listen on 192.0.2.9:9099: Cannot assign requested address",
    ]


def test_it_says_what_is_wrong_with_the_certificate():
    api = {"certificate_error": "the certificate is broken", "listeners": [listener(listening=False, error="e")]}
    assert plain(api) == [
        "management API: listens nowhere",
        "  cannot listen on 127.0.0.1:9099: e",
        "  the certificate is broken",
    ]


def test_it_says_nothing_where_there_is_nothing():
    assert plain(None) == plain({"error": "no answer"}) == plain({"listeners": [], "certificate_error": ""}) == []
