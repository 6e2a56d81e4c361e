"""``leadstream bench scoring``: all parts in turn, one JSON object."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.workspaces import WorkspaceConfig
from streams.app import workspaces_of
from streams.bench.own_broker import BenchBroker, broker
from streams.bench.scoring import latency, reasons, restore, start, throughput
from streams.bench.scoring.messages import Messages
from streams.bench.scoring.models import MadeUpModels
from streams.bench.scoring.setup import run_topics
from streams.bench.scoring.traffic import WORKSPACE, SourceEvents, TimelineEvents, crm_events
from streams.bench.scoring.workers import workers
from streams.settings import Settings, load

PARTS = ("reasons", "throughput", "latency", "crm", "start", "restore")
WITHOUT = {"reasons"}
"""Parts that need no broker."""
_NO_BROKER = BenchBroker("unused", None)
_HEADLINE_RATE = 10_000
_OVERLOAD = 200_000.0
_OVERLOAD_S = 6.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.

    Attributes:
        events: Preloaded timeline events of the throughput part.
        leads: People that they are about.
        rates: Events a second of the latency part; half the sustained load is added, which is
            what becomes visible of more than can be scored, sender and subscriber beside it.
        crm_rates: The same from ``crm.events`` on.
        seconds: Counted time of each rate; ``skip_s`` comes before it.
        champion_terms: Terms of the champion that scores beside the online models; 0 for none.
        weights_per_s: New versions of the weights while events are scored.
        restore_leads: Leads of the restore part, with ``restore_records`` changelog records each.
    """

    events: int = 600_000
    leads: int = 100_000
    rates: Sequence[float] = (2_000, 10_000)
    crm_rates: Sequence[float] = (2_000, 10_000)
    seconds: float = 12.0
    skip_s: float = 4.0
    linger_ms: float = 5.0
    restore_leads: int = 1_000_000
    restore_records: int = 3
    start_events: int = 20_000
    partitions: int = 1
    repeat: int = 1
    half_load: bool = True
    champion_terms: int = 200
    weights_per_s: float = 4.0
    reasons_events: int = 160_000
    reasons_repeat: int = 5
    weights_every: int = 20_000


@dataclass(slots=True)
class _Bench:
    settings: Settings
    broker: BenchBroker
    config: WorkspaceConfig
    models: MadeUpModels
    folder: Path
    sizes: Sizes
    say: Callable[[str], None]
    found: dict[str, Any] = field(default_factory=dict)

    def reasons(self) -> None:
        sizes = self.sizes
        self.found |= reasons.measure(
            self.config, events=sizes.reasons_events, leads=sizes.leads // 5,
            champion_terms=sizes.champion_terms,
            weights_every=sizes.weights_every, repeat=sizes.reasons_repeat, say=self.say,
        )  # fmt: skip

    def throughput(self) -> None:
        sizes = self.sizes
        runs = [
            throughput.measure(
                self.settings, self.broker, self.config, self.folder,
                events=sizes.events, leads=sizes.leads, partitions=sizes.partitions,
                models=self.models, weights_per_s=sizes.weights_per_s,
            )
            for _ in range(sizes.repeat)
        ]  # fmt: skip
        runs.sort(key=lambda run: run["cpu_us_run"])
        self.found |= runs[len(runs) // 2]  # one whole run: its figures belong together
        if len(runs) > 1:
            self.found["cpu_us_run_all"] = [run["cpu_us_run"] for run in runs]

    def latency(self) -> None:
        source = TimelineEvents(
            self.config, SourceEvents(self.config, self.sizes.leads), self.sizes.partitions
        )

        def take(n: int) -> Messages:
            return Messages.encode("timeline_event", source.take(n))

        rates = list(self.sizes.rates)
        if self.sizes.half_load:
            rates.append(self._sustained(take) / 2)
        self._at_rates(["scoring"], "lead.timeline", rates, take)

    def _sustained(self, take: Callable[[int], Messages]) -> float:
        """Events a second that become visible of more than can be scored at the same time."""
        sizes, messages = self.sizes, take(int(_OVERLOAD * _OVERLOAD_S))
        with (
            run_topics(self.settings, sizes.partitions, self.models, sizes.weights_per_s) as own,
            workers(["scoring"], own, self.folder) as running,
        ):
            row = latency.measure(
                own, self.broker, running, messages, self.folder, source="lead.timeline",
                rate=_OVERLOAD, partitions=sizes.partitions, skip_s=_OVERLOAD_S / 3,
                linger_ms=sizes.linger_ms,
            )  # fmt: skip
        self.found["sustained_events_per_s"] = row["visible_per_s"]
        self.say(f"sustained beside sender and subscriber: {row['visible_per_s']:,}/s")
        return float(row["visible_per_s"])

    def crm(self) -> None:
        source = SourceEvents(self.config, self.sizes.leads)

        def take(n: int) -> Messages:
            return Messages.encode("source_event", crm_events(source, n, self.sizes.partitions))

        self._at_rates(["identity", "scoring"], "crm.events", self.sizes.crm_rates, take)

    def _at_rates(
        self,
        roles: list[str],
        topic: str,
        rates: Sequence[float],
        take: Callable[[int], Messages],
    ) -> None:
        sizes = self.sizes
        with (
            run_topics(self.settings, sizes.partitions, self.models, sizes.weights_per_s) as own,
            workers(roles, own, self.folder) as running,
        ):
            for rate in rates:
                row = latency.measure(
                    own, self.broker, running, take(int(rate * (sizes.skip_s + sizes.seconds))),
                    self.folder, source=topic, rate=rate, partitions=sizes.partitions,
                    skip_s=sizes.skip_s, linger_ms=sizes.linger_ms,
                )  # fmt: skip
                self.say(
                    f"from {topic} at {row['rate_per_s']:,}/s: p50 {row['latency_ms_p50']} ms, "
                    f"p99 {row['latency_ms_p99']} ms"
                )
                self.found.setdefault("latency", []).append(row)
                if topic == "lead.timeline" and rate == _HEADLINE_RATE:
                    self.found |= {k: v for k, v in row.items() if k.startswith("latency_ms")}

    def start(self) -> None:
        self.found |= start.measure(
            self.settings, self.config, self.folder,
            events=self.sizes.start_events, partitions=self.sizes.partitions,
        )  # fmt: skip

    def restore(self) -> None:
        sizes = self.sizes
        self.found |= restore.measure(
            self.settings, self.config, self.folder, leads=sizes.restore_leads,
            records_per_lead=sizes.restore_records, partitions=sizes.partitions,
        )  # fmt: skip


def run(
    bootstrap: str | None,
    parts: Sequence[str],
    sizes: Sizes,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the parts; returns all figures under their public names.

    Args:
        bootstrap: A broker to use; without it one of its own, on this machine.
        parts: Names out of :data:`PARTS`.
        sizes: How much of everything.
        say: Takes lines of progress.

    Raises:
        ValueError: an unknown part.
        RunFailed: a worker ended or stood still.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    with (
        tempfile.TemporaryDirectory(prefix="leadstream-bench-") as folder,
        nullcontext(_NO_BROKER) if set(parts) <= WITHOUT else broker(bootstrap) as where,
    ):
        settings = load(kafka_bootstrap=where.bootstrap, policy="live")
        config = workspaces_of(settings)[WORKSPACE]
        models = MadeUpModels.of(config, sizes.champion_terms)
        bench = _Bench(settings, where, config, models, Path(folder), sizes, say)
        for part in (p for p in PARTS if p in parts):
            say(f"{part} …")
            getattr(bench, part)()
        return {"bench": "scoring", **bench.found}
