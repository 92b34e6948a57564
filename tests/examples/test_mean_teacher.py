"""The example of a method in a package of its own, installed as its README says."""

from __future__ import annotations


def test_example_runs_against_built_in_methods(install, shorter):
    suite = shorter("mean_teacher", "compare.yaml", "iterations: 150")
    said = install("mean_teacher")("run", "--suite", str(suite), "--no-tracking")
    lines = filter(None, map(str.strip, said.splitlines()))
    rows = {line.split("  ")[0]: line.split("  ")[1:] for line in lines}
    for title in ("FixMatch", "Mean Teacher", "Mean Teacher + IM"):
        # The score, and what masks add to it.
        assert float(" ".join(rows[title]).split()[0]) >= 0
