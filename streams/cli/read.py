"""``leadstream read TOPIC``: records of a topic as JSON lines, for people."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from streams.cli.options import Bootstrap, Prefix, settings_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("read")(read)


def read(
    topic: Annotated[str, typer.Argument(help="Name without prefix, such as leads.latest.")],
    count: Annotated[int | None, typer.Option(min=1, help="Show so many and end.")] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show what a topic holds, one JSON object a record, from its start to its end of now.

    Reads only what is committed. Partitions come one after another as the broker sends them.
    """
    from streams.engine.errors import ConfigurationError
    from streams.evaluation.read import TopicReader
    from streams.topics import TOPICS

    if topic not in TOPICS:
        raise ConfigurationError(f"no topic {topic!r}; there are: {', '.join(TOPICS)}")
    settings = settings_of(bootstrap=bootstrap, prefix=prefix, start_broker=False)
    shown = 0
    with TopicReader(settings, topic, to_end=True) as reader:
        while batches := reader.read(5.0):
            for batch in batches:
                for row in batch.to_pylist():
                    if shown == count:
                        return
                    sys.stdout.write(json.dumps(_plain(row), default=str) + "\n")
                    shown += 1


def _plain(row: dict[str, object]) -> dict[str, object]:
    """Maps as objects: Arrow gives them as lists of pairs."""
    return {
        name: dict(value)
        if isinstance(value, list) and value and all(isinstance(v, tuple) for v in value)
        else value
        for name, value in row.items()
    }
