from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from im_bench.cli.methods import methods
from im_bench.errors import ImBenchError
from im_bench.methods import known_methods
from im_bench.planning.reference import documented_fields
from im_bench.schedules.registry import schedule_class

app = typer.Typer()
app.command()(methods)


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_all_methods_are_listed_with_their_source():
    printed = run()
    for name in ("ldt", "u2pl", "unimatch", "im"):
        assert name in printed
    assert "CVPR 2023" in printed


def test_fields_are_shown_with_default_range_and_meaning():
    printed = run("unimatch")
    (line,) = (line for line in printed.splitlines() if line.startswith("feature_drop "))
    assert "0.5" in line
    assert "0.1 to 0.9" in line
    assert "Share of the feature channels" in line


def test_an_unknown_method_is_refused():
    with pytest.raises(ImBenchError, match="did you mean 'unimatch'"):
        run("unimach")


@pytest.mark.parametrize("name", known_methods())
def test_every_field_is_documented_and_searches_are_of_fields(name):
    kind = schedule_class(name)
    assert set(kind.model_fields) <= set(documented_fields(kind))
    assert set(kind.search) <= set(kind.model_fields)
    for field, search in kind.search.items():
        values = getattr(search, "values", None) or (search.low, search.high)
        for value in values:
            kind(**{field: value})
