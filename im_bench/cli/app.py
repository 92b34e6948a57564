"""``im-bench``: the commands, and what the shell is told of errors."""

from __future__ import annotations

import sys

import typer

from im_bench.cli import data
from im_bench.cli.methods import methods
from im_bench.cli.plan import plan
from im_bench.cli.predict import predict
from im_bench.cli.report import report
from im_bench.cli.run import run
from im_bench.cli.show import show
from im_bench.cli.status import status
from im_bench.cli.table import table
from im_bench.errors import ImBenchError

app = typer.Typer(
    name="im-bench",
    help="Benchmark semi-supervised segmentation: Inconsistency Masks and their references.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
for command in (run, plan, status, table, report, show, predict, methods):
    app.command()(command)


def main() -> None:
    """Run the command line. Wrong input is one sentence and status 2, Ctrl-C is status 130."""
    try:
        app()
    except (ImBenchError, OSError) as error:
        # What the operating system refuses names the file and the reason: nothing here is a bug.
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
