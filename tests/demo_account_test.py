"""The demo's books: nothing missing and nothing twice can hide behind equal sums."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streams.demo.account import Account
from streams.demo.latency import Latencies
from streams.demo.scrape import parse

TARGETS = {"bank": ["conversion"], "shop": ["conversion", "churn"]}
EVENTS = st.tuples(st.sampled_from(sorted(TARGETS)), st.sampled_from("abcdef"))


def test_a_loss_and_a_double_do_not_cancel_out() -> None:
    account = Account({"bank": ["conversion"]})
    account.sent("bank", ["a", "b"])
    account.scored([("bank", "a", "conversion")] * 2)
    found = account.delivery()
    assert (found.events, found.scores, found.missing, found.duplicate) == (2, 1, 1, 1)
    assert not found.holds


def test_every_target_of_an_event_is_expected() -> None:
    account = Account(TARGETS)
    account.sent("shop", ["a"])
    account.scored([("shop", "a", "churn")])
    assert account.missing == 1
    account.scored([("shop", "a", "conversion")])
    assert account.delivery().holds


@given(st.lists(st.tuples(st.booleans(), EVENTS, st.sampled_from(["conversion", "churn"]))))
def test_the_account_equals_counting_afterwards(
    steps: list[tuple[bool, tuple[str, str], str]],
) -> None:
    account = Account(TARGETS)
    sent: set[tuple[str, str]] = set()
    read: Counter[tuple[str, str, str]] = Counter()
    for is_sent, (workspace, event), target in steps:
        if is_sent:
            account.sent(workspace, [event])
            sent.add((workspace, event))
        else:
            account.scored([(workspace, event, target)])
            read[workspace, event, target] += 1
    expected = {(w, e, t) for w, e in sent for t in TARGETS[w]}
    found = account.delivery()
    assert found.events == len(sent)
    assert found.expected == len(expected)
    assert found.missing == len(expected - read.keys())
    assert found.scores == len(expected & read.keys())
    assert found.duplicate == read.total() - found.scores  # twice, or never sent


@given(st.permutations(range(6)))
def test_latency_does_not_depend_on_which_topic_is_read_first(order: list[int]) -> None:
    latencies = Latencies()
    for step in order:
        event, is_score = f"e{step // 2}", step % 2
        if is_score:
            latencies.scored([event], [2_000 + 10 * (step // 2)])
        else:
            latencies.appended([event], [2_000])
    assert latencies.figures() == (10.0, 19.8)
    assert latencies.figures(last_s=0.005) == (20.0, 20.0)


def test_there_is_no_latency_before_a_score() -> None:
    latencies = Latencies()
    latencies.appended(["a"], [1])
    assert latencies.figures() is None


def test_figures_are_summed_up_from_a_metrics_page() -> None:
    page = """\
# TYPE leadstream_events_in counter
leadstream_events_in_total{role="identity"} 12.0
# TYPE leadstream_events_out counter
leadstream_events_out_total{role="identity",topic="lead.timeline"} 10.0
leadstream_events_out_total{role="identity",topic="opportunities"} 2.0
# TYPE leadstream_lag_records gauge
leadstream_lag_records{role="identity",topic="crm.events"} 3.0
leadstream_lag_records{role="identity",topic="web.events"} 4.0
"""
    found = parse(page)
    assert (found.events_in, found.events_out, found.lag) == (12, 12, 7)
    assert parse("").lag is None
