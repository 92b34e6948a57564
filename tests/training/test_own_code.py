"""Code outside im-bench is part of the keys of what it makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from im_bench import own_code
from im_bench.errors import ImBenchError
from im_bench.own_code import MISSING, source_hash
from im_bench.training.own_code import check_unchanged, code_of

METHOD = """
from typing import ClassVar
from im_bench.methods.supervised import Supervised
{imports}
class Own(Supervised):
    title: ClassVar[str] = "Own"
    {body}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that writes modules into a folder on the path, as if in a new process."""
    monkeypatch.syspath_prepend(tmp_path)

    def forget() -> None:
        for cached in ("source_hash", "_found", "_home", "_is_shared", "_related"):
            getattr(own_code, cached).cache_clear()
        own_code._distributions.cache_clear()

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py".replace("/init/", "__init__")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        forget()

    yield write
    forget()


PACKAGE = {
    "ownnet__nets__head": "from ..parts import layers as l\nfrom . import sizes\nimport numpy",
    "ownnet__nets__sizes": "SIZE = 3",
    "ownnet__parts__layers": "import im_bench.lazy as lazy\nx = lazy.lazy_module('ownnet.late')",
    "ownnet__late": "import importlib\nimportlib.import_module('.later', __package__)",
    "ownnet__later": "def f():\n    from ownbeside import g",
    "ownnet__unused": "A = 1",
    "ownbeside": "def g(): ...",
    "ownother": "A = 1",
}


@pytest.mark.parametrize("edited", sorted(PACKAGE.keys() - {"ownnet__unused", "ownother"}))
def test_an_edit_of_what_is_imported_changes_the_hash(write: Any, edited: str) -> None:
    write(**PACKAGE)
    before = source_hash("ownnet.nets.head")
    write(**{edited: PACKAGE[edited] + "\nB = 2"})
    assert source_hash("ownnet.nets.head") != before != MISSING


@pytest.mark.parametrize("edited", ["ownnet__unused", "ownother"])
def test_an_edit_of_what_is_not_imported_changes_nothing(write: Any, edited: str) -> None:
    write(**PACKAGE)
    before = source_hash("ownnet.nets.head")
    write(**{edited: "A = 2"})
    assert source_hash("ownnet.nets.head") == before


def test_packages_run_their_init_file(write: Any, tmp_path: Path) -> None:
    write(**PACKAGE)
    before = source_hash("ownnet.nets.head")
    (tmp_path / "ownnet" / "__init__.py").write_text("import ownother")
    write()
    with_init = source_hash("ownnet.nets.head")
    write(ownother="A = 2")
    assert len({before, with_init, source_hash("ownnet.nets.head")}) == 3


def test_modules_that_import_each_other_have_a_hash(write: Any) -> None:
    write(ownfirst="import ownsecond", ownsecond="import ownfirst")
    assert source_hash("ownfirst") != MISSING


def test_what_is_not_there_or_cannot_be_read_is_no_traceback(write: Any) -> None:
    write(ownbroken="def f(:", ownsurrogate="x = '\\x00'")
    assert source_hash("no_such_module.at_all") == MISSING
    assert source_hash("ownbroken") != MISSING
    assert source_hash("ownbroken.missing") == MISSING


def test_beside_installed_packages_only_ones_own_distribution_counts(
    write: Any, tmp_path: Path
) -> None:
    info = tmp_path / "ownnet-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ownnet\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("ownnet\n")
    write(**PACKAGE)
    before = source_hash("ownnet.nets.head")
    write(ownbeside="changed = 1")
    assert source_hash("ownnet.nets.head") == before
    (info / "top_level.txt").write_text("ownnet\nownbeside\n")
    write()
    assert source_hash("ownnet.nets.head") != before


def test_hashing_imports_nothing(write: Any) -> None:
    write(ownloud="raise SystemExit('imported')")
    assert source_hash("ownloud") != MISSING
    assert "ownloud" not in sys.modules


def training(**fields: Any) -> dict[str, Any]:
    return {"model": {"custom_imports": ()}, **fields}


def test_built_in_methods_and_modules_have_no_code_of_their_own() -> None:
    network = {"custom_imports": ["im_bench.models.dpt"]}
    assert code_of({"model": network, "twin": network, "method": {"name": "unimatch"}}) == {}


def test_code_that_changes_between_plan_and_training_is_told(write: Any) -> None:
    write(ownhead="A = 1", owntwin="A = 1")
    planned = training(model={"custom_imports": ["ownhead"]}, twin={"custom_imports": ["owntwin"]})
    planned["code"] = code_of(planned)
    check_unchanged(planned)
    write(owntwin="A = 2")
    with pytest.raises(ImBenchError, match="the code of owntwin has changed since this suite was"):
        check_unchanged(planned)


SUITE = """
name: own
seeds: [1]
data: {drawn: {synth: {like: isic2018}, size: [32, 32], model: {custom_imports: [ownhead]}}}
methods: {own: {}, supervised: {}}
"""
PLAN = """
import json, sys
from pathlib import Path
from im_bench.planning.plan import make_plan
from im_bench.runner.provenance import provenance
from im_bench.runner.job import Settings
plan = make_plan(Path("own.yaml"), Path("runs"), Path("data"))
stages = [stage for stage in plan.graph if stage.kind == "train"]
by_method = {stage.config["method"]["name"]: stage for stage in stages}
code = sorted(by_method["own"].config["code"])
heavy = [name for name in ("torch", "numpy", "cv2", "ownhead") if name in sys.modules]
print(json.dumps({
    **{name: stage.key for name, stage in by_method.items()},
    "code": code, "heavy": heavy, "provenance": provenance(Settings("cpu"), code)["own_code"],
}))
"""


def plan(folder: Path) -> dict[str, Any]:
    """Return the keys of both trainings and what is known of the code, found in a new process."""
    places = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PLAN],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_an_edited_method_is_trained_anew(tmp_path: Path) -> None:
    info = tmp_path / "ownthings-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ownthings\nVersion: 2.5\n")
    (info / "top_level.txt").write_text("ownmethod\n")
    (info / "entry_points.txt").write_text("[im_bench.methods]\nown = ownmethod:Own\n")
    (tmp_path / "own.yaml").write_text(SUITE)
    (tmp_path / "ownhead.py").write_text("")
    method = tmp_path / "ownmethod.py"
    method.write_text(METHOD.format(imports="", body=""))
    first = plan(tmp_path)
    assert first["code"] == ["ownhead", "ownmethod"]
    assert first["heavy"] == []
    assert first["provenance"]["ownmethod"]["distribution"] == "ownthings"
    assert first["provenance"]["ownmethod"]["version"] == "2.5"
    assert plan(tmp_path) == first

    method.write_text(METHOD.format(imports="", body="factor: ClassVar[float] = 100.0"))
    second = plan(tmp_path)
    assert second["own"] != first["own"]
    assert second["supervised"] == first["supervised"]

    (tmp_path / "ownhead.py").write_text("WIDTH = 3")
    third = plan(tmp_path)
    assert {third["own"], third["supervised"]}.isdisjoint({second["own"], second["supervised"]})

    method.write_text(METHOD.format(imports="", body="version: ClassVar[int] = 1"))
    declared = plan(tmp_path)
    method.write_text(METHOD.format(imports="# changed", body="version: ClassVar[int] = 1"))
    assert plan(tmp_path)["own"] == declared["own"]
    method.write_text(METHOD.format(imports="# changed", body="version: ClassVar[int] = 2"))
    assert plan(tmp_path)["own"] != declared["own"]


def test_provenance_has_the_commit_of_a_checkout(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(SUITE.replace("own: {}, ", ""))
    (tmp_path / "ownhead.py").write_text("")
    code = PLAN.replace('by_method["own"]', 'by_method["supervised"]')
    assert code != PLAN
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "ownhead.py"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (known,) = json.loads(done.stdout)["provenance"].values()
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert known == {
        "distribution": None,
        "version": None,
        "commit": head.stdout.strip(),
        "dirty": False,
    }
