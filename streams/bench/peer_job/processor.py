"""The peer job as one processor on the engine."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from streams.bench.peer_job.schemas import (
    DAY_US,
    EVENT_TYPES,
    HALF_LIFE_US,
    MODEL_VERSION,
    WINDOW,
)
from streams.engine.columns import InputBatch, OutputBatch, Outputs
from streams.engine.hashing import hash128
from streams.engine.processor import Context, Unconditional
from streams.engine.state import State
from streams.engine.table import Table

I8 = NDArray[np.int64]
U8 = NDArray[np.uint64]
F8 = NDArray[np.float64]

KINDS = len(EVENT_TYPES)
BLOCK = 256
"""Rows of one model run; kernels depend on the batch size in the last bits."""

LEAD = np.dtype(
    [
        ("first", "i8"),
        ("last", "i8"),
        ("events", "i4"),
        ("value_sum", "f8"),
        ("counts", "i4", (KINDS,)),
        ("decayed", "f8", (KINDS,)),
        ("ids", "u8", (2 * WINDOW,)),
    ]
)


@njit(nogil=True, cache=True)
def _update(
    first: I8,
    last: I8,
    events: NDArray[np.int32],
    value_sum: F8,
    counts: NDArray[np.int32],
    decayed: F8,
    ids: U8,
    rows: I8,
    event_ids: U8,
    kind: NDArray[np.int32],
    at: I8,
    value: F8,
    out: NDArray[np.float32],
    ok: NDArray[np.bool_],
) -> None:
    for i in range(len(rows)):
        r = rows[i]
        n = events[r]
        hi, lo = event_ids[i, 0], event_ids[i, 1]
        seen = False
        for j in range(min(n, WINDOW)):
            if ids[r, 2 * j] == hi and ids[r, 2 * j + 1] == lo:
                seen = True
                break
        ok[i] = not seen
        if seen:
            continue
        slot = n % WINDOW
        ids[r, 2 * slot], ids[r, 2 * slot + 1] = hi, lo
        k, t = kind[i], at[i]
        since = 0.0
        late = 0.0
        if n == 0:
            first[r] = t
            last[r] = t
            decayed[r, k] = 1.0
        elif t >= last[r]:
            since = (t - last[r]) / DAY_US
            f = 2.0 ** (-(t - last[r]) / HALF_LIFE_US)
            for j in range(KINDS):
                decayed[r, j] *= f
            decayed[r, k] += 1.0
            last[r] = t
        else:
            decayed[r, k] += 2.0 ** (-(last[r] - t) / HALF_LIFE_US)
            first[r] = min(first[r], t)
            late = (last[r] - t) / DAY_US
        counts[r, k] += 1
        events[r] = n + 1
        value_sum[r] += value[i]
        kinds = 0
        for j in range(KINDS):
            out[i, j] = counts[r, j]
            out[i, KINDS + j] = decayed[r, j]
            kinds += counts[r, j] > 0
        out[i, 24] = n + 1
        out[i, 25] = value_sum[r]
        out[i, 26] = since
        out[i, 27] = (last[r] - first[r]) / DAY_US
        out[i, 28] = late
        out[i, 29] = value[i]
        out[i, 30] = kinds


class PeerJob(Unconditional):
    """Deduplicates, aggregates and scores lead events.

    Args:
        model: ONNX bytes.
        source: Topic to read.
        sink: Topic to write.
    """

    role = "peer"

    def __init__(self, model: bytes, source: str, sink: str) -> None:
        self.inputs: tuple[str, ...] = (source,)
        self._sink = sink
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._kinds = pa.array(EVENT_TYPES)

    def new_state(self) -> State:
        """One table of leads."""
        return State([Table("leads", LEAD)])

    def process(self, batch: InputBatch, state: State, context: Context) -> Outputs:
        """Score every event that was not seen before."""
        n, columns = len(batch), batch.values
        leads = state.table("leads")
        rows, _ = leads.find_or_insert(hash128(batch.keys))
        features, ok = np.zeros((n, 31), np.float32), np.empty(n, np.bool_)
        view = leads.rows
        _update(
            *(view[name] for name in LEAD.names or ()),
            rows,
            hash128(columns.column("event_id")),
            pc.index_in(columns.column("event_type"), self._kinds).to_numpy(),
            columns.column("occurred_at").cast(pa.int64()).to_numpy(),
            pc.fill_null(columns.column("value"), 0.0).to_numpy(),
            features,
            ok,
        )
        accepted = np.flatnonzero(ok)
        leads.touch(rows[accepted])
        m = len(accepted)
        if not m:
            return Outputs()
        if m < n:
            features = features[accepted]
            columns = columns.take(pa.array(accepted))
            keys = batch.keys.take(pa.array(accepted))
        else:
            keys = batch.keys
        values = pa.RecordBatch.from_arrays(
            [
                columns.column("lead_id"),
                columns.column("event_id"),
                pa.array(self._probabilities(features)),
                pa.array(features[:, 24].astype(np.int32)),
                columns.column("occurred_at"),
                pa.array(np.full(m, context.now_us), pa.timestamp("us")),
                pa.repeat(MODEL_VERSION, m),
            ],
            names=[
                "lead_id",
                "event_id",
                "probability",
                "event_count",
                "occurred_at",
                "scored_at",
                "model_version",
            ],
        )
        return Outputs([OutputBatch(self._sink, keys, values)])

    def _probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        n = len(features)
        blocks = -(-n // BLOCK)
        padded = np.zeros((blocks * BLOCK, features.shape[1]), np.float32)
        padded[:n] = features
        out = np.empty(blocks * BLOCK, np.float32)
        for at in range(0, blocks * BLOCK, BLOCK):
            (block,) = self._session.run(None, {"features": padded[at : at + BLOCK]})
            out[at : at + BLOCK] = block[:, 0]
        return out[:n]
