"""A champion's way into use and out of it: the same however labels are cut, and after a restart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import sigmoid
from models.lifecycle.evidence import Judged
from models.lifecycle.history import LifecycleEvent, slot_history
from models.lifecycle.settings import GateSettings, LifecycleSettings
from models.lifecycle.states import Slot
from models.lifecycle.transitions import LEARNER, Command, Transition

GATE = GateSettings(draws=200, blocks=20, min_labels=100, min_positives=5)
SETTINGS = LifecycleSettings(
    shadow_labels=200, canary_labels=100, watch_labels=400, keep_former=3, gate=GATE
)
BAD, FAIR, GOOD = 0.0, 0.6, 1.0  # how much of the truth a version knows


def labels(count: int, seed: int = 0, **versions: float) -> Judged:
    """Labels whose true logit each version knows by its share."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(-1, 1.5, count)
    wrong = -1 + 1.5 * generator.normal(size=count)
    logits = {name: know * truth + (1 - know) * wrong for name, know in versions.items()}
    outcomes = generator.random(count) < sigmoid(truth)
    return Judged(outcomes, np.arange(count), logits, generator.integers(0, 2, count))


def in_use(version: str = "one", settings: LifecycleSettings = SETTINGS) -> Slot:
    """A slot with a champion, promoted by hand."""
    slot = Slot(settings)
    slot.trained(version)
    slot.command(Command("promote", version, "ann"))
    return slot


def said(made: list[Transition]) -> list[tuple[str, str]]:
    return [(step.action, step.version) for step in made]


def test_a_better_challenger_goes_through_shadow_and_canary_into_use() -> None:
    slot = in_use()
    slot.request_refit("alarm")
    assert slot.refit_wanted == "alarm"
    made = slot.trained("two", {"auc": 0.7}, {"digest": "d"})
    assert said(made) == [("trained", "two"), ("shadow", "two")]
    assert (made[0].reason, made[0].figures, made[0].details) == (
        "alarm", {"auc": 0.7}, {"digest": "d"},
    )  # fmt: skip
    assert slot.refit_wanted is None
    assert slot.judged_versions == ("one", "two")
    data = labels(1_000, one=FAIR, two=GOOD)
    part = [Judged(data.outcomes[a:b], data.row_times[a:b],
                   {v: x[a:b] for v, x in data.logits.items()})
            for a, b in ((0, 199), (199, 200), (200, 300))]  # fmt: skip
    assert slot.observe(part[0]) == []
    assert slot.state_of("two") == "shadow"
    assert slot.canary is None
    assert said(slot.observe(part[1])) == [("gated", "two"), ("canary", "two")]
    assert slot.canary == ("two", SETTINGS.canary_share)
    made = slot.observe(part[2])
    assert said(made) == [("gated", "two"), ("promoted", "two"), ("retired", "one")]
    assert made[1].details == {"from": "canary", "former": "one"}
    assert made[1].labels == 300
    assert (slot.champion, slot.challenger, slot.canary) == ("two", None, None)
    assert slot.state_of("one") == "retired"


def test_a_worse_challenger_ends_in_shadow_with_the_reasons() -> None:
    slot = in_use()
    slot.trained("two")
    made = slot.observe(labels(300, one=GOOD, two=BAD))
    assert said(made) == [("gated", "two"), ("retired", "two")]
    assert made[0].details["gate"] == "failed"
    assert "log_loss" in made[0].details["failed"]
    assert "log-loss" in made[0].reason
    assert made[0].figures["log_loss_difference"] > 0
    assert (slot.champion, slot.challenger) == ("one", None)


def test_a_first_champion_must_beat_a_constant() -> None:
    slot = Slot(SETTINGS)
    slot.trained("one")
    assert said(slot.observe(labels(300, one=BAD)))[-1] == ("retired", "one")
    slot.trained("two")
    assert said(slot.observe(labels(300, two=GOOD)))[-1] == ("promoted", "two")


def test_a_champion_that_is_worse_than_the_former_one_is_rolled_back() -> None:
    slot = in_use()
    slot.trained("two")
    slot.command(Command("promote", "two", "ann", "I know better"))
    assert slot.judged_versions == ("two", "one")
    made = slot.observe(labels(400, one=GOOD, two=BAD))
    assert said(made) == [("rolled_back", "one"), ("retired", "two")]
    assert made[0].labels == 100  # at the first of four looks
    assert made[0].figures["log_loss_difference_low"] > 0
    assert slot.champion == "one"
    assert slot.judged_versions == ("one",)


def test_a_champion_that_holds_is_watched_no_longer() -> None:
    slot = in_use()
    slot.trained("two")
    slot.command(Command("promote", "two", "ann"))
    assert slot.observe(labels(400, one=FAIR, two=GOOD)) == []
    assert slot.judged_versions == ("two",)


def test_without_automatic_rollback_there_is_an_alarm() -> None:
    settings = LifecycleSettings(watch_labels=400, rollback_on_regression=False, gate=GATE)
    slot = in_use(settings=settings)
    slot.trained("two")
    slot.command(Command("promote", "two", "ann"))
    assert said(slot.observe(labels(400, one=GOOD, two=BAD))) == [("alarm", "two")]
    assert slot.champion == "two"


def test_a_person_promotes_where_that_is_asked_for() -> None:
    slot = in_use(settings=LifecycleSettings(200, 0.1, 100, auto_promote=False, gate=GATE))
    slot.trained("two")
    made = slot.observe(labels(2_000, one=BAD, two=GOOD))
    assert said(made) == [("gated", "two"), ("canary", "two"), ("gated", "two")]
    assert slot.ready
    assert slot.canary is not None
    assert slot.champion == "one"
    promoted, _ = slot.command(Command("promote", "two", "ann"))
    assert (promoted.actor, promoted.reason) == ("ann", "promote by ann")
    assert "gate" not in promoted.details


def test_states_can_be_skipped() -> None:
    slot = in_use(settings=LifecycleSettings(0, 0.1, 0, gate=GATE))
    assert said(slot.trained("two")) == [("trained", "two"), ("promoted", "two"),
                                         ("retired", "one")]  # fmt: skip


def test_a_gate_on_held_out_labels_ends_a_challenger_before_its_shadow() -> None:
    slot = in_use()
    slot.trained("two")
    slot.observe(labels(150, one=GOOD, two=BAD))
    failed = slot.report()
    assert failed is not None
    assert said(slot.trained("three", held_out=failed)) == [
        ("trained", "three"), ("retired", "two"), ("gated", "three"), ("retired", "three"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (Command("rollback"), "no former champion"),
        (Command("promote", "nine"), "version nine is not kept here. Fix: name one of one"),
        (Command("promote"), "needs a version"),
        (Command("promote", "one"), "champion already"),
        (Command("retire", "nine"), "not kept"),
        (Command("rollback", champion="zero"), "one is in use by now, not zero"),
    ],
)
def test_a_command_that_cannot_be_done_changes_nothing_and_says_why(
    command: Command, expected: str
) -> None:
    slot = in_use()
    (refused,) = slot.command(command)
    assert refused.action == "refused"
    assert expected in refused.reason
    assert slot.refusal(command) is not None
    assert (slot.champion, slot.kept_versions) == ("one", ("one",))


def test_rollback_goes_back_step_by_step_and_what_was_left_may_come_back() -> None:
    slot = in_use("one")
    for version in ("two", "three"):
        slot.trained(version)
        slot.command(Command("promote", version, "ann"))
    for version in ("two", "one"):
        slot.command(Command("rollback", actor="ann"))
        assert slot.champion == version
    assert set(slot.kept_versions) == {"one", "two", "three"}
    slot.command(Command("promote", "three", "ann"))
    assert slot.champion == "three"


def test_retiring_the_champion_empties_the_slot_until_it_is_rolled_back() -> None:
    slot = in_use()
    assert said(slot.command(Command("retire", "one", "ann"))) == [("retired", "one")]
    assert slot.champion is None
    assert said(slot.command(Command("rollback", actor="ann"))) == [("rolled_back", "one")]
    assert slot.champion == "one"


def test_evidence_begins_anew_when_the_incumbent_changes() -> None:
    slot = in_use("one")
    slot.trained("two")
    slot.command(Command("promote", "two", "ann"))
    slot.trained("three")
    slot.observe(labels(90, one=FAIR, two=FAIR, three=GOOD))
    slot.command(Command("rollback", actor="ann"))
    assert slot.report() is None
    assert slot.challenger == "three"
    assert slot.observe(labels(199, one=FAIR, three=GOOD)) == []
    assert said(slot.observe(labels(1, one=FAIR, three=GOOD)))[0] == ("gated", "three")


def test_only_so_many_former_versions_are_kept() -> None:
    slot = in_use("v0")
    for index in range(1, 9):
        slot.trained(f"v{index}")
        slot.command(Command("promote", f"v{index}", "ann"))
    assert set(slot.kept_versions) == {"v8", "v7", "v6", "v5"}
    for index in range(8):
        slot.trained(f"w{index}")
    assert len(slot.kept_versions) == 1 + 1 + 3 + 3


def test_the_same_model_again_is_no_challenger() -> None:
    slot = in_use("one")
    assert said(slot.trained("one")) == [("refused", "one")]
    assert slot.challenger is None


def test_a_refit_is_wanted_until_a_training_answers() -> None:
    slot = in_use("one")
    assert slot.command(Command("refit", actor="ann", reason="new prices")) == []
    slot.request_refit("schedule")
    assert slot.refit_wanted == "new prices"
    (refused,) = slot.command(Command("refit", actor="bob"))
    assert "under way" in refused.reason
    (failed,) = slot.training_failed("too few labels")
    assert (failed.action, failed.actor) == ("refused", "ann")
    assert slot.refit_wanted is None
    slot.request_refit("schedule")
    trained = slot.trained("two")[0]
    assert (trained.reason, trained.actor) == ("schedule", LEARNER)


VERSIONS = {"one": FAIR, "two": GOOD, "three": BAD, "four": GOOD}


def play(cuts: list[int], restart: bool) -> tuple[list[Transition], bytes]:
    """A story of 1,600 labels with a training or command at fixed places, labels cut anywhere."""
    data = labels(1_600, 3, **VERSIONS)
    acts = {
        0: lambda slot: slot.trained("one"),
        350: lambda slot: slot.trained("two"),
        700: lambda slot: slot.trained("three"),
        720: lambda slot: slot.command(Command("promote", "three", "ann")),
        1_000: lambda slot: slot.trained("four"),
        1_150: lambda slot: slot.command(Command("rollback", actor="ann")),
    }
    places = sorted({*cuts, *acts, 1_600})
    slot, made = Slot(SETTINGS, ("small", "large")), []
    for start, stop in pairwise(places):
        if start in acts:
            made += acts[start](slot)
        if restart:
            again = Slot(SETTINGS, ("small", "large"))
            again.restore(slot.snapshot())
            slot = again
        part = slice(start, stop)
        made += slot.observe(
            Judged(
                data.outcomes[part],
                data.row_times[part],
                {version: data.logits[version][part] for version in slot.judged_versions},
                data.segments[part],
            )
        )
    return made, slot.snapshot()


WHOLE = play([], False)


def test_the_story_has_every_kind_of_step() -> None:
    assert {step.action for step in WHOLE[0]} == {
        "trained", "shadow", "gated", "canary", "promoted", "retired", "rolled_back",
    }  # fmt: skip
    assert [step.number for step in WHOLE[0]] == list(range(1, len(WHOLE[0]) + 1))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 1_600), max_size=12), st.booleans())
def test_cuts_and_restarts_change_no_bit(cuts: list[int], restart: bool) -> None:
    assert play(cuts, restart) == WHOLE


NAMES = [f"v{index}" for index in range(6)]
ACTS = st.one_of(
    st.tuples(st.just("train"), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["promote", "retire"]), st.sampled_from(NAMES)),
    st.tuples(st.just("rollback"), st.none()),
    st.tuples(st.just("labels"), st.integers(1, 60)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTS, max_size=40), st.integers(0, 99), st.booleans())
def test_whatever_happens_the_log_tells_the_same_story_as_the_slot(
    acts: list[tuple], seed: int, auto: bool
) -> None:
    gate = GateSettings(draws=100, blocks=10, min_labels=10, min_positives=1)
    declared = LifecycleSettings(
        shadow_labels=30, canary_labels=20, auto_promote=auto, watch_labels=40, keep_former=2,
        rollback_confidence=0.6, rollback_margin=0.0, gate=gate,
    )  # fmt: skip
    slot, log = Slot(declared), []
    for at, (act, what) in enumerate(acts):
        before = slot.champion
        if act == "train":
            made = slot.trained(what)
        elif act == "labels":
            data = labels(what, seed + at, **dict.fromkeys(NAMES, FAIR))
            made = slot.observe(data)
        else:
            made = slot.command(Command(act, what, "ann"))
        log += [LifecycleEvent.of(step, "bank", "conversion", at) for step in made]
        if slot.champion != before:
            assert {step.action for step in made} & {"promoted", "rolled_back", "retired"}
        assert slot.challenger is None or slot.challenger != slot.champion
        history = slot_history(log)
        assert (history.champion, history.challenger) == (slot.champion, slot.challenger)
        for version in slot.kept_versions:
            assert history.states[version] == slot.state_of(version)
        assert len(slot.kept_versions) <= 2 + 2 + 2
    assert [event.number for event in log] == list(range(1, len(log) + 1))


def test_a_foreign_or_damaged_snapshot_is_refused() -> None:
    from models.online.interface import pack_arrays

    slot = Slot(SETTINGS)
    for data in (b"", pack_arrays({"kind": "affine"}, {}), pack_arrays(
        {"kind": "champion_slot", "state": {"champion": 3}}, {}
    )):  # fmt: skip
        with pytest.raises(ValueError, match="snapshot"):
            slot.restore(data)


def test_states_too_short_for_the_gate_are_refused() -> None:
    with pytest.raises(ValueError, match="could never pass"):
        LifecycleSettings(shadow_labels=50)
