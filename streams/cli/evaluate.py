"""``leadstream evaluate``: how good the scores would have been, strictly in the order of time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.options import Bootstrap, Json, Workspaces, settings_of

if TYPE_CHECKING:
    from rich.console import Console

    from streams.evaluation.result import Result


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    mapping: Annotated[str, typer.Argument(help="Mapping file, or the name of a shipped one.")],
    files: Annotated[list[Path], typer.Argument(help="Files to read.", exists=True)],
    target: Annotated[str, typer.Option(help="Target to judge.")],
    from_fraction: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Judge rows after this quantile of their time.")
    ] = 0.5,
    label_delay_rows: Annotated[
        int | None, typer.Option(min=0, help="Outcomes come so many rows after their row.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Write lead_id, event_id, row_time, probability, outcome.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the HTML report here.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Judge only rows with COLUMN=NUMBER, such as event_count=5."),
    ] = None,
    rivals: Annotated[
        bool, typer.Option("--rivals", help="Judge river's and LightGBM's models beside.")
    ] = False,
    indicators: Annotated[
        list[Path] | None,
        typer.Option(
            help="CSV of market indicators: series, observed_at, published_at, value.", exists=True
        ),
    ] = None,
    through_kafka: Annotated[
        bool, typer.Option("--through-kafka", help="Run on a broker; the figures are equal.")
    ] = False,
    partitions: Annotated[
        int, typer.Option(min=1, help="Partitions; the figures do not depend on them.")
    ] = 1,
    workspaces: Workspaces = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Judge scores prequentially: each label by the probability published for its row.

    Runs identity, scoring, ledger and learning as in production, under the barrier policy, so the
    same input always gives the same figures. Next to them stands a static logistic regression
    fitted on the rows before ``--from-fraction``.
    """
    from connectors.files.errors import ImportFailed
    from streams.engine.errors import ConfigurationError

    try:
        _evaluate(
            mapping, files, target, from_fraction, label_delay_rows, predictions, report,
            where, rivals, indicators or [], through_kafka, partitions, workspaces, bootstrap,
            as_json,
        )  # fmt: skip
    except ImportFailed as error:
        raise ConfigurationError(str(error)) from error


def _evaluate(
    mapping: str,
    files: list[Path],
    target: str,
    from_fraction: float,
    label_delay_rows: int | None,
    predictions: Path | None,
    report: Path | None,
    where: list[str] | None,
    rivals: bool,
    indicators: list[Path],
    through_kafka: bool,
    partitions: int,
    workspaces: Path | None,
    bootstrap: str | None,
    as_json: bool,
) -> None:
    from rich.console import Console

    from connectors.files.mapping import load_mapping, with_outcome_delay
    from connectors.files.pipeline import source_batches
    from connectors.files.rejects import RejectReport
    from streams.app import workspaces_of
    from streams.cli.import_ import home, slug
    from streams.cli.import_view import show_rejected
    from streams.engine.errors import ConfigurationError
    from streams.evaluation import local, reporting, result
    from streams.evaluation.indicators import events_only, publications

    settings = (
        settings_of(bootstrap=bootstrap, workspaces=workspaces)
        if through_kafka
        else _offline(workspaces)
    )
    configs = workspaces_of(settings)
    loaded = load_mapping(mapping)
    if label_delay_rows is not None:
        loaded = with_outcome_delay(loaded, f"{label_delay_rows} rows")
    config = configs.get(loaded.workspace)
    if config is None or target not in [t.name for t in config.targets]:
        known = ", ".join(f"{n}/{t.name}" for n, c in configs.items() for t in c.targets)
        raise ConfigurationError(
            f"{loaded.workspace}/{target} is not configured in {settings.workspaces}; "
            f"there are: {known}"
        )
    wanted = _conditions(where or [])
    for path in (predictions, report):
        if path is not None and not path.resolve().parent.is_dir():
            raise ConfigurationError(f"there is no folder {path.parent} to write {path.name} to")
    console = Console(stderr=True)
    rejects = RejectReport(home() / "rejected" / f"evaluate-{slug(loaded.source)}.jsonl")
    batches = events_only(source_batches(loaded, files, on_rejected=rejects.add))
    published = publications(loaded, files, indicators, rejects.add)
    with rejects, progress_bar(console, "labels" if through_kafka else "events") as tell:
        if through_kafka:
            from streams.evaluation.through_kafka import run_through_kafka

            run = run_through_kafka(
                settings, configs, config.name, target, batches, indicators=published,
                partitions=partitions, progress=tell,
            )  # fmt: skip
        else:
            run = local.run_local(
                configs, config.name, target, batches, indicators=published,
                partitions=partitions, progress=tell,
            )  # fmt: skip
    show_rejected(console, rejects)
    if not run.events:
        raise ConfigurationError(
            f"no event came out of {', '.join(map(str, files))}: all {rejects.rows:,} rows were "
            "rejected, filtered, or there are none"
        )
    others = result.logits_of_rivals(run, config, from_fraction) if rivals else None
    try:
        judged = result.judge(run, config, from_fraction, wanted, others)
    except ValueError as error:
        raise ConfigurationError(f"--where: {error}") from error
    if predictions is not None:
        result.write_predictions(judged, predictions)
    if report is not None:
        details = {"Workspace": config.name, "Target": target, "Mapping": mapping}
        title = f"{config.name}: {target}"
        reporting.write_report(judged, config, from_fraction, report, title, details)
    if as_json:
        print(json.dumps({**judged.as_json(), "rows_rejected": rejects.rows}))
    else:
        _show(Console(), judged, config.name, target, from_fraction)


def _conditions(given: list[str]) -> dict[str, float]:
    from streams.engine.errors import ConfigurationError

    found = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise ConfigurationError(
                f"--where {text}: give a column and a number, such as event_count=5"
            ) from error
    return found


def _offline(workspaces: Path | None) -> Any:
    from streams.settings import load

    return load(workspaces=workspaces)


@contextmanager
def progress_bar(console: Console, what: str) -> Iterator[Any]:
    """Something to call with how many there are so far, shown while the block runs."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"0 {what}")
        yield lambda count: bar.update(task, description=f"{count:,} {what}")


def _show(console: Console, judged: Result, workspace: str, target: str, fraction: float) -> None:
    from rich.table import Table

    from models.evaluation.rivals import WORDS

    own = judged.figures
    others = {WORDS[n]: f for n, f in judged.rivals.items()}
    if not others and judged.static is not None:
        others["static regression"] = judged.static
    table = Table(title=f"{workspace}: {target}", title_justify="left")
    table.add_column("figure")
    for column in ("leadstream", *others):
        table.add_column(column, justify="right")
    for name, words in (
        ("auc", "AUC"),
        ("average_precision", "average precision"),
        ("log_loss", "log-loss"),
        ("brier", "Brier score"),
        ("ece", "calibration error (ECE)"),
        ("lift_top_decile", "lift of the top tenth"),
    ):
        values = [getattr(f, name) for f in (own, *others.values())]
        table.add_row(words, *("-" if v is None else f"{v:.4f}" for v in values))
    console.print(table)
    run = judged.run
    console.print(
        f"{own.labels:,} labels judged ({own.positives:,} won), rows after the "
        f"{fraction:.0%} quantile of their time; {run.pending:,} rows without outcome yet, "
        f"{run.rejected:,} events rejected; {run.events:,} events in {run.seconds:.1f} s",
        highlight=False,
    )
