"""The command line ``leadstream``: one file a command, imported when the command list is built."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from connectors.files.errors import ImportFailed
from infra.dev.errors import DevError
from models.config import ConfigError
from schemas.errors import SchemaError
from streams.cli import (
    bench,
    demo,
    dev,
    evaluate,
    explain,
    features,
    import_,
    models,
    read,
    rebuild,
    replay,
    topics,
    train,
    up,
    worker,
)
from streams.engine.errors import ConfigurationError, LeadstreamError

app = typer.Typer(
    help="Lead scores and revenue forecasts that move with every CRM and web event, on Kafka.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)
for module in (
    demo, up, worker, import_, evaluate, features, models, train, explain, replay, read, rebuild,
    bench, topics, dev,
):  # fmt: skip
    module.register(app)


def main() -> None:
    """Run; errors that people can mend are one line, others a traceback."""
    try:
        app()
    except (ConfigurationError, ConfigError) as error:
        _say("error", error)
        sys.exit(2)
    except (LeadstreamError, DevError, SchemaError, ImportFailed) as error:
        _say(type(error).__name__, error)
        sys.exit(1)


def _say(kind: str, error: Exception) -> None:
    text = escape(str(error))  # a message may hold [brackets]
    Console(stderr=True).print(f"[red]{kind}[/red]: {text}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
