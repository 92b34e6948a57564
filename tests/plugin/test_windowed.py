"""Whole images pass through teachers as they are evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import im_bench.models.windowed  # noqa: F401  registers
from im_bench.data.label_maps import label_file
from im_bench.data.label_spaces import label_space
from im_bench.errors import ImBenchError
from im_bench.evaluation.windows import WindowOptions, predict_windows
from im_bench.plugin import EmaTeachers, InconsistencyMaskHook
from im_bench.plugin.networks import predict_labels
from im_bench.plugin.windowed import Windowed

from .semi_trainings import WHOLE, semi_data, semi_model, semi_runner
from .trainings import CUSTOM, built, head, relatives

SLIDE = {"mode": "slide", "crop_size": (32, 48), "stride": (20, 24)}
WINDOWS = {"mode": "slide", "window": 32, "stride": 20}
SPACES = {"binary": 1, "multiclass": 4, "multilabel": 3}


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 56, 72, generator=torch.Generator().manual_seed(0))


def network(**fields: Any) -> Any:
    """A network whose logits differ enough for its windows to matter."""
    made = built(CUSTOM, **fields).eval().requires_grad_(False)
    made.decode_head.conv_seg.weight.normal_(generator=torch.Generator().manual_seed(1))
    return made


def test_test_cfg_of_mmsegmentation_counts():
    sliding = network(test_cfg=SLIDE)
    logits = Windowed(sliding, None).encode_decode(images(), [{}])
    meta = {"ori_shape": (56, 72), "img_shape": (56, 72)}
    assert torch.equal(logits, sliding.inference(images(), [dict(meta), dict(meta)]))
    whole = Windowed(network(), None).encode_decode(images(), [{}])
    assert torch.equal(whole, network().encode_decode(images(), [{"img_shape": (56, 72)}]))
    assert not torch.allclose(logits, whole)


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_windows_of_a_network_count(combine: str):
    kind = {"type": "WindowedEncoderDecoder", "windows": {**WINDOWS, "combine": combine}}
    own = network(**kind, test_cfg=SLIDE)
    scores = Windowed(own, None).encode_decode(images(), [{}])
    torch.testing.assert_close(scores.softmax(1), own.inference(images(), [{}]))


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_labels_are_the_predictions_of_a_label_space(kind: str, combine: str):
    space = {"kind": kind, "outputs": SPACES[kind]}
    own = network(
        type="LabelSpaceSegmentor", label_space=space, windows={**WINDOWS, "combine": combine}
    )
    labels = predict_labels(Windowed(own, own.space), images(), own.space)
    expected = torch.cat([sample.pred_sem_seg.data for sample in own.predict(images())])
    assert torch.equal(labels, expected)
    assert len(labels.unique()) > 1


def test_the_only_output_without_a_label_space():
    one = {**CUSTOM, "decode_head": head("FCNHead", in_channels=8, channels=8, num_convs=1)}
    one["decode_head"] |= {"num_classes": 2, "out_channels": 1, "threshold": 0.4}
    one["decode_head"]["loss_decode"] = {"type": "CrossEntropyLoss", "use_sigmoid": True}
    made = built(one).eval().requires_grad_(False)
    made.decode_head.conv_seg.weight.normal_(generator=torch.Generator().manual_seed(1))
    options = WindowOptions(**WINDOWS)
    labels = predict_labels(Windowed(made, None, options), images(), None)
    expected = predict_windows(
        lambda crops: made.encode_decode(crops, [{"img_shape": crops.shape[-2:]}]),
        images(),
        options,
        torch.sigmoid,
    )
    assert torch.equal(labels, expected[:, 0].gt(0.4).byte())
    assert len(labels.unique()) == 2


def test_given_windows_come_before_the_networks_own():
    options = WindowOptions(**WINDOWS, border="shift", combine="logits")
    space = label_space("multiclass", outputs=4)
    given = Windowed(network(test_cfg=SLIDE), space, options)
    assert given.description["window"] == 32
    same = {"mode": "slide", "crop_size": (32, 32), "stride": (20, 20)}
    expected = Windowed(network(test_cfg=same), space)
    torch.testing.assert_close(
        given.encode_decode(images(), [{}]), expected.encode_decode(images(), [{}])
    )


def test_what_shows_the_centre_only_is_passed_whole():
    centre = network(type="WindowedEncoderDecoder", windows={"mode": "center", "window": 32})
    windowed = Windowed(centre, None)
    assert windowed.encode_decode(images(), [{}]).shape[-2:] == (56, 72)
    assert windowed.description["mode"] == "whole"


@pytest.mark.parametrize(
    "options",
    [{"windows": WINDOWS}, {"windows": {"mode": "center", "window": 9}, "cache_dir": "x"}],
)
def test_windows_are_for_whole_images(options: dict[str, Any]):
    with pytest.raises(ImBenchError, match="for what teachers say of whole images"):
        InconsistencyMaskHook(EmaTeachers(), **options)


def test_a_cache_says_in_which_windows_it_was_made(pictures: Path, tmp_path: Path):
    teachers = {"type": "CheckpointTeachers", "checkpoints": relatives(tmp_path, CUSTOM)}
    model = semi_model(test_cfg={"mode": "slide", "crop_size": (32, 32), "stride": (20, 20)})
    hook = {"teachers": teachers, "cache_dir": str(tmp_path / "cache")}
    data = semi_data(pictures, WHOLE)
    training = semi_runner(tmp_path / "a", data, hook, model, iterations=1)
    training.train()
    said = json.loads((tmp_path / "cache" / "manifest.json").read_text())["teachers"]
    slides = {"mode": "slide", "crop_size": [32, 32], "stride": [20, 20]}
    assert [each["windows"] for each in said] == [slides] * 2
    # Other windows give other labels, where they begin or end.
    whole = {**hook, "windows": {"mode": "whole"}}
    with pytest.raises(ImBenchError, match="or in other windows"):
        semi_runner(tmp_path / "b", data, whole, model).train()
    other = {**whole, "cache_dir": str(tmp_path / "whole")}
    semi_runner(tmp_path / "c", data, other, model, iterations=1).train()
    (first, *_) = training.train_dataloader.dataset.unlabelled_files()
    maps = [np.array(Image.open(label_file(tmp_path / name, first))) for name in ("cache", "whole")]
    assert (maps[0] != maps[1]).any()
