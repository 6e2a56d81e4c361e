"""The large fault test in small: all roles, and everything that can go wrong once."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from streams.bench.faults.run import run
from streams.bench.faults.scoring import Scores, compare

KEYS = np.arange(20, dtype=np.uint64).reshape(10, 2)
QUIET = Scores(KEYS, KEYS * np.uint64(7), 10)
NOTHING = dict.fromkeys(
    ("missing", "duplicate", "unknown", "different", "lifecycle_different", "quiet_run_wrong"), 0
)


def test_scores_are_bit_for_bit_those_of_a_quiet_run_whatever_goes_wrong() -> None:
    said: list[str] = []
    result = run(1, 4_000, 3, ("scoring",), (4,), say=said.append)
    (found,) = result["runs"]
    assert found["ok"] and result["ok"], (json.dumps(found), *said)
    assert (found["events"], found["distinct"], found["outputs"]) == (4_080, 4_000, 4_000)
    assert all(found[n] == 1 for n in ("kills", "freezes", "replacements", "broker_crashes"))
    assert found["with_learned_weights"] > 3_000
    assert found["with_champion"] > 20
    assert found["lifecycle_events"] > 5


def test_the_comparison_sees_every_kind_of_fault() -> None:
    assert compare(KEYS, QUIET, QUIET) == NOTHING
    order = np.arange(10)[::-1]
    assert compare(KEYS, QUIET, Scores(KEYS[order], QUIET.values[order], 0)) == NOTHING
    lost = Scores(KEYS[1:], QUIET.values[1:], 0)
    assert compare(KEYS, QUIET, lost) == {**NOTHING, "missing": 1}
    twice = np.r_[np.arange(10), 3]
    doubled = Scores(KEYS[twice], QUIET.values[twice], 0)
    assert compare(KEYS, QUIET, doubled) == {**NOTHING, "duplicate": 1}
    log = (("champion", "trained", "a", "schedule"),)
    assert compare(KEYS, replace(QUIET, lifecycle=log), QUIET) == {
        **NOTHING, "lifecycle_different": 1,
    }  # fmt: skip
    values = QUIET.values.copy()
    values[4, 1] ^= np.uint64(1)
    assert compare(KEYS, QUIET, replace(QUIET, values=values)) == {**NOTHING, "different": 1}
    assert compare(KEYS[1:], QUIET, QUIET) == {**NOTHING, "unknown": 1, "quiet_run_wrong": 1}
