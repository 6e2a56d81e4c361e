"""``leadstream import``: files of a CRM or a site as source events, by a mapping."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from streams.cli.options import Bootstrap, Json, Prefix, settings_of

if TYPE_CHECKING:
    from connectors.files.importer import ImportResult
    from connectors.files.model import FileMapping
    from connectors.files.pacing import Pacer
    from connectors.files.pipeline import Pipeline
    from connectors.files.rejects import RejectReport

FAILED, WRONG_INPUT, SOME_REJECTED = 1, 2, 3
_DRY_RECORDS = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_files)


def import_files(
    mapping: Annotated[
        str, typer.Argument(help="YAML file, or the name of a shipped mapping.", metavar="MAPPING")
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="CSV, JSON lines or Parquet, .gz too; none: the shipped excerpt.", metavar="FILE…"
        ),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(help="Event time passes so many times as fast as the clock, as in 100x."),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Events a second.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Send at most so many events.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the first events; no broker is needed.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over, even if all of it was sent before.")
    ] = False,
    rejected: Annotated[
        Path | None, typer.Option(help="JSON lines file of the rows that were rejected.")
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Import files as source events and market indicators, in the order of event time.

    An import that was stopped or killed goes on where it was acknowledged when the same command is
    given again. Exit status 0: all rows imported; 3: done, but rows were rejected; 1: the broker
    failed; 2: the mapping, a file or an option is wrong; 130 or 143: stopped by a signal.
    """
    from connectors.files.errors import DeliveryError, ImportFailed

    console = Console(stderr=as_json, soft_wrap=True)
    try:
        loaded, paths = _inputs(mapping, files or [])
        pacer = _pacer(loaded, speed, rate)
        report_path = rejected or home() / "rejected" / f"{slug(loaded.source)}.jsonl"
        with _report(report_path) as report:
            pipeline = _pipeline(loaded, paths, report)
            if dry_run:
                _dry_run(console, pipeline, report, limit or _DRY_RECORDS, as_json)
                return
            with _stopped_by_signals() as (stop, number):
                result = _import(
                    console, pipeline, paths, pacer, limit, stop, fresh, bootstrap, prefix
                )
    except ImportFailed as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        status = FAILED if isinstance(error, DeliveryError) else WRONG_INPUT
        raise typer.Exit(status) from error
    from streams.cli.import_view import show_rejected, show_result

    show_result(console, result, shlex.join(["leadstream", *_again()]))
    show_rejected(console, report)
    if as_json:
        print(json.dumps(_as_json(result, report)))
    if result.status == "stopped":
        raise typer.Exit(128 + (number[0] if number else signal.SIGINT))
    if report.rows:
        raise typer.Exit(SOME_REJECTED)


def _inputs(mapping: str, files: list[Path]) -> tuple[FileMapping, list[Path]]:
    from connectors.files.errors import SourceFileError
    from connectors.files.mapping import load_mapping
    from connectors.files.shipped import shipped_excerpt

    loaded = load_mapping(mapping)
    if files:
        return loaded, files
    excerpt = shipped_excerpt(mapping)
    if excerpt is None:
        raise SourceFileError("give the files to import; no excerpt of them comes with leadstream")
    return loaded, [excerpt]


def _pacer(mapping: FileMapping, speed: str | None, rate: float | None) -> Pacer:
    from connectors.files.pacing import CompressedTime, ConstantRate, FullSpeed
    from connectors.files.pipeline import has_real_times

    if speed is not None and rate is not None:
        raise typer.BadParameter("give --speed or --rate, not both")
    if rate is not None:
        if not rate > 0:
            raise typer.BadParameter("--rate is greater than 0")
        return ConstantRate(rate)
    if speed is None:
        return FullSpeed()
    factor = re.fullmatch(r"(\d+(?:\.\d+)?)x?", speed.strip())
    if factor is None or not float(factor[1]) > 0:
        raise typer.BadParameter("--speed is a factor such as 100x")
    if not has_real_times(mapping):
        raise typer.BadParameter(
            "--speed needs event times from a column; this mapping makes them from the order of"
            " rows, so give --rate"
        )
    return CompressedTime(float(factor[1]))


def _pipeline(mapping: FileMapping, paths: list[Path], report: RejectReport) -> Pipeline:
    from connectors.files.pipeline import Pipeline

    return Pipeline(mapping, paths, on_rejected=report.add)


def _report(path: Path) -> RejectReport:
    from connectors.files.rejects import RejectReport

    return RejectReport(path)


def home() -> Path:
    """Folder of what imports and evaluations leave behind."""
    from infra.dev.places import dev_folder

    return dev_folder().parent / "imports"


def slug(source: str) -> str:
    """A source's name as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", source).strip("-.") or "import"


def _import(
    console: Console,
    pipeline: Pipeline,
    paths: list[Path],
    pacer: Pacer,
    limit: int | None,
    stop: threading.Event,
    fresh: bool,
    bootstrap: str | None,
    prefix: str | None,
) -> ImportResult:
    from connectors.files.importer import Importer
    from connectors.files.kafka_sink import KafkaSink
    from connectors.files.records import INDICATORS_TOPIC
    from schemas.registry import Registry
    from streams.cli.import_view import progress_view

    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    topics: list[str] = [pipeline.mapping.topic] if pipeline.mapping.events else []
    topics += [INDICATORS_TOPIC] if pipeline.mapping.indicators else []
    registry = Registry.open(settings.schema_registry_url)
    sink = KafkaSink(settings.kafka_bootstrap, topics, settings.topic_prefix, registry=registry)
    with progress_view(console) as show:
        importer = Importer(pipeline, paths, sink, home(), pacer, limit, stop, show)
        return importer.run(fresh=fresh)


def _dry_run(
    console: Console, pipeline: Pipeline, report: RejectReport, limit: int, as_json: bool
) -> None:
    from streams.cli.import_view import show_records, show_rejected

    records: list[dict[str, Any]] = []
    for window in pipeline.windows():
        for at in range(min(window.count, limit - len(records))):
            [(topic, one)] = window.part(at, at + 1)
            records.append({"topic": topic, **_plain(one.to_pylist()[0])})
        if len(records) >= limit:
            break
    if as_json:
        print(json.dumps({"records": records, "rejected": report.rows}, default=str))
    else:
        show_records(console, records)
    show_rejected(console, report)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record with its maps as dictionaries; pyarrow gives them as lists of pairs."""
    return {k: dict(v) if isinstance(v, list) else v for k, v in record.items()}


@contextmanager
def _stopped_by_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """(event that SIGINT and SIGTERM set, the signal's number); a second signal ends at once."""
    stop, number = threading.Event(), list[int]()
    before: dict[signal.Signals, Any] = {}

    def handle(received: int, _frame: FrameType | None) -> None:
        number.append(received)
        stop.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for each in (signal.SIGINT, signal.SIGTERM):
        before[each] = signal.signal(each, handle)
    try:
        yield stop, number
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _again() -> list[str]:
    """The arguments that go on with this import: those given, without --fresh."""
    return [argument for argument in sys.argv[1:] if argument != "--fresh"]


def _as_json(result: ImportResult, report: RejectReport) -> dict[str, Any]:
    step = result.progress
    return {
        "status": result.status,
        "events": step.sent,
        "events_resumed": step.resumed,
        "events_acknowledged": step.acknowledged,
        "rows": step.read.rows,
        "rows_filtered": step.read.filtered,
        "rows_rejected": report.rows,
        "rejected_file": str(report.path) if report.rows else None,
        "columns_never_filled": sorted(step.read.unseen),
        "events_per_s": round(result.events_per_s, 1),
        "elapsed_s": round(step.elapsed_s, 3),
        "checkpoint": str(result.checkpoint),
    }
