"""What a workspace declares of its champions' way into use: `lifecycle:` of `workspace.yaml`."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Margin = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Confidence = Annotated[float, msgspec.Meta(ge=0.5, lt=1)]


class GateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much worse than the incumbent a challenger may be, and how surely.

    Attributes:
        confidence: of the two-sided bootstrap intervals.
        draws: of the bootstrap.
        blocks: of consecutive labels that are drawn as a whole.
        min_labels: fewer decide nothing.
        min_positives: of either outcome; fewer decide nothing.
        log_loss_margin: nats by which it may at worst be worse (upper bound of the difference).
        auc_margin: by which the AUC may surely be worse (upper bound of the difference below 0).
        ece_margin: by which calibration may be worse than the incumbent's, where it is too bad.
        segment_margin: nats by which any segment may be worse.
        segment_min_labels: of a segment that is looked at.
        latency_us: most microseconds a row, measured by the caller; None for no limit.
    """

    confidence: Confidence = 0.95
    draws: Annotated[int, msgspec.Meta(ge=100)] = 1_000
    blocks: Annotated[int, msgspec.Meta(ge=10, le=1_000)] = 50
    min_labels: Annotated[int, msgspec.Meta(ge=1)] = 200
    min_positives: Annotated[int, msgspec.Meta(ge=1)] = 10
    log_loss_margin: Margin = 0.01
    auc_margin: Margin = 0.0
    ece_margin: Margin = 0.01
    segment_margin: Margin = 0.05
    segment_min_labels: Annotated[int, msgspec.Meta(ge=1)] = 100
    latency_us: Annotated[float, msgspec.Meta(gt=0)] | None = None


class LifecycleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a challenger is watched before and after it comes into use.

    Attributes:
        shadow_labels: judged while the challenger scores beside the incumbent, unseen; 0 skips.
        canary_share: of the leads that the challenger then scores for subscribers.
        canary_labels: judged meanwhile; 0 skips.
        straight_refits: a version that was trained by schedule needs to pass the gate on held-out
            labels only; others, after a drift alarm or by hand, go through shadow and canary.
        auto_promote: into use when the gate passes; else a person promotes.
        watch_labels: judged after a promotion against the former champion; 0 does not watch.
        rollback_on_regression: go back when the watch shows the new champion to be worse.
        rollback_confidence: that it is worse, over all looks of one watch together.
        rollback_margin: nats by which it must surely be worse.
        keep_former: champions, and as many challengers that failed, whose artifacts are kept.
        gate: what a challenger must show.
    """

    shadow_labels: Count = 500
    canary_share: Share = 0.1
    canary_labels: Count = 500
    straight_refits: bool = True
    auto_promote: bool = True
    watch_labels: Count = 1_000
    rollback_on_regression: bool = True
    rollback_confidence: Confidence = 0.99
    rollback_margin: Margin = 0.002
    keep_former: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    gate: GateSettings = GateSettings()

    def __post_init__(self) -> None:
        """ValueError where a state is too short for the gate to decide at its end."""
        for name in ("shadow_labels", "canary_labels"):
            count = getattr(self, name)
            if 0 < count < self.gate.min_labels:
                raise ValueError(
                    f"{name} {count} is below the gate's min_labels {self.gate.min_labels}: the "
                    "gate could never pass; use 0 to skip the state, or more labels"
                )
