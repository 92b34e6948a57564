"""The configs that MMSegmentation's users start from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from im_bench.training.semi_supervised import SemiSupervisedSegmentor

ROOT = Path(__file__).parents[2] / "mm_configs"
BASE = ROOT / "_base_"

METHODS = ("supervised", "fixmatch", "fpl", "crossmatch", "imas", "u2pl", "unimatch", "daw")
METHODS += ("rankmatch", "unimatch-v2", "segkc")
NETWORKS = {"unimatch-v2": ("dinov2-s", "dinov2-b"), "segkc": ("dinov2-s",)}
SPLITS = {"1-16": (186, 2789), "1-8": (372, 2603), "1-4": (744, 2231), "1-2": (1488, 1487)}
CONFIGS = [
    (folder, method, split, network)
    for method in METHODS
    for network in NETWORKS.get(method, ("r50",))
    for split in SPLITS
    for folder in (method.replace("-", "_"), "im")
]

VOC_METHODS = ("supervised", "fixmatch", "imas", "u2pl", "unimatch", "rankmatch")
VOC_SPLITS = {
    **{str(count): count for count in (92, 183, 366, 732, 1464)},
    **{"1-16": 662, "1-8": 1323, "1-4": 2646},
}
VOC_CONFIGS = [
    (folder, method, depth, split)
    for method in VOC_METHODS
    for depth in (50, 101)
    for split in VOC_SPLITS
    for folder in (method, "im")
]

# As METHODS of the original code bases have it: batch, epochs, rate, decay, crop, stride, min_kept.
RECIPES = {
    "unimatch": (8, 240, 0.005, 1e-4, 801, 534, 800_000),
    "u2pl": (16, 200, 0.01, 5e-4, 769, 513, 800_000),
    "imas": (16, 240, 0.01, 5e-4, 769, 512, 400_000),
    "fpl": (8, 140, 0.02 / 8, 1e-4 * 8, 800, 534, 400_000),  # see the recipe
    "unimatch-v2": (8, 180, 40 * 5e-6, 0.01, 798, 532, 800_000),
}
RECIPES["segkc"] = RECIPES["unimatch-v2"]


def load(folder: str, method: str, split: str, network: str = "") -> Config:
    network = network or NETWORKS.get(method, ("r50",))[0]
    return Config.fromfile(ROOT / folder / f"{method}_{network}_cs_{split}.py")


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("multiclass", 9), ("multilabel", 3)])
def test_the_unet_is_built_in_any_label_space(kind: str, outputs: int) -> None:
    config = Config.fromfile(BASE / "models" / "unet_1x1.py")
    config.merge_from_dict({"model.label_space": {"kind": kind, "outputs": outputs}})
    model = MODELS.build(config.model).eval()
    with torch.inference_mode():
        assert model.probabilities(torch.rand(2, 3, 32, 48)).shape == (2, outputs, 32, 48)


def test_there_is_a_config_for_each_method_and_split_with_and_without_masks() -> None:
    expected = {f"{f}/{method}_{network}_cs_{split}.py" for f, method, split, network in CONFIGS}
    expected |= {f"{f}/{m}_r{depth}_voc_{split}.py" for f, m, depth, split in VOC_CONFIGS}
    found = {str(path.relative_to(ROOT)) for path in ROOT.glob("[!_]*/*.py")}
    assert found == expected
    assert len(found) == 96 + 192


@pytest.mark.parametrize(("folder", "method", "split", "network"), CONFIGS)
def test_a_config_trains_its_method_on_its_split(
    folder: str, method: str, split: str, network: str
) -> None:
    config = load(folder, method, split, network)
    data = config.train_dataloader.dataset
    with DefaultScope.overwrite_default_scope("mmseg"), torch.device("meta"):
        model = MODELS.build(config.model)
    assert isinstance(model, SemiSupervisedSegmentor)
    assert config.model.method.name == method
    assert data.get("partner", "none") == model.method.partner

    labelled_only = method == "supervised" and folder != "im"
    assert data.labelled.ann_file == f"lists/u2pl-{split}/labelled.txt"
    if labelled_only:
        assert data.unlabelled is None
    else:
        assert data.unlabelled.ann_file == f"lists/u2pl-{split}/unlabelled-and-val.txt"
    hooks = [hook.type for hook in config.get("custom_hooks", ())]
    assert hooks == (["InconsistencyMaskHook"] if folder == "im" else [])

    labelled, unlabelled = SPLITS[split]
    batch, epochs, rate, decay, *_, min_kept = RECIPES.get(method, RECIPES["unimatch"])
    images = max(labelled, unlabelled) if method == "fpl" else unlabelled
    if labelled_only:
        batch, images = 16, labelled
    assert config.train_dataloader.batch_size == batch
    assert config.train_cfg.max_iters == epochs * (images // batch)
    assert config.train_cfg.val_interval == images // batch
    assert config.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert config.optim_wrapper.optimizer.weight_decay == pytest.approx(decay)
    assert config.model.labelled_loss.min_kept == min_kept


@pytest.mark.parametrize("method", METHODS)
def test_views_and_windows_are_those_of_the_original(method: str) -> None:
    config = load(method.replace("-", "_"), method, "1-16")
    *_, crop, stride, _ = RECIPES.get(method, RECIPES["unimatch"])
    windows = config.model.segmentor.windows
    assert (windows.window, windows.stride) == (crop, stride)
    step = config.train_dataloader.dataset.labelled.pipeline[-1]
    views = [view for [view] in step.transforms] if step.type == "RandomChoice" else [step]
    assert {view.crop for view in views} == {crop}
    assert min(view.ratio[0] for view in views) == 0.5
    assert max(view.ratio[1] for view in views) == 2.0
    # U2PL shrinks by PyTorch, CPS by OpenCV, both without anti-aliasing; the others by Pillow.
    backend = "cv2" if method in ("u2pl", "fpl") else "pillow"
    assert {view.get("backend", "pillow") for view in views} == {backend}


@pytest.mark.parametrize(("folder", "method", "depth", "split"), VOC_CONFIGS)
def test_files_for_pascal_follow_one_rule(folder: str, method: str, depth: int, split: str) -> None:
    """So that those that are built below stand for all."""
    text = (ROOT / folder / f"{method}_r{depth}_voc_{split}.py").read_text()
    doc, code = text.removeprefix('"""').split('"""\n\n')
    count = f"{split} labelled images" if split.isdigit() else f"{split.replace('-', '/')} of the"
    assert f"ResNet-{depth} on Pascal, {count}" in doc
    assert ("with masks" in doc) == (folder == "im")
    masks, name = '"../_base_/inconsistency_masks.py"', f"{method}_r{depth}_voc_{split}.py"
    own = f'split = "{split}"\ntrain_dataloader = dict(dataset=_base_.lists[split])\n'
    own += "train_cfg = _base_.schedule[split]\n"
    if depth == 101 and (folder != "im" or method == "supervised"):
        assert code == (
            f'_base_ = "{method}_r50_voc_{split}.py"\n'
            "model = dict(segmentor=dict(backbone=_base_.resnet101))\n"
        )
    elif folder != "im":
        assert code == f'_base_ = "../_base_/methods/{method}_voc.py"\n{own}'
    elif method == "supervised":
        base = '"../_base_/methods/supervised_with_masks_voc.py"'
        assert code == f"_base_ = [{base}, {masks}]\n{own}"
    else:
        assert code == f'_base_ = ["../{method}/{name}", {masks}]\n'


# Each method on both networks, without and with masks; each on splits of its own.
VOC_SAMPLE = [
    (folder, method, depth, [*VOC_SPLITS][(3 * m + 5 * d + f) % len(VOC_SPLITS)])
    for m, method in enumerate(VOC_METHODS)
    for d, depth in enumerate((50, 101))
    for f, folder in enumerate((method, "im"))
]


@pytest.mark.parametrize(("folder", "method", "depth", "split"), VOC_SAMPLE)
def test_a_config_for_pascal_trains_its_method_as_the_original(
    folder: str, method: str, depth: int, split: str
) -> None:
    config = Config.fromfile(ROOT / folder / f"{method}_r{depth}_voc_{split}.py")
    with DefaultScope.overwrite_default_scope("mmseg"), torch.device("meta"):
        model = MODELS.build(config.model)
    assert isinstance(model, SemiSupervisedSegmentor)
    assert config.model.method.name == method
    assert model.student.backbone.depth == depth
    assert f"resnet{depth}" in config.model.segmentor.backbone.init_cfg.checkpoint
    assert model.student.decode_head.num_classes == model.space.outputs == 21
    assert not model.student.with_auxiliary_head
    assert config.model.segmentor.windows.mode == "whole"
    assert "labelled_loss" not in config.model
    assert [each.type for each in config.get("custom_hooks", ())] == (
        ["InconsistencyMaskHook"] if folder == "im" else []
    )

    data, labelled = config.train_dataloader.dataset, VOC_SPLITS[split]
    family = "classic" if split.isdigit() else "u2pl"
    assert data.labelled.ann_file == f"lists/{family}-{split}/labelled.txt"
    labelled_only = method == "supervised" and folder != "im"
    batch = 16 if labelled_only or method in ("imas", "u2pl") else 8
    steps = (labelled if labelled_only else 10582 - labelled) // batch
    assert config.train_dataloader.batch_size == batch
    assert dict(config.train_cfg) == {
        "type": "IterBasedTrainLoop",
        "max_iters": 80 * steps,
        "val_interval": steps,
    }
    if labelled_only:
        assert data.unlabelled is None
    else:
        assert data.unlabelled.ann_file == f"lists/{family}-{split}/unlabelled-and-val.txt"
    assert config.optim_wrapper.optimizer.lr == 0.01
    assert config.optim_wrapper.optimizer.weight_decay == 1e-4
    assert config.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.1
    step = data.labelled.pipeline[-1]
    views = [view for [view] in step.transforms] if step.type == "RandomChoice" else [step]
    small = split.isdigit() and method not in ("imas", "u2pl")
    assert {view.crop for view in views} == {321 if small else 513}
    if method != "supervised" and method != "u2pl":
        assert config.model.method.threshold == 0.95


def test_blended_lists_of_pascal_may_be_those_of_cps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTITIONS", "unimatch")
    for split, family in (("1-8", "cps"), ("183", "classic")):
        config = Config.fromfile(ROOT / "unimatch" / f"unimatch_r50_voc_{split}.py")
        labelled = config.train_dataloader.dataset.labelled
        assert labelled.ann_file == f"lists/{family}-{split}/labelled.txt"


def test_every_pixel_teaches_where_the_originals_say_so() -> None:
    for method, threshold in (
        ("fixmatch", 0.0),
        ("unimatch", 0.0),
        ("rankmatch", 0.0),
        ("imas", 0.7),
    ):
        assert load(method, method, "1-8").model.method.threshold == threshold


def test_imas_shows_batchnorm_cutmix_only_where_it_is_drawn() -> None:
    """As in its code; by default the view always passes, so that Python never waits."""
    assert load("imas", "imas", "1-8").model.method.skip_undrawn


@pytest.mark.parametrize(("network", "width"), [("dinov2-s", 384), ("dinov2-b", 768)])
def test_unimatch_v2_has_dinov2_and_its_rates(network: str, width: int) -> None:
    config = load("unimatch_v2", "unimatch-v2", "1-8", network)
    with torch.device("meta"):
        model = MODELS.build(config.model)
    assert model.student.backbone.channels == model.student.decode_head.in_channels[0] == width
    assert not any("BatchNorm" in type(each).__name__ for each in model.modules())
    assert config.model.segmentor.windows.border == "shift"
    assert model.method.threshold == 0.95
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    assert sorted({group["lr"] for group in groups}) == pytest.approx([5e-6, 2e-4])


def test_segkcs_senior_is_larger_than_its_junior() -> None:
    with torch.device("meta"):
        model = MODELS.build(load("segkc", "segkc", "1-8").model)
    assert (model.student.backbone.size, model.companion.backbone.size) == ("s", "b")
    shapes = {name: tuple(value.shape[:2]) for name, value in model.state.state_dict().items()}
    assert shapes["junior_projection.projections.0.0.weight"] == (768, 384)
    assert shapes["senior_projection.projections.0.0.weight"] == (384, 768)


def test_families_of_partitions_have_lists_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTITIONS", "unimatch")
    config = load("im", "u2pl", "1-4")
    assert config.train_dataloader.dataset.labelled.ann_file == "lists/unimatch-1-4/labelled.txt"


def test_configs_have_no_prefix_of_the_library() -> None:
    for path in ROOT.rglob("*.py"):
        assert "mmseg::" not in path.read_text()
