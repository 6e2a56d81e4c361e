"""Made-up labels that pass through every kernel of learning."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import arrow_schema, record
from streams.engine.columns import InputBatch


def made_up_batch(config: WorkspaceConfig) -> InputBatch:
    """A won and a lost lead, then the end of their epoch, for each target."""
    rows = []
    for target in config.targets:
        for number, (kind, outcome) in enumerate(
            [("label", "won"), ("label", "lost"), ("epoch_end", "none")]
        ):
            is_label = kind == "label"
            rows.append(
                record(
                    "label",
                    record_kind=kind,
                    workspace=config.name,
                    target=target.name,
                    label_id=str(number),
                    lead_id=f"{number:032x}" if is_label else "",
                    event_id=str(number),
                    row_time=0,
                    resolved_at=1,
                    outcome=outcome,
                    positive=outcome == "won",
                    logit=0.0,
                    probability=0.5,
                    weights_version=0,
                    catalogue_version=config.catalogue.catalogue_version,
                    features=[0.0] * (len(config.catalogue.columns) if is_label else 0),
                    epoch=0,
                    timeline_partition=0,
                    timeline_partitions=1,
                    source_offset=number,
                    watermark=1,
                )
            )
    n = len(rows)
    return InputBatch(
        "lead.labels",
        0,
        np.arange(n, dtype=np.int64),
        np.zeros(n, np.int64),
        pa.array([b""] * n, pa.binary()),
        pa.RecordBatch.from_pylist(rows, schema=arrow_schema("label")),
    )
