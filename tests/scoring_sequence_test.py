"""Distinct values and sequences go the whole way: events in, rows of labels out, state kept."""

from __future__ import annotations

import msgspec
import numpy as np
from scoring_support import CATALOGUE, HOUR, START, Scoring, config, contents, event, target

from models.features.catalogue import Behaviour

BEHAVIOUR = Behaviour(("visit", "call"), (7.0,), distinct=("url", "plan"), sequence=True)
WIDE = msgspec.structs.replace(CATALOGUE, behaviour=BEHAVIOUR)


def stream() -> list[dict[str, object]]:
    urls = ["https://a.example/1", "https://a.example/2", "https://a.example/1", None]
    return [
        event(
            f"e{n}", n % 3, START + n * HOUR, "call" if n % 4 == 3 else "visit",
            url=urls[n % 4], texts={"plan": f"p{n % 5}"},
        )
        for n in range(24)
    ]  # fmt: skip


def test_labels_hold_them_and_cuts_do_not_change_the_state() -> None:
    wanted = config("acme", target(stage_kinds=("call",)), catalogue=WIDE)
    won = [event(f"won{n}", n, START + 30 * HOUR, "won") for n in range(3)]
    whole = Scoring(wanted)
    whole.feed(*stream(), *won)
    parts = Scoring(wanted).cut([*stream(), *won], [1, 7, 8, 20])
    assert contents(parts.state).keys() == contents(whole.state).keys()
    leads = [contents(s.state)["leads/acme"] for s in (whole, parts)]
    assert leads[0] == leads[1]
    rows = [np.array(label["features"], np.float32) for label in whole.labels()]
    assert len(rows) > 6
    names = WIDE.column_names
    last = {name: rows[-1][names.index(name)] for name in names}
    assert last["distinct.url"] == 2
    assert last["distinct.plan"] > 2
    assert last["sequence.last"] == 1  # a call
    assert 0 < last["sequence.same"] < 1
