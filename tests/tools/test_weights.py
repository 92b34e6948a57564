"""Initial weights that the command line names."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import load_checkpoint
from im_bench.tools.commands import run_training
from im_bench.tools.configs import load_config
from im_bench.tools.weights import set_backbone_weights

from .conftest import small

DINO = "mm_configs/unimatch_v2/unimatch-v2_dinov2-s_cs_1-8.py"
MASKED = "mm_configs/im/unimatch-v2_dinov2-s_cs_1-8.py"
SEGKC = "mm_configs/segkc/segkc_dinov2-s_cs_1-8.py"
RESNET = "mm_configs/unimatch/unimatch_r50_cs_1-8.py"
_names = itertools.count()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "weights.pth"
    path.touch()
    return str(path)


def test_each_backbone_gets_its_weights_in_order(file: str) -> None:
    config = load_config(SEGKC)
    assert config.model.segmentor.backbone.weights == config.model.twin.backbone.weights == "hub"
    set_backbone_weights(config, [file, "random"])
    assert config.model.segmentor.backbone.weights == file
    assert config.model.twin.backbone.weights == "random"


def test_other_backbones_get_theirs_as_mmengine_reads_them(file: str) -> None:
    config = load_config(RESNET)
    set_backbone_weights(config, [file])
    assert config.model.segmentor.backbone.init_cfg == {"type": "Pretrained", "checkpoint": file}
    set_backbone_weights(config, ["random"])
    assert config.model.segmentor.backbone.init_cfg is None


def test_one_file_for_two_backbones_or_none_at_all_is_told(file: str) -> None:
    with pytest.raises(
        ImBenchError, match=r"has 2 backbones \(model\.segmentor\.backbone, model\.tw"
    ):
        set_backbone_weights(load_config(SEGKC), [file])
    with pytest.raises(ImBenchError, match=r"weights nothing\.pth do not exist"):
        set_backbone_weights(load_config(DINO), ["nothing.pth"])


@pytest.mark.parametrize("config", [DINO, MASKED])
def test_a_training_begins_with_the_weights_that_are_named(
    config: str, cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYSCAPES", str(cityscapes))
    named = [f"experiment_name=weights-{next(_names)}", "optim_wrapper.optimizer.lr=0.0"]
    name, flag, *options = small(config, iterations=1, options=named)
    options = [each for each in options if not each.endswith("weights=random")]
    backbone = dict(load_config(config).model.segmentor.backbone)
    sizes = {"hidden_size": 12, "num_hidden_layers": 4, "num_attention_heads": 2}
    torch.manual_seed(9)
    made = MODELS.build(
        {**backbone, "weights": "random", "out_indices": (0, 1, 2, 3), "options": sizes}
    )
    file = tmp_path / "weights.pth"
    torch.save(made.state_dict(), file)
    arguments = [name, flag, *options, "--work-dir", str(tmp_path / "out")]
    run_training([*arguments, "--backbone-weights", str(file)])
    trained = load_checkpoint(tmp_path / "out" / "iter_1.pth")["state_dict"]
    for part in ("student", "companion"):
        for key, value in made.state_dict().items():
            assert torch.equal(trained[f"{part}.backbone.{key}"], value)
