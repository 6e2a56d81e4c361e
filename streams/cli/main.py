"""The command line ``leadstream``: one file a command, imported when the command list is built."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from streams.cli import champion, dev, evaluate, import_, replay, topics, up, worker
from streams.engine.errors import ConfigurationError, LeadstreamError

app = typer.Typer(
    help="Lead scores and revenue forecasts that move with every CRM and web event, on Kafka.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)
for module in (dev, topics, worker, up, evaluate, import_, replay, champion):
    module.register(app)


def main() -> None:
    """Run; errors that people can mend are one line, others a traceback."""
    try:
        app()
    except ConfigurationError as error:
        Console(stderr=True).print(f"[red]error[/red]: {error}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except LeadstreamError as error:
        Console(stderr=True).print(
            f"[red]{type(error).__name__}[/red]: {error}", highlight=False, soft_wrap=True
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
