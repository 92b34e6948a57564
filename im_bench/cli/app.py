"""``im-bench``: the commands, and what the shell is told of errors."""

from __future__ import annotations

import sys

import typer

from im_bench.cli import data, tune
from im_bench.cli.compare import compare
from im_bench.cli.diff import diff
from im_bench.cli.doctor import doctor
from im_bench.cli.exchange import export, import_results
from im_bench.cli.gc import gc
from im_bench.cli.logs import logs
from im_bench.cli.methods import methods
from im_bench.cli.plain_help import PlainCommand, PlainGroup
from im_bench.cli.plan import plan
from im_bench.cli.predict import predict
from im_bench.cli.report import report
from im_bench.cli.retry import retry
from im_bench.cli.run import run
from im_bench.cli.show import show
from im_bench.cli.stats import stats
from im_bench.cli.status import status
from im_bench.cli.sync import sync
from im_bench.cli.table import table
from im_bench.errors import ImBenchError
from im_bench.terminal import write_in_any_encoding

app = typer.Typer(
    name="im-bench",
    help="Benchmark semi-supervised segmentation: Inconsistency Masks and their references.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data", rich_help_panel="Here")
app.add_typer(tune.app, name="tune", cls=PlainGroup, rich_help_panel="Run")
#: How the help groups the commands.
PANELS = {
    "Run": (run, retry, plan, status, logs),
    "Results": (table, report, compare, stats, show, diff, predict, export, sync),
    "Here": (methods, gc, doctor),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command("import", rich_help_panel="Results")(import_results)
for each in (app, data.app, tune.app):
    for registered in each.registered_commands:
        registered.cls = PlainCommand


def main() -> None:
    """Run the command line. Wrong input is one sentence and status 2, Ctrl-C is status 130."""
    write_in_any_encoding()
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
