"""After warming, a real batch compiles nothing more."""

from __future__ import annotations

from typing import Any

from identity_rollups_test import asking
from identity_support import HOUR, START, event, processor, restored, run, workspace

from streams.engine import hashing
from streams.engine.changelog import ChangeRecords
from streams.identity import account_history, dedup, identifiers, rollups

KERNELS: list[Any] = [
    account_history._count,
    dedup._accept,
    identifiers._assign,
    identifiers._sort_entries,
    rollups._merge,
    hashing._hash128,
    hashing._murmur2,
]


def test_a_real_batch_compiles_nothing_after_warming() -> None:
    told: list[Any] = []
    identity = processor(
        workspace("bank"),
        asking("account.events", name="crm"),
        asking("account.leads", state_ttl="1d"),
        observe=told.append,
    )
    identity.warm()
    assert told == []
    before = [len(kernel.signatures) for kernel in KERNELS]
    assert all(before)
    state = identity.new_state()
    people = [{"user_id": str(i % 7), "email": f"{i % 5}@acme.example"} for i in range(300)]
    events = [event(str(i), START + i * HOUR // 9, identifiers=who) for i, who in enumerate(people)]
    run(identity, events[:150], (7,), state)
    run(identity, events[150:], (), restored(identity, state, ChangeRecords()))
    assert [len(kernel.signatures) for kernel in KERNELS] == before
