"""One spelling for what means the same, and never a change where nothing is gained."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from identity_support import event, processor, run

from streams.identity import normalise


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("HTTPS://Shop.Example:443/Cart?id=7#top", "https://shop.example/Cart?id=7"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:8080/", "http://shop.example:8080/"),
        ("https://shop.example:80/", "https://shop.example:80/"),
        ("https://a.example/?utm_source=x", "https://a.example/"),
        (
            "https://a.example/p?b=1&UTM_Medium=x&gclid=2&c=3&fbclid=9",
            "https://a.example/p?b=1&c=3",
        ),
        ("https://a.example/p?gclid", "https://a.example/p"),
        ("https://a.example/p?gclidx=1&my_utm_a=2", "https://a.example/p?gclidx=1&my_utm_a=2"),
        ("https://Ada:pass@a.example/p", "https://a.example/p"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/ä"),
        ("http://[2001:DB8::1]:8080/p", "http://[2001:db8::1]:8080/p"),
        (" https://a.example/p%20q ", "https://a.example/p%20q"),
        ("/cart?utm_source=x&id=7#top", "/cart?id=7"),
        ("not a url", "not a url"),
        ("http://[broken", "http://[broken"),
        ("http://a.example:port/", "http://a.example:port/"),
        ("", ""),
    ],
)
def test_urls(given: str, expected: str) -> None:
    assert normalise.normal_url(given) == expected
    assert normalise.urls(pa.array([given, None, given])).to_pylist() == [expected, None, expected]


URLS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["http://", "https://", "HTTP://", "ftp://", "", " https://"]),
        st.sampled_from(["a.example", "A.example", "a-b.c", "x:80", "x:443", "-a", "u@a", "ä.de"]),
        st.text("/aA?&=#.utm_gclid% ", max_size=12),
        st.sampled_from(["", "?utm_a=1", "?gclid=1&b", "?b&fbclid", "#x", "?", "&utm_x"]),
    ),
)


@given(st.lists(URLS, min_size=1, max_size=20))
def test_columns_of_urls_are_normalised_as_single_ones_are(urls: list[str]) -> None:
    expected = [normalise.normal_url(url) for url in urls]
    assert normalise.urls(pa.array(urls)).to_pylist() == expected


@given(URLS)
@example("http://a.example? #x")
@example("http://a.example?utm_a=1& ")
def test_a_normal_url_stays_as_it_is(url: str) -> None:
    once = normalise.normal_url(url)
    assert normalise.normal_url(once) == once


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (" Ada.Lovelace+x@Acme.Example ", "ada.lovelace+x@acme.example"),
        ("ÄDA@Bücher.Example", "äda@xn--bcher-kva.example"),
        ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
        ("Ada", "ada"),
        ("Ä", "ä"),
        (f"ada@{'ü' * 80}.example", f"ada@{'ü' * 80}.example"),
    ],
)
def test_emails(given: str, expected: str) -> None:
    found = normalise.emails(normalise.trimmed(pa.array([given, "x@y.example", given])))
    assert found.to_pylist() == [expected, "x@y.example", expected]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=10))
def test_columns_of_emails_are_normalised_as_single_ones_are(texts: list[str]) -> None:
    column = normalise.trimmed(pa.array(texts))
    assert normalise.emails(column).to_pylist() == [
        normalise.normal_email(text) for text in column.to_pylist()
    ]


def test_time_zones_are_counted_not_trusted() -> None:
    zones = [
        "Europe/Berlin",
        None,
        "Mars/Base",
        "Mars/Base",
        "../etc/passwd",
        "",
        "x" * 5000,
        "a\0b",
    ]
    assert normalise.unknown_time_zones(pa.array(zones)) == 6
    assert normalise.unknown_time_zones(pa.nulls(3, pa.string())) == 0


def test_timeline_events_carry_the_normal_forms_and_everything_else_as_it_came() -> None:
    events = [
        event(
            "1",
            url="HTTPS://A.example/p?utm_source=x",
            currency=" eur",
            amount_minor=1999,
            numbers={"price": 0.1, "pages": 3.0},
            texts={"campaign": " Spring ", "empty": ""},
            stage="Offer ",
            source="crm/Main",
        ),
        event("2"),
    ]
    one, two = run(processor(), events).timeline()
    assert one["url"] == "https://a.example/p"
    assert (one["currency"], one["amount_minor"]) == ("EUR", 1999)
    assert one["numbers"] == [("price", 0.1), ("pages", 3.0)]
    assert one["texts"] == [("campaign", " Spring "), ("empty", "")]
    assert (one["stage"], one["source"], one["kind"]) == ("Offer ", "crm/Main", "page_view")
    assert (one["source_topic"], one["source_partition"], one["source_offset"]) == (
        "web.events",
        2,
        0,
    )
    assert (two["url"], two["currency"], two["amount_minor"], two["stage"]) == (None,) * 4
    assert (two["other_lead_id"], two["record_kind"]) == (None, "event")
