"""What may be removed of a results folder, and above all what may not."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from im_bench.errors import ImBenchError
from im_bench.files import write_json
from im_bench.planning.plan import Plan, make_plan
from im_bench.runner.attempt import run_attempt
from im_bench.runner.garbage import Garbage, Kind, remove, survey
from im_bench.runner.store import Store
from im_bench.suites.recipes import RECIPES, Recipe

from .rewriting import rewrite
from .stage_functions import KINDS

SUITE = """
name: tiny
seeds: [1]
budget: equal
data:
  lesions: {synth: {like: isic2018, train: 20, val: 4, test: 4}, size: [32, 32]}
methods:
  ldt: {members: 2}
"""


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, recipe in list(RECIPES.items()):
        monkeypatch.setitem(RECIPES, name, Recipe(KINDS["tell"].target, recipe.version))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


def run(suite: Path, store: Store, **options: object) -> Plan:
    """Make all stages of a suite, as far as they are missing."""
    plan = make_plan(suite, store.out, suite.parent / "data", **options)  # type: ignore[arg-type]
    for stage in plan.graph:
        run_attempt(store.prepare(stage, plan.graph).path, threading.Event())
    return plan


def names(store: Store, *suites: Path, kind: Kind = Kind.STAGE) -> list[str]:
    found = survey(store, suites, store.out.parent / "data")
    return [str(g.path.relative_to(store.stages)) for g in found.garbage if g.kind is kind]


def kept(store: Store, *suites: Path) -> list[str]:
    return survey(store, suites, store.out.parent / "data").kept


def change(suite: Path, old: str, new: str) -> None:
    text = suite.read_text()
    assert old in text
    suite.write_text(text.replace(old, new))


def test_other_budgets_and_seeds_are_wanted(suite: Path, store: Store) -> None:
    run(suite, store)
    run(suite, store, budget="paper", seeds=[7, 8])
    assert len(list(store.stages.rglob("result.json"))) == 1 + 3 + 2 * 3
    found = survey(store, [suite], suite.parent)
    assert (found.garbage, found.kept) == ([], [])


def test_what_an_edited_suite_does_not_want_is_removed_and_nothing_else(
    suite: Path, store: Store
) -> None:
    run(suite, store, seeds=[1, 5])
    change(suite, "name: tiny", "name: tiny\ntraining: {batch: 4}")
    plan = run(suite, store, seeds=[1, 5])
    garbage = survey(store, [suite], suite.parent).garbage
    assert len(garbage) == 2 * 3
    assert all(one.size == sum(p.stat().st_size for p in one.path.iterdir()) for one in garbage)
    assert not any("data-" in one.path.name for one in garbage)
    assert [remove(one) for one in garbage] == [""] * 6
    assert not any(one.path.exists() for one in garbage)
    assert all(store.result(stage) for stage in plan.graph)
    assert not list(store.stages.rglob("*.tmp"))
    assert names(store, suite) == []


def test_without_a_suite_no_stage_is_garbage(suite: Path, store: Store) -> None:
    run(suite, store)
    change(suite, "name: tiny", "name: tiny\ntraining: {batch: 4}")
    assert names(store) == []
    assert len(names(store, suite)) == 3


def test_stages_of_a_suite_that_is_remembered_or_unknown_stay(suite: Path, store: Store) -> None:
    mine = suite.with_name("mine.yaml")
    mine.write_text(SUITE.replace("tiny", "mine").replace("members: 2", "members: 3"))
    run(mine, store)
    assert len(names(store, suite)) == 2  # The third member, and the scores.
    store.remember(mine)
    assert names(store, suite) == []
    mine.rename(mine.with_name("other.yaml"))
    with pytest.raises(ImBenchError, match=r"mine\.yaml was run into .* and is gone"):
        names(store, suite)

    change(suite, "lesions", "spots")
    next((store.out / "suites").iterdir()).unlink()
    assert names(store, suite) == []
    assert kept(store, suite) == ["5 stages of the data set 'lesions', which no named suite has"]


def test_without_its_data_nothing_of_a_data_set_is_garbage(suite: Path, store: Store) -> None:
    run(suite, store)
    change(suite, "{synth: {like: isic2018, train: 20, val: 4, test: 4}, size: [32, 32]}", "{}")
    assert names(store, suite) == []
    (sentence,) = kept(store, suite)
    assert sentence.startswith("4 stages of the data set 'lesions', which is not at --data-root")


def test_results_on_the_data_of_another_root_stay(suite: Path, store: Store) -> None:
    plan = run(suite, store)
    data = next(stage for stage in plan.graph if stage.kind == "data")
    path = store.folder(data).path / "stage.json"
    description = suite.with_name("dataset.yaml")
    rewrite(path, paths={"description": str(description)})
    change(suite, "train: 20", "train: 21")
    assert len(names(store, suite)) == 4
    description.touch()
    assert names(store, suite) == []
    (sentence,) = kept(store, suite)
    assert sentence.startswith(f"4 stages of the data set 'lesions' made from {description}")


def test_what_kept_stages_need_and_what_is_no_stage_stays(suite: Path, store: Store) -> None:
    plan = run(suite, store)
    final = next(stage for stage in plan.graph if stage.kind == "evaluate")
    spec = store.folder(final).spec()
    other = store.stages / "elsewhere" / f"scores-{final.key[:8]}"
    at = {"purpose": "scores", "data": "elsewhere", "seed": None}
    moved = replace(spec, slug="elsewhere/scores", coordinates=at)
    write_json(other / "stage.json", asdict(moved))
    write_json(store.stages / "notes" / "stage.json", {"mine": True})
    change(suite, "train: 20", "train: 21")
    assert names(store, suite) == [final.folder]
    assert len(kept(store, suite)) == 3


def test_what_a_living_process_holds_stays(suite: Path, store: Store) -> None:
    plan = run(suite, store)
    scores = store.folder(next(stage for stage in plan.graph if stage.kind == "evaluate"))
    (scores.path / "scratch").mkdir()
    temporary = scores.path / ".x.json.0123abcd.tmp"
    temporary.touch()
    os.utime(temporary, (0, 0))
    change(suite, "name: tiny", "name: tiny\ntraining: {batch: 4}")
    with scores.lock():
        found = survey(store, [suite], suite.parent)
        assert all(scores.path not in (g.path, *g.path.parents) for g in found.garbage)
        assert found.kept == ["1 stages that a living process may hold"]
        for kind in Kind:
            assert "is held by process" in remove(Garbage(kind, scores.path, scores, 0))
    assert scores.result()
    assert temporary.exists()


def test_scratch_of_done_stages_and_old_temporary_files(suite: Path, store: Store) -> None:
    plan = run(suite, store)
    done, unfinished, *_ = (store.folder(stage).path for stage in plan.graph)
    (unfinished / "result.json").unlink()
    for folder in (done, unfinished):
        (folder / "scratch").mkdir()
        (folder / "scratch" / "last.pth").write_bytes(b"x" * 1000)
    old = [done / ".a.json.0123abcd.tmp", store.stages / ".b-1.0123abcd.tmp", done / "b" / "c"]
    for path in (*old[:2], unfinished / ".new.json.0123abcd.tmp"):
        path.mkdir()
        (path / "part").write_bytes(b"x" * 10)
    for path in old[:2]:
        os.utime(path, (0, 0))
    garbage = survey(store, [], suite.parent).garbage
    found = {(one.kind, one.path): one.size for one in garbage}
    assert found == {
        (Kind.SCRATCH, done / "scratch"): 1000,
        (Kind.TEMPORARY, old[0]): 10,
        (Kind.TEMPORARY, old[1]): 10,
    }
    assert [remove(one) for one in garbage] == ["", "", ""]
    assert not any(one.path.exists() for one in garbage)
    assert (unfinished / "scratch" / "last.pth").exists()
    assert store.folder(next(iter(plan.graph))).result()


def test_no_link_is_followed(suite: Path, store: Store, tmp_path: Path) -> None:
    plan = run(suite, store)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    done = store.folder(next(iter(plan.graph))).path
    (done / "scratch").symlink_to(precious)
    (done / ".x.0123abcd.tmp").symlink_to(precious)
    (store.stages / "lesions" / "outside").symlink_to(precious)
    write_json(precious / "stage.json", {})
    found = survey(store, [suite], suite.parent)
    assert (found.garbage, found.kept) == ([], [])
    (done / "arrays").symlink_to(precious)
    change(suite, "train: 20", "train: 21")
    garbage = survey(store, [suite], suite.parent).garbage
    assert done in [one.path for one in garbage]
    assert not any(map(remove, garbage))
    assert sorted(path.name for path in precious.iterdir()) == ["file", "stage.json"]
    for one in garbage:
        one.path.symlink_to(precious)
        assert "is a link" in remove(one)

    store.stages.rename(tmp_path / "moved")
    store.stages.symlink_to(tmp_path / "moved")
    with pytest.raises(ImBenchError, match="is a link, which is not followed"):
        survey(store, [suite], suite.parent)
