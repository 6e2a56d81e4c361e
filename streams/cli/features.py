"""``leadstream features``: what the columns are, and whether one knows what it cannot know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.evaluate import progress_bar
from streams.cli.options import Json, Workspaces

if TYPE_CHECKING:
    from connectors.files.model import FileMapping
    from models.features.audit import Finding
    from models.features.collisions import Collisions
    from models.workspaces import WorkspaceConfig
    from streams.evaluation.audit import FeatureAudit

FOUND = 1
_Mapping = Annotated[str, typer.Argument(help="Mapping file, or the name of a shipped one.")]
_Files = Annotated[list[Path], typer.Argument(help="Files to read.", exists=True)]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    features = typer.Typer(no_args_is_help=True, help="The feature catalogue of a workspace.")
    features.command("list")(list_columns)
    features.command("audit")(audit)
    features.command("collisions")(show_collisions)
    app.add_typer(features, name="features")


def list_columns(
    workspace: Annotated[str, typer.Argument(help="Workspace name.")],
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show every column: words, unit, where it comes from, what missing means."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from models.features.describe import describe

    configs = _configs(workspaces)
    catalogue = _named(configs, workspace).catalogue
    columns = describe(catalogue)
    if as_json:
        told = {"catalogue_version": catalogue.catalogue_version, "hash": catalogue.hash}
        print(json.dumps({**told, "columns": [asdict(column) for column in columns]}))
        return
    table = Table(title=f"{workspace}: catalogue {catalogue.catalogue_version}")
    for name in ("column", "words", "from", "as input", "missing means"):
        table.add_column(name, overflow="fold")
    for c in columns:
        words = f"{c.words}, {c.unit}" if c.unit else c.words
        table.add_row(*map(escape, (c.name, words, c.source, c.transform, c.missing or "-")))
    Console().print(table)


def audit(
    mapping: _Mapping,
    files: _Files,
    target: Annotated[str, typer.Option(help="Target whose outcome must not be known.")],
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Search the columns for leaks of the outcome; exit status 1 when one is found.

    Runs the evaluation, then tests every column of the labelled rows, every field of the events
    and every column of the files: AUC on its own, values after which all ended alike, values told
    with the outcome, known only of decided leads, or naming its day.
    """
    from rich.console import Console

    from connectors.files.errors import ImportFailed
    from connectors.files.pipeline import source_batches
    from connectors.files.rejects import RejectReport
    from connectors.files.whole import with_every_column
    from streams.cli.import_ import home, slug
    from streams.cli.import_view import show_rejected
    from streams.engine.errors import ConfigurationError
    from streams.evaluation.audit import FILE_COLUMN, audit_features

    configs = _configs(workspaces)
    console = Console(stderr=True)
    try:
        loaded = _mapping(mapping, configs)
        config = configs[loaded.workspace]
        if target not in [t.name for t in config.targets]:
            known = ", ".join(t.name for t in config.targets)
            raise ConfigurationError(
                f"{config.name} has no target {target!r}. Fix: name one of: {known}"
            )
        rejects = RejectReport(home() / "rejected" / f"audit-{slug(loaded.source)}.jsonl")
        whole = with_every_column(loaded, files, FILE_COLUMN)
        batches = source_batches(whole, files, on_rejected=rejects.add)
        with rejects, progress_bar(console, "events") as tell:
            found = audit_features(config, target, batches, progress=tell)
    except ImportFailed as error:
        raise ConfigurationError(str(error)) from error
    show_rejected(console, rejects)
    if as_json:
        print(json.dumps({**found.as_json(), "rows_rejected": rejects.rows}))
    else:
        _show(Console(), found, config.name, target)
    if any(finding.severity == "leak" for finding in found.findings):
        raise typer.Exit(FOUND)


def show_collisions(
    mapping: _Mapping,
    files: _Files,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show which texts of categorical attributes share a category, and what share of events."""
    from rich.console import Console

    from connectors.files.errors import ImportFailed
    from connectors.files.pipeline import source_batches
    from streams.engine.errors import ConfigurationError
    from streams.evaluation.audit import count_collisions

    configs = _configs(workspaces)
    try:
        loaded = _mapping(mapping, configs)
        catalogue = configs[loaded.workspace].catalogue
        found = count_collisions(catalogue, source_batches(loaded, files))
    except ImportFailed as error:
        raise ConfigurationError(str(error)) from error
    if as_json:
        print(json.dumps({"collisions": [asdict(one) for one in found]}))
    else:
        _show_collisions(Console(), found)


def _configs(workspaces: Path | None) -> dict[str, WorkspaceConfig]:
    from streams.app import workspaces_of
    from streams.settings import load

    return dict(workspaces_of(load(workspaces=workspaces)))


def _named(configs: dict[str, WorkspaceConfig], workspace: str) -> WorkspaceConfig:
    from streams.engine.errors import ConfigurationError

    if workspace not in configs:
        raise ConfigurationError(
            f"there is no workspace {workspace!r}. Fix: name one of: {', '.join(configs)}"
        )
    return configs[workspace]


def _mapping(name: str, configs: dict[str, WorkspaceConfig]) -> FileMapping:
    from connectors.files.mapping import load_mapping

    loaded = load_mapping(name)
    _named(configs, loaded.workspace)
    return loaded


def _show(console: Any, found: FeatureAudit, workspace: str, target: str) -> None:
    _show_findings(console, found.findings, f"{workspace}/{target}: leaks")
    if not found.findings:
        console.print(
            f"{workspace}/{target}: no leak found in {found.columns} columns of "
            f"{len(found.run.rows):,} labelled rows",
            highlight=False,
        )
    _show_findings(
        console, found.kept_out, "Not in the catalogue, and to be kept out of it: each would leak"
    )
    _show_collisions(console, [c for c in found.collisions if c.shared_events])


def _show_findings(console: Any, findings: Sequence[Finding], title: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not findings:
        return
    table = Table(title=title, title_justify="left")
    for name in ("column", "", "test", "why"):
        table.add_column(name, overflow="fold")
    before = ""
    for f in findings:
        shown = "" if f.column == before else escape(f.column)
        table.add_row(shown, f.severity, f.test, escape(f.says))
        before = f.column
    console.print(table)


def _show_collisions(console: Any, found: Sequence[Collisions]) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not found:
        return
    table = Table(title="Texts that share a hashed category", title_justify="left")
    for name in ("column", "texts", "listed", "buckets", "texts sharing", "events sharing"):
        table.add_column(name, justify="left" if name == "column" else "right")
    table.add_column("worst bucket", overflow="fold")
    for c in found:
        table.add_row(
            escape(c.column), f"{c.texts:,}", str(c.listed), str(c.buckets),
            f"{c.shared_texts:.0%}", f"{c.shared_events:.0%}",
            escape(", ".join(shorten(text, 24) for text in c.worst[:4])),
        )  # fmt: skip
    console.print(table)
