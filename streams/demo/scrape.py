"""Figures of a worker from its ``/metrics`` and ``/readyz``."""

from __future__ import annotations

import http.client
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """Counters of a worker since its start; lag is None while it does not tell it."""

    events_in: int = 0
    events_out: int = 0
    commits: int = 0
    dead_letters: int = 0
    lag: int | None = None


def figures(port: int) -> WorkerFigures | None:
    """Ask a worker on loopback; None when it does not answer."""
    text = _get(port, "/metrics")
    return None if text is None else parse(text)


def ready(port: int) -> bool:
    """Whether all tasks of a worker are open."""
    return _get(port, "/readyz") is not None


def parse(text: str) -> WorkerFigures:
    """Sum up the samples of a metrics page over topics, partitions and classes."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    lag = sums.get("leadstream_lag_records")
    return WorkerFigures(
        events_in=int(sums.get("leadstream_events_in_total", 0)),
        events_out=int(sums.get("leadstream_events_out_total", 0)),
        commits=int(sums.get("leadstream_commits_total", 0)),
        dead_letters=int(sums.get("leadstream_dead_letters_total", 0)),
        lag=None if lag is None else int(lag),
    )


def _get(port: int, path: str) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        return body if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
