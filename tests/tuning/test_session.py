"""Whole searches: with light stages by the command line and in this process."""

from __future__ import annotations

import os
import signal

import pytest
import yaml

from im_bench.files import read_json
from im_bench.runner.folder import StageFolder, Status
from im_bench.tuning.study import TrialState

from .conftest import Command, Laboratory, wait_until

OVER = {Status.PRUNED, Status.DONE}


def in_order(steps: list[list[str]]) -> bool:
    """Return whether nobody took a step of another's while that one was at work."""
    pids = [pid for _, pid in steps]
    turns = [pid for index, pid in enumerate(pids) if index == 0 or pids[index - 1] != pid]
    return len(turns) == len(set(turns)) and steps == sorted(steps, key=lambda one: int(one[0]))


def test_a_search_runs_its_budget_and_the_same_command_adds_nothing(lab: Laboratory) -> None:
    ran, said = lab.search(6, pruner="none")
    assert (ran.exit_code, ran.counts) == (0, {"complete": 6})
    records = lab.records()
    assert records[0].params == {"threshold": 0.95}, "the method's own value comes first"
    for record in records:
        (value,) = record.values
        assert value == pytest.approx(1 - abs(record.params["threshold"] - 0.6))
    assert "trial 0: iou 0.6500" in said
    again, said = lab.search(6, pruner="none")
    assert (again.exit_code, again.counts) == (0, {"complete": 6})
    assert "trial" not in said
    more, _ = lab.search(8, pruner="none")
    assert more.counts == {"complete": 8}
    assert lab.records()[:6] == records
    assert len(lab.trainings()) == 8


def test_two_processes_share_a_journal_and_run_the_budget_once(lab: Laboratory) -> None:
    both = [
        lab.start(10, "--parallel", "2", "--slots", "2", LIGHT_SECONDS="0.03") for _ in range(2)
    ]
    assert [one.wait(120) for one in both] == [0, 0], [lab.said(one) for one in both]
    counted = lab.counted()
    assert len(counted) == 10
    assert {record.state for record in counted} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({record.attributes["worker"] for record in counted}) == 2
    assert len({record.params["threshold"] for record in counted}) == 10
    assert all(in_order(steps) for steps in lab.trainings().values())


def test_a_killed_search_goes_on_where_it_was(lab: Laboratory) -> None:
    lab.search(2, pruner="none")
    finished = lab.records()
    options = ("--pruner", "none", "--parallel", "1", "--slots", "1")
    killed = lab.start(4, *options, LIGHT_SECONDS="0.4")
    wait_until(lambda: any(len(steps) == 3 for steps in lab.trainings().values()))
    killed.kill()
    killed.wait()
    (begun,) = (path for path, steps in lab.trainings().items() if len(steps) < 5)
    wait_until(lambda: StageFolder(begun).status is Status.PLANNED)
    again = lab.start(4, *options)
    assert again.wait(60) == 0, lab.said(again)
    assert "trial 2: its worker died; its values are tried anew" in lab.said(again)
    records = lab.records()
    assert records[:2] == finished
    assert [record.state.value for record in records] == [
        "complete", "complete", "lost", "complete", "complete",
    ]  # fmt: skip
    assert records[3].params == records[2].params
    assert records[2].reason == "its worker ended; trial 3 goes on for it"
    assert len(lab.trainings()) == 4
    steps = lab.trainings()[begun]
    assert in_order(steps)
    assert len({pid for _, pid in steps}) == 2
    assert len(steps) <= 6, "it was continued, at most with the step that was cut short again"
    result = read_json(begun / "result.json")
    assert (result["attempts"], result["restarts"]) == (2, 1)


def test_after_an_interrupt_the_next_session_goes_on_at_once(lab: Laboratory) -> None:
    options = ("--pruner", "none", "--parallel", "2", "--slots", "2")
    stopped = lab.start(3, *options, LIGHT_SECONDS="0.4")
    wait_until(lambda: sum(len(steps) >= 2 for steps in lab.trainings().values()) == 2)
    os.killpg(stopped.pid, signal.SIGINT)
    assert stopped.wait(30) == 130
    said = lab.said(stopped)
    assert "Traceback" not in said
    assert "Continue with:" in said
    assert [record.state.value for record in lab.records()] == [
        "lost", "lost", "waiting", "waiting",
    ]  # fmt: skip
    again = lab.start(3, *options)
    assert again.wait(60) == 0, lab.said(again)
    assert [record.state.value for record in lab.counted()] == ["complete"] * 3
    assert len(lab.trainings()) == 3
    assert sorted(len({pid for _, pid in steps}) for steps in lab.trainings().values()) == [1, 2, 2]


def test_a_trial_that_fails_says_why_and_the_others_go_on(lab: Laboratory) -> None:
    failed = lab.start(
        8, "--pruner", "none", "--sampler", "random", "--parallel", "2", LIGHT_FAIL_BELOW="0.9"
    )
    assert failed.wait(60) == 1, lab.said(failed)
    assert "Traceback" not in lab.said(failed)
    records = lab.records()
    assert len(records) == 8
    assert records[0].state is TrialState.COMPLETE
    bad = [record for record in records if record.params["threshold"] < 0.9]
    assert len(bad) > 2
    for record in bad:
        assert record.state is TrialState.FAILED
        assert record.reason.endswith("member1: the masks are upside down: turn them")
    again, _ = lab.search(8, pruner="none", sampler="random")
    assert again.exit_code == 0, "nothing failed in this session"


@pytest.mark.parametrize("pruner", ["median", "hyperband", "wilcoxon"])
def test_what_falls_behind_is_pruned_and_can_be_finished(
    lab: Laboratory, command: Command, pruner: str
) -> None:
    # Beside the method's own value, which comes first, nothing in this space is worth much.
    lab.space.write_text("threshold: {low: 0.94, high: 0.999}\n")
    seeds, trials = (range(1001, 1007), 3) if pruner == "wilcoxon" else (range(1001, 1003), 7)
    ran, said = lab.search(trials, seeds=list(seeds), pruner=pruner, sampler="random", parallel=1)
    assert ran.exit_code == 0, said
    assert ran.counts.get("pruned", 0) > 0, said
    assert sum(ran.counts.values()) == trials
    on = ("--suite", str(lab.out / "tuning" / "s" / "s.yaml"), "--out", str(lab.out))
    pruned = next(one for one in lab.records() if one.state is TrialState.PRUNED)
    assert pruned.reason.startswith("at step ")
    status = command("status", *on)
    name = f"fixmatch-t{pruned.number} "
    (row,) = (line for line in status.stdout.splitlines() if name in line)
    assert "pruned" in row
    assert "planned" not in row
    marked = [path.parent for path in lab.store.stages.glob("**/pruned.json")]
    # A training may have been done before it learnt of it.
    assert Status.PRUNED in {StageFolder(path).status for path in marked} <= OVER
    table = command("table", *on)
    assert "pruned" in table.stdout, table.stderr
    page = command("report", *on)
    assert page.returncode == 0, page.stderr
    garbage = command("gc", *on[2:])
    assert garbage.returncode == 0, garbage.stderr
    before = lab.records()
    finished = command("run", *on, "--no-tracking", "--device", "cpu", "--no-table")
    assert finished.returncode == 0, finished.stderr
    assert {StageFolder(path).status for path in marked} == {Status.DONE}
    assert " pruned " not in command("status", *on).stdout.replace(" 0 pruned", "")
    assert lab.records() == before


def test_the_study_suite_names_the_trials_and_trains_nothing_twice(
    lab: Laboratory, command: Command
) -> None:
    lab.search(3, data=["isic", "more"], seeds=[1001, 1002], pruner="none")
    path = lab.out / "tuning" / "s" / "s.yaml"
    written = yaml.safe_load(path.read_text())
    assert written["scores"] == "val"
    assert written["seeds"] == [1001, 1002]
    assert sorted(written["methods"]) == ["fixmatch-t0", "fixmatch-t1", "fixmatch-t2"]
    again = command("run", "--suite", str(path), "--out", str(lab.out), "--no-tracking")
    assert again.returncode == 0, again.stderr
    assert len(lab.trainings()) == 3 * 4
    assert all(len(steps) == 5 for steps in lab.trainings().values())
