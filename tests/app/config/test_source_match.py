"""`match` of a source: what it may be, and that it reaches the reader."""

import pytest

from tapir.app.config import ConfigErrors, load
from tapir.app.mapping import file_settings


@pytest.mark.parametrize(
    ("keys", "match"),
    [({}, "exact"), ({"match": "Subtree"}, "subtree"), ({"match": "exact"}, "exact"), ({"active": "false"}, "exact")],
)
@pytest.mark.parametrize("form", ["domains", "csv"])
def test_a_plain_name_is_exact_unless_the_source_says_otherwise(write_config, source_text, keys, match, form):
    (source,) = load(write_config(sources=source_text(format=form, **keys))).sources
    assert source.match == match


def test_another_word_is_an_error(write_config, source_text):
    folder = write_config(sources=source_text(match="suffix"))
    with pytest.raises(ConfigErrors) as caught:
        load(folder)
    (error,) = caught.value.errors
    assert str(error).endswith("sources.x.match: 'suffix' is not allowed; allowed is exact or subtree")


def test_the_reader_is_told(write_config, source_text):
    config = load(write_config(sources=source_text(match="subtree")))
    assert file_settings(config.sources[0], zone=config.zone.name).reading.match == "subtree"
