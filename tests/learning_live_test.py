"""Under ``live`` weights go out every 100 labels, every half second, and as each epoch ends."""

from __future__ import annotations

from learning_support import FIRST, Learning, epoch_end, label
from scoring_support import restored

from streams.engine.changelog import ChangeRecords
from streams.learning.processor import PUBLISH_EVERY_US


def live() -> Learning:
    run = Learning(policy="live")
    run.now_us = 1_000_000_000_000
    run.feed(epoch_end(FIRST - 1))
    run.out.records.clear()
    return run


def learned(run: Learning) -> list[int]:
    return [w["labels_learned"] for w in run.weights()]


def test_a_hundred_labels_are_published_at_once() -> None:
    run = live()
    run.feed(*[label(n) for n in range(99)])
    assert learned(run) == []
    run.feed(label(99))
    assert learned(run) == [100]
    run.feed(*[label(n) for n in range(100, 199)])
    assert learned(run) == [100]


def test_a_label_waits_half_a_second_at_most_while_others_come() -> None:
    run = live()
    run.feed(label(1))
    assert learned(run) == []
    run.now_us += PUBLISH_EVERY_US
    run.feed(label(2))
    assert learned(run) == [2]
    run.feed(label(3))
    run.now_us += PUBLISH_EVERY_US - 1
    run.feed(label(4))
    assert learned(run) == [2]


def test_a_label_waits_half_a_second_at_most_when_no_other_comes() -> None:
    run = live()
    assert run.punctuate() is None
    run.feed(label(1))
    run.now_us += PUBLISH_EVERY_US - 1
    assert run.punctuate() is None
    run.now_us += 1
    assert run.punctuate() is not None
    assert learned(run) == [1]
    run.now_us += 9_000_000
    assert run.punctuate() is None


def test_a_restart_keeps_what_was_learned_by_the_clock() -> None:
    plain, log = live(), ChangeRecords()
    plain.feed(label(1))
    plain.now_us += PUBLISH_EVERY_US
    plain.punctuate()
    after = live()
    after.state = restored(plain.processor, plain.state, log)
    after.offset, after.now_us = plain.offset, plain.now_us
    for run in (plain, after):
        run.feed(label(2), epoch_end(FIRST))
    assert after.weights()[-1]["weights"] == plain.weights()[-1]["weights"]
    assert learned(after)[-1] == 2


def test_versions_in_between_keep_the_epoch_and_ends_name_theirs() -> None:
    run = live()
    run.feed(*[label(n) for n in range(100)])
    run.feed(label(100), epoch_end(FIRST))
    assert [(w["version"], w["epoch"]) for w in run.weights()] == [(2, FIRST - 1), (3, FIRST)]


def test_nothing_is_published_without_labels() -> None:
    run = live()
    run.now_us += 60_000_000
    assert not run.feed().records


def test_a_restart_between_publications_loses_no_label() -> None:
    plain, restarted, log = live(), live(), ChangeRecords()
    for number in range(0, 250, 50):
        rows = [label(n) for n in range(number, number + 50)]
        for run in (plain, restarted):
            run.feed(*rows)
        restarted.state = restored(restarted.processor, restarted.state, log)
    assert learned(plain) == [100, 200]
    assert repr(restarted.weights()) == repr(plain.weights())
    assert repr(restarted.metrics()) == repr(plain.metrics())


def test_what_warms_a_worker_is_what_it_will_get() -> None:
    run = live()
    run.processor.warm()
    run.feed(label(1))
