"""``leadstream explain LEAD``: why a lead has its score, in words."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.options import Bootstrap, Json, Prefix, Workspaces, configured, looking

if TYPE_CHECKING:
    from rich.console import Console

    from streams.governance.explain import Explanation


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    lead: Annotated[str, typer.Argument(help="Id of a lead, or its first digits.")],
    workspace: Annotated[str | None, typer.Option(help="Workspace name.")] = None,
    target: Annotated[str | None, typer.Option(help="Target; all of them if none.")] = None,
    language: Annotated[str, typer.Option(help="Of the words: en, de.")] = "en",
    hints: Annotated[int, typer.Option(min=0, help="Most hints.")] = 2,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show a lead's newest score in words: reasons that add up, why it moved, what would raise it.

    Hints try the actions that features.yaml declares on the lead as it is now, with the models of
    now; they are about the model, not about causes.
    """
    from rich.console import Console

    from streams.governance.explain import explain as in_words
    from streams.governance.explain import newest_scores

    settings, configs = looking(bootstrap, prefix, workspaces)
    found = []
    for score in newest_scores(settings, lead, workspace, target):
        config = configured(configs, score["workspace"], score["target"])
        made = in_words(settings, config, score, language=language, most_hints=hints)
        found.append(made)
    if as_json:
        print(json.dumps({"scores": [asdict(each) for each in found]}))
        return
    for each in found:
        _show(Console(), each, language)


def _show(console: Console, found: Explanation, language: str) -> None:
    from models.explain.messages import messages
    from streams.cli.models_view import moment, table

    s = found.score
    between = ""
    if s["interval_low"] is not None:
        between = f", between {s['interval_low']:.1%} and {s['interval_high']:.1%}"
    console.print(
        f"{s['workspace']}/{s['target']} {s['lead_id']}: {s['score']} {s['grade']}, "
        f"{s['probability']:.1%}{between}; events so far: {s['evidence_count']:,}, the newest at "
        f"{moment(s['occurred_at'])}",
        highlight=False,
    )
    say = messages(language).say
    rows = [(say("without_features"), f"{s['bias']:+.4f}")]
    rows += [(r.words, f"{r.contribution:+.4f}") for r in found.reasons]
    rows += [(say("other_features"), f"{s['other']:+.4f}"), ("=", f"{s['logit']:+.4f}")]
    console.print(table(say("title_why"), ("", "#log-odds"), rows))
    for title, lines in ((say("title_moved"), found.moved), (say("title_hints"), found.hints)):
        if lines:
            console.print(f"{title}:")
        for line in lines:
            console.print(f"- {line}", highlight=False, markup=False)
