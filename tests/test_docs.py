"""What the pages on own methods, segmentors and suites show works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mmseg.registry import MODELS
from PIL import Image

from im_bench.errors import ImBenchError
from im_bench.methods import registry
from im_bench.models.segmentor import LabelSpaceSegmentor
from im_bench.planning.plan import Plan, make_plan
from im_bench.suites.graph import Stage
from im_bench.training.config import custom_imports, segmentor_config
from im_bench.training.description import parse_training
from im_bench.training.runner import import_custom_modules

DOCS = Path(__file__).parents[1] / "docs"

BACKBONE = """
from mmseg.registry import MODELS
from torch import nn

@MODELS.register_module()
class MyBackbone(nn.Module):
    def __init__(self, depth):
        super().__init__()
        inputs = [3] + [64] * (depth - 1)
        self.layers = nn.ModuleList(nn.Conv2d(count, 64, 3, 2, 1) for count in inputs)

    def forward(self, x):
        return [x := layer(x) for layer in self.layers]
"""


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def plan_of(folder: Path, data: Any, methods: Any) -> Plan:
    path = folder / "own.yaml"
    suite = {"name": "own", "seeds": [1], "data": data, "methods": methods}
    path.write_text(yaml.safe_dump(suite, sort_keys=False))
    return make_plan(path, folder / "runs", folder / "data")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``my_package``, from which can be imported."""
    folder = tmp_path / "my_package"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_the_excerpt_of_the_example_is_true() -> None:
    excerpt, *_ = blocks("your-own-method.md", "python")
    example = (DOCS.parent / "examples" / "mean_teacher" / "mean_teacher.py").read_text()
    lines = [line.strip() for line in excerpt.strip().splitlines()]
    assert not [line for line in lines if line != "..." and line not in example]


def test_your_own_method(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, code, _ = blocks("your-own-method.md", "python")
    (entry_point,) = blocks("your-own-method.md", "toml")
    (suite,) = blocks("your-own-method.md", "yaml")
    header, line = entry_point.strip().splitlines()
    assert header == f'[project.entry-points."{registry.METHODS.group}"]'
    name, target = line.split(" = ")
    module, _, class_name = target.strip('"').partition(":")
    (package / f"{module.removeprefix('my_package.')}.py").write_text(code)
    monkeypatch.setitem(registry.BUILT_IN, name, f"{module}:{class_name}")

    data = {"lesions": {"synth": {"like": "isic2018"}, "size": [64, 64]}}
    plan = plan_of(tmp_path, data, yaml.safe_load(suite)["methods"])

    def stages(method: str, kind: str) -> list[Stage]:
        stages = plan.stages_of(plan.cell(f"lesions/0.1/{method}"))
        return [stage for stage in stages if stage.kind == kind]

    assert plan.cell("lesions/0.1/born2label").title == "Born2Label"
    assert [one.config["mode"] for one in stages("born2label", "pseudo-label")] == [
        "ensemble",
        "im",
    ]
    assert len(stages("born2label", "train")) == 3 + 2 * 3
    assert len(stages("born2label-5", "train")) == 3 + 2 * 5
    members = {stage.key for stage in stages("ldt", "train")}
    for other in ("im", "born2label", "born2label-5"):
        assert members < {stage.key for stage in stages(other, "train")}
    (final,) = stages("born2label", "evaluate")
    assert [role for role in final.inputs if role.startswith("generation-")] == [
        "generation-1",
        "generation-2",
    ]


def test_your_own_suite(tmp_path: Path) -> None:
    minimal, seeds, variants = blocks("your-own-suite.md", "yaml")
    for split, names in {"train": "abcdefghijklmnopqrst", "val": "uv", "test": "wx"}.items():
        for part, mode in {"images": "RGB", "masks": "L"}.items():
            (tmp_path / "polyps" / part / split).mkdir(parents=True)
            for name in names:
                picture = Image.new(mode, (96, 96), int(part == "masks"))
                picture.save(tmp_path / "polyps" / part / split / f"{name}.png")
    description, *_ = blocks("your-own-data.md", "yaml")
    (tmp_path / "polyps" / "dataset.yaml").write_text(description)

    def made(name: str, text: str) -> Plan:
        (tmp_path / f"{name}.yaml").write_text(text)
        return make_plan(tmp_path / f"{name}.yaml", tmp_path / "runs", tmp_path / "data")

    plan = made("polyps-short", minimal)
    assert [cell.problem for cell in plan.cells] == [""] * 3
    methods = yaml.safe_dump({"methods": {"ldt": {}}})
    other = made("seeds", f"name: seeds\n{methods}{seeds}")
    packed = [stage.config["split_seed"] for stage in other.graph if stage.kind == "data"]
    assert packed == [42, 43]
    more = made("more", f"name: more\n{seeds}{variants}")
    titles = ["Inconsistency Masks (IM)", "Inconsistency Masks (IM), im-3"]
    assert [cell.title for cell in more.cells[:2]] == titles


def test_a_method_that_cannot_be_imported_is_named(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "mine.py").write_text("import missing_thing")
    monkeypatch.setitem(registry.BUILT_IN, "mine", "my_package.mine:Mine")
    with pytest.raises(ImBenchError, match=r"'mine' .* my_package.mine:Mine \(.*missing_thing"):
        registry.method_class("mine")


@pytest.mark.parametrize("which", [0, 1], ids=["of-mmseg", "of-ones-own"])
def test_your_own_segmentor(tmp_path: Path, package: Path, which: int) -> None:
    block = yaml.safe_load(blocks("your-own-segmentor.md", "yaml")[which])
    data = block.get("data") or {
        "lesions": {"synth": {"like": "isic2018"}, "size": [64, 64], **block}
    }
    (package / "my_backbone.py").write_text(BACKBONE)
    plan = plan_of(tmp_path, data, {"ldt": {"members": 1}})
    (training,) = [parse_training(one.config) for one in plan.graph if one.kind == "train"]
    meta = {"space": "binary", "outputs": 1, "channels": 3}
    import_custom_modules(custom_imports(training))
    network = MODELS.build(segmentor_config(training, meta))
    assert isinstance(network, LabelSpaceSegmentor)
    assert type(network.backbone).__name__ == (training.model.backbone or {})["type"]
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    prepared = network.data_preprocessor({"inputs": images})["inputs"]
    with torch.no_grad():
        probabilities = network.eval().probabilities(prepared)
    assert probabilities.shape == (2, 1, 64, 64)
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
