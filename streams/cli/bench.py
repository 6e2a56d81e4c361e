"""``leadstream bench``: measures this program; each bench is repeatable by anybody."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.options import Json

Broker = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        help="Kafka's host:port,…; without it a broker of its own.",
        show_default=False,
    ),
]
_bench = typer.Typer(
    help="Measure throughput, CPU, latency, restore and correctness.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _bench.command("peer-job")(peer_job)
    _bench.command("scoring")(scoring)
    _bench.command("learning")(learning)
    _bench.command("accuracy")(accuracy)
    _bench.command("transfer")(transfer)
    _bench.command("faults")(faults)
    app.add_typer(_bench, name="bench")


def peer_job(
    events: Annotated[int, typer.Option(min=1000, help="Messages of the input.")] = 1_000_000,
    repeat: Annotated[int, typer.Option(min=1, help="Runs; medians are shown.")] = 3,
    peers: Annotated[
        Path | None,
        typer.Option(help="Folder of peers: run in turns with them.", exists=True, file_okay=False),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="peer/mode to compare with, several times.", show_default=False),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(help="Interpreter with the peers' requirements.", show_default=False),
    ] = None,
    slow_events: Annotated[
        int, typer.Option(min=1000, help="Messages for peers in Python.")
    ] = 200_000,
    build: Annotated[bool, typer.Option("--build", help="Build peers that are not built.")] = False,
    bootstrap: Broker = None,
    as_json: Json = False,
) -> None:
    """One lead-scoring job that is the same on every stream processor, exactly once, verified.

    The exit status is 1 when an output was missing, doubled or wrong.
    """
    say = _progress()
    if peers is None:
        from streams.bench.peer_job.run import run

        result = run(bootstrap, events, repeat, say)
    else:
        import sys

        from streams.bench.peer_job.against import DEFAULT, Plan, compare

        plan = Plan(
            peers.resolve(),
            against or DEFAULT,
            python or sys.executable,
            events,
            slow_events,
            repeat,
            build,
        )
        result = compare(bootstrap, plan, say)
    _finish(result, as_json, ok=bool(result["ok"]))


def scoring(
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="reasons, throughput, latency, crm, start or restore; all by default.",
            show_default=False,
        ),
    ] = None,
    events: Annotated[int, typer.Option(min=1000, help="Timeline events to work off.")] = 600_000,
    leads: Annotated[int, typer.Option(min=10, help="Leads that they are about.")] = 100_000,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of the throughput part.")] = 1,
    rate: Annotated[
        list[float] | None,
        typer.Option(
            help="Events a second of the latency parts; 2,000, 10,000 and half load by default.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Counted time at each rate.")] = 12.0,
    skip: Annotated[float, typer.Option(min=0, help="Seconds before that.")] = 4.0,
    linger_ms: Annotated[float, typer.Option(min=0, help="How long the load batches.")] = 5.0,
    restore_leads: Annotated[int, typer.Option(min=4, help="Leads to restore.")] = 1_000_000,
    restore_records: Annotated[int, typer.Option(min=2, help="Changelog records a lead.")] = 3,
    champion_terms: Annotated[
        int, typer.Option(min=0, help="Terms of the champion beside the online models; 0: none.")
    ] = 200,
    weights_per_s: Annotated[
        float, typer.Option(min=0, help="New versions of the weights a second.")
    ] = 4.0,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of each topic.")] = 1,
    bootstrap: Broker = None,
    as_json: Json = False,
) -> None:
    """The whole scoring role on real Kafka, with reasons and deltas: throughput, latency, restore.

    The part `reasons` needs no broker: what reasons and deltas add to an event's CPU time.
    """
    from streams.bench.scoring.run import PARTS, Sizes, run

    rates = tuple(rate) if rate else (2_000.0, 10_000.0)
    sizes = Sizes(
        events=events, leads=leads, repeat=repeat, rates=rates, crm_rates=rates, seconds=seconds,
        skip_s=skip, linger_ms=linger_ms, restore_leads=restore_leads,
        restore_records=restore_records, partitions=partitions, half_load=not rate,
        champion_terms=champion_terms, weights_per_s=weights_per_s,
    )  # fmt: skip
    chosen = part or PARTS
    unknown = sorted(set(chosen) - set(PARTS))
    if unknown:
        raise typer.BadParameter(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    _finish(run(bootstrap, chosen, sizes, _progress()), as_json)


def learning(
    labels: Annotated[int, typer.Option(min=1000, help="Labels that each model learns.")] = 100_000,
    live: Annotated[
        bool, typer.Option("--live", help="From label to score, promote, rollback, on real Kafka.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=1, help="Live: how long labels come.")] = 40.0,
    rate: Annotated[float, typer.Option(min=1, help="Live: labels a second.")] = 50.0,
    rounds: Annotated[int, typer.Option(min=0, help="Live: promotions, each rolled back.")] = 5,
    bootstrap: Broker = None,
    as_json: Json = False,
) -> None:
    """Labels a second of the learning role on one core, for each linear online model.

    With --live: how soon a label, a promotion and a rollback reach every score. The exit status is
    1 when a score was missing, doubled, or by a champion other than its weights'.
    """
    if live:
        from streams.bench.learning_live import LiveSizes
        from streams.bench.learning_live import run as run_live

        result = run_live(
            bootstrap, LiveSizes(seconds, labels_per_s=rate, rounds=rounds), _progress()
        )
        wrong = result["missing"] + result["duplicate"] + result["half_loaded"]
        _finish(result, as_json, ok=not wrong)
        return
    from streams.bench.learning import run

    _finish(run(labels, _progress()), as_json)


def accuracy(
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="LEADSTREAM_DATA", help="Folder of the data sets.", exists=True, file_okay=False
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(help="A data set, several times; all by default.", show_default=False),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
    as_json: Json = False,
) -> None:
    """Scores against named rivals on public data, in the order of time, on the same rows.

    Rivals: a static logistic regression, river's logistic regression with its defaults, LightGBM
    with its defaults refitted every 500 labels. The exit status is 1 when leadstream is worse than
    the best of them on a set, or not calibrated.
    """
    from streams.bench.accuracy import as_markdown, run

    if data is None:
        raise typer.BadParameter("give --data or set LEADSTREAM_DATA to the folder of the data")
    result = run(data, sets or (), _progress())
    if report is not None:
        report.write_text(as_markdown(result) + "\n", encoding="utf-8")
    _finish(result, as_json, ok=bool(result["ok"]))


def transfer(
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="LEADSTREAM_DATA", help="Folder of the data sets.", exists=True, file_okay=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Labels that a new workspace needs to score well, from nothing and from a pooled model.

    Regions of online_shoppers take turns as the new workspace; the others' models are its start.
    """
    from streams.bench.transfer import run

    if data is None:
        raise typer.BadParameter("give --data or set LEADSTREAM_DATA to the folder of the data")
    _finish(run(data), as_json)


def faults(
    kills: Annotated[int, typer.Option(min=0, help="How often a worker is killed, a run.")] = 25,
    events: Annotated[int, typer.Option(min=1000, help="Messages of the input.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Of the moments of the kills.")] = 7,
    job: Annotated[
        list[str] | None,
        typer.Option(help="peer-job or scoring, several times; both by default."),
    ] = None,
    partitions: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Of a scoring run, several times; 1 and 4 by default."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Kill workers at random moments and count what subscribers miss or see twice.

    The peer job is compared with an independent reference; all roles under barrier, learning
    included, bit for bit with an undisturbed run. The exit status is 1 when a record was missing,
    doubled or wrong, or a worker gave up.
    """
    from streams.bench.faults.run import JOBS, run

    jobs = tuple(job or JOBS)
    unknown = sorted(set(jobs) - set(JOBS))
    if unknown:
        raise typer.BadParameter(f"no job {', '.join(unknown)}; there are: {', '.join(JOBS)}")
    result = run(kills, events, seed, jobs, tuple(partitions or (1, 4)), say=_progress())
    _finish(result, as_json, ok=bool(result["ok"]))


def _progress() -> Callable[[str], None]:
    from rich.console import Console

    console = Console(stderr=True)
    return lambda line: console.print(line, highlight=False, markup=False)


def _finish(result: Mapping[str, Any], as_json: bool, *, ok: bool = True) -> None:
    """Show a result: one JSON object as the last line, or a table."""
    if as_json:
        print(json.dumps(result))
    else:
        _show(result)
    if not ok:
        raise typer.Exit(1)


def _show(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    plain = {k: v for k, v in result.items() if not isinstance(v, dict | list)}
    table = Table(title=str(result.get("bench", "")), title_justify="left", show_header=False)
    for name, value in plain.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int | float) else str(value))
    console.print(table)
    for name, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            console.print(_grid(name, value))
        elif isinstance(value, dict) and value:
            nested = [{"": k, **v} for k, v in value.items() if isinstance(v, dict)]
            console.print(_grid(name, nested or [value]))


def _grid(title: str, rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    columns = [k for k, v in rows[0].items() if not isinstance(v, dict | list)]
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(str(row.get(c, "")) for c in columns))
    return table
