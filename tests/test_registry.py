"""Registries: what is built in, what packages bring, and what is wrong with it in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from im_bench.data.prepare.registry import DATA_SETS, find_recipe
from im_bench.errors import ImBenchError
from im_bench.evaluation.registry import METRICS
from im_bench.methods.registry import METHODS
from im_bench.registry import Registry
from im_bench.runner.engines.choice import ENGINES, engine_kind

ALL = (METHODS, DATA_SETS, METRICS, ENGINES)


class Base:
    pass


class Built(Base):
    pass


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: str) -> None:
    """Put a distribution with these entry points of the group ``test.things`` on the path."""
    info = tmp_path / "things-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: things\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[test.things]\n{points}\n")
    (tmp_path / "things_module.py").write_text(
        f"from {__name__} import Base\nclass Own(Base): ...\nclass Other: ...\nnumber = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "things_module", raising=False)


def things() -> Registry:
    return Registry("thing", "test.things", {"built": f"{__name__}:Built"}, base=Base)


def test_built_in_and_installed_ones_are_found_by_name(tmp_path, monkeypatch) -> None:
    installed(tmp_path, monkeypatch, "own = things_module:Own")
    registry = things()
    assert list(registry) == ["built", "own"]
    assert "things_module" not in sys.modules  # not before it is asked for
    assert registry["own"].__name__ == "Own"
    assert dict(registry.items())["built"] is Built
    assert "other" not in registry
    assert list(registry.code("own")) == ["things_module"]
    assert registry.code("other") == {}


@pytest.mark.parametrize(
    ("points", "name", "sentence"),
    [
        ("", "bild", "unknown thing 'bild': did you mean 'built'"),
        ("own = things_module:Missing", "own", "thing 'own' cannot be imported .*: correct the"),
        ("own = no_such_module:Own", "own", "thing 'own' cannot be imported from no_such_module"),
        ("own = things_module:Other", "own", "is no subclass of Base: derive it from that"),
        ("own = things_module:number", "own", r"\(things_module:number\) is no class: name one"),
        ("built = things_module:Own", "built", "things_module:Own names a thing 'built', which is"),
        ("a = things_module:Own\nA = x:Y\nbuilt=x:Y", "a", "x:Y names a thing 'built'"),
    ],
)
def test_what_is_wrong_is_one_sentence(points, name, sentence, tmp_path, monkeypatch) -> None:
    installed(tmp_path, monkeypatch, points)
    with pytest.raises(ImBenchError, match=sentence) as error:
        things()[name]
    assert "\n" not in str(error.value)


def test_instances_are_no_classes() -> None:
    registry = Registry("thing", "test", {"a": f"{__name__}:ALL"}, base=Base, instances=True)
    with pytest.raises(ImBenchError, match="is no Base: name one"):
        registry["a"]


@pytest.mark.parametrize("registry", ALL, ids=lambda registry: registry.kind)
def test_all_that_is_built_in_can_be_loaded(registry: Registry) -> None:
    assert list(registry)[: len(registry.built_in)] == list(registry.built_in)
    assert all(loaded is not None for _, loaded in registry.items())


def test_names_agree() -> None:
    assert all(engine_kind(name).model_fields["engine"].default == name for name in ENGINES)
    assert all(find_recipe(name).name == name for name in DATA_SETS)


@pytest.mark.parametrize("name", METRICS.built_in)
def test_metrics_say_what_tables_need(name: str) -> None:
    kind = METRICS[name]
    assert kind.title
    assert kind.definition or not kind.headline, "a headline is explained in footers"
    assert "/" not in name


def test_planning_reads_all_registries_without_heavy_imports() -> None:
    code = (
        "import sys; from im_bench.evaluation.registry import METRICS; "
        "from im_bench.methods.registry import METHODS; "
        "from im_bench.runner.engines.choice import ENGINES; "
        "[list(each.items()) for each in (METRICS, METHODS, ENGINES)]; "
        "sys.exit(str({'torch', 'numpy', 'cv2', 'mmengine'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""
