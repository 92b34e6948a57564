"""The example of an engine in a package of its own, installed as its README says."""

from __future__ import annotations

from .conftest import EXAMPLES

SUITE = """
name: two
seeds: [1]
budget: equal
budgets: {equal: {iterations: 4}}
training: {batch: 2, validations: 1}
data:
  lesions: {synth: {like: isic2018, train: 10, val: 2, test: 2}, size: [32, 32]}
methods: {ldt: {members: 1}}
"""


def test_example_runs_every_stage_and_writes_its_command(install, tmp_path):
    (tmp_path / "two.yaml").write_text(SUITE)
    im_bench = install("echo_engine")
    run = ("run", "--suite", "two.yaml", "--no-tracking", "--engine")
    said = im_bench(*run, str(EXAMPLES / "echo_engine" / "echo.yaml"))
    assert "IoU % ↑" in said
    commands = (tmp_path / "runs" / "commands.txt").read_text().splitlines()
    assert len(commands) == 3  # data, training, scores
    assert all("im_bench.runner.stage" in command for command in commands)
    said = im_bench(*run, "echo", "--slots", "2", code=2)
    assert "--slots means nothing to the engine 'echo': leave it out" in said
