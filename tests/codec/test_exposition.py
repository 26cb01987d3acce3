import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from tapir.codec.exposition import MetricText, make_families, write_page

TABLE = {
    "b_total": MetricText("What was done.", ("kind",)),
    "a": MetricText("How much there is; with \\ and\nanother line."),
    "c": MetricText("Nobody says it."),
}


def test_a_page_has_what_was_said_in_the_order_of_the_table() -> None:
    samples = [("a", (), 1.5), ("b_total", ('quoted " \\ \n',), 2), ("b_total", ("other",), 3)]
    page, kind = write_page(make_families(TABLE, samples), "")
    assert kind.startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(page.decode()))
    assert [(family.name, family.type) for family in families] == [("b", "counter"), ("a", "gauge")]
    assert [(sample.labels, sample.value) for sample in families[0].samples] == [
        ({"kind": 'quoted " \\ \n'}, 2),
        ({"kind": "other"}, 3),
    ]


def test_of_two_samples_with_the_same_labels_the_last_is_left() -> None:
    (family,) = make_families(TABLE, [("a", (), 1), ("a", (), 2)])
    assert [sample.value for sample in family.samples] == [2]


def test_what_is_not_in_the_table_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="not in the table of metrics: d, e"):
        list(make_families(TABLE, [("e", (), 1), ("d", (), 1), ("a", (), 1)]))


def test_two_pages_share_nothing() -> None:
    more = Gauge("more", "Another.", registry=None)
    more.set(7)
    first, _ = write_page(make_families(TABLE, [("a", (), 1)]), "", more=[more])
    second, kind = write_page(make_families(TABLE, []), "application/openmetrics-text; version=1.0.0")
    assert b"more 7.0" in first
    assert second == b"# EOF\n"
    assert kind.startswith("application/openmetrics-text")
    assert not list(CollectorRegistry().collect())
