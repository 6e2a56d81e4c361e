"""A worker that says it is ready compiles nothing any more; seen from a process of its own."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def _kernels() -> dict[str, int]:
    """Compiled versions of each kernel of ours."""
    from numba.core.registry import CPUDispatcher

    kernels = [d for d in gc.get_objects() if isinstance(d, CPUDispatcher)]
    named = {f"{d.py_func.__module__}.{d.py_func.__name__}": len(d.signatures) for d in kernels}
    return {n: count for n, count in named.items() if n.split(".")[0] in ("streams", "models")}


def _main() -> None:
    import numpy as np
    from learning_support import FIRST, Learning, epoch_end, label
    from msgspec import structs
    from scoring_support import DAY, START, Scoring, config, restored, story, target, tick

    from streams.engine.changelog import ChangeRecords
    from streams.engine.warm import warm

    back = structs.replace(target("back", 3.0), retraction_kinds=("call",))
    later = config("acme", target("conversion"), target("again", every_days=2.0), back)
    scoring, learning = Scoring(later), Learning(policy="live")
    warm()
    scoring.processor.warm()
    learning.processor.warm()
    before = _kernels()

    scoring.publish(1, quantiles=np.linspace(-1, 1, 101).tolist())
    scoring.cut(story(3, 120, 20), [40, 80])
    scoring.state = restored(scoring.processor, scoring.state, ChangeRecords())
    scoring.feed(*story(4, 300, 300), tick(START + 90 * DAY))
    learning.feed(*[label(n) for n in range(200)], epoch_end(FIRST))
    learning.state = restored(learning.processor, learning.state, ChangeRecords())
    learning.now_us += 5_000_000
    learning.feed(label(200))
    learning.punctuate()
    after = _kernels()
    print(json.dumps({"ours": len(before), "new": [n for n in after if after[n] != before.get(n)]}))


def test_nothing_is_compiled_once_a_worker_is_warm() -> None:
    here = Path(__file__)
    command = [sys.executable, str(here)]
    done = subprocess.run(
        command, check=False, cwd=here.parent.parent, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["ours"] > 20
    assert found["new"] == []


if __name__ == "__main__":
    _main()
