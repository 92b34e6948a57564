from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from im_bench.data.label_spaces import label_space
from im_bench.errors import ImBenchError
from im_bench.models.preprocessor import BatchPreprocessor
from im_bench.models.segmentor import LabelSpaceSegmentor
from im_bench.models.unet import UNet1x1  # noqa: F401 - registers it

SPACES = [("binary", 1), ("multiclass", 4), ("multilabel", 3)]
spaces = pytest.mark.parametrize(("kind", "outputs"), SPACES)

UNET = {
    "backbone": {"type": "UNet1x1", "width": 0.25},
    "decode_head": {"type": "UNet1x1Head", "width": 0.25},
}
_NORM = {"type": "BN"}
_FCN = {"type": "FCNHead", "num_convs": 1, "channels": 8, "norm_cfg": _NORM, "num_classes": 19}
RESNET = {
    "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_cfg": _NORM},
    "decode_head": {**_FCN, "in_channels": 64, "in_index": 3},
    "auxiliary_head": {**_FCN, "in_channels": 32, "in_index": 2},
}


def build(kind: str, outputs: int, network: dict[str, Any] = UNET, **more: Any) -> Any:
    torch.manual_seed(0)
    return MODELS.build(
        {
            "type": "LabelSpaceSegmentor",
            **network,
            "label_space": {"kind": kind, "outputs": outputs},
            "data_preprocessor": {"type": "BatchPreprocessor"},
            **more,
        }
    )


def batch(outputs: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, max(2, outputs), (2, 32, 48), dtype=torch.uint8, generator=generator)
    return {"inputs": images, "data_samples": labels}


@spaces
@pytest.mark.parametrize("network", [UNET, RESNET], ids=["unet1x1", "resnet-fcn"])
def test_any_network_learns_and_predicts_in_any_space(
    kind: str, outputs: int, network: dict[str, Any]
) -> None:
    model = build(kind, outputs, network)
    assert model.decode_head.conv_seg.out_channels == outputs
    model.train()
    losses = model(**model.data_preprocessor(batch(outputs), True), mode="loss")
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(each.grad is not None for each in model.parameters())
    model.eval()
    with torch.no_grad():
        samples = model.val_step(batch(outputs))
    assert len(samples) == 2
    for sample, truth in zip(samples, batch(outputs)["data_samples"], strict=True):
        assert sample.pred_sem_seg.data.shape == (1, 32, 48)
        assert sample.pred_sem_seg.data.dtype == torch.uint8
        assert sample.seg_probabilities.data.shape == (outputs, 32, 48)
        assert torch.equal(sample.gt_sem_seg.data[0], truth)


@spaces
def test_the_loss_is_the_label_spaces(kind: str, outputs: int) -> None:
    model = build(kind, outputs).eval()
    data = batch(outputs)
    inputs = model.data_preprocessor(data)["inputs"]
    with torch.no_grad():
        loss = model.loss(inputs, data["data_samples"])["loss"]
        logits = model.logits(inputs, (32, 48))
    expected = label_space(kind, outputs).loss(logits, data["data_samples"])
    torch.testing.assert_close(loss, expected)


def test_samples_of_mmsegmentation_serve_as_labels() -> None:
    model = build("multiclass", 4).eval()
    data = batch(4)
    samples = []
    for labels in data["data_samples"]:
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=labels[None].long())
        samples.append(sample)
    inputs = model.data_preprocessor(data)["inputs"]
    with torch.no_grad():
        torch.testing.assert_close(
            model.loss(inputs, samples)["loss"], model.loss(inputs, data["data_samples"])["loss"]
        )


def test_auxiliary_heads_count_with_their_weight() -> None:
    data = batch(4)
    with torch.no_grad():
        models = [build("multiclass", 4, RESNET, auxiliary_weight=w).eval() for w in (0.4, 0.8)]
        losses = [
            model.loss(model.data_preprocessor(data)["inputs"], data["data_samples"])
            for model in models
        ]
    torch.testing.assert_close(losses[1]["aux_0.loss"], 2 * losses[0]["aux_0.loss"])
    torch.testing.assert_close(losses[1]["loss"], losses[0]["loss"])


@spaces
def test_probabilities_agree_with_the_prediction(kind: str, outputs: int) -> None:
    model = build(kind, outputs).eval()
    data = batch(outputs)
    with torch.inference_mode():
        probabilities = model.probabilities(model.data_preprocessor(data)["inputs"])
        samples = model.val_step({"inputs": data["inputs"]})
    labels = model.space.discretise(probabilities)
    assert torch.equal(torch.cat([sample.pred_sem_seg.data for sample in samples]), labels)
    assert "seg_probabilities" not in samples[0]


def test_bfloat16_reaches_the_network_but_not_the_loss() -> None:
    exact, rough = build("binary", 1).eval(), build("binary", 1, precision="bfloat16").eval()
    data = batch(1)
    inputs = exact.data_preprocessor(data)["inputs"]
    with torch.no_grad():
        first, second = exact.logits(inputs, (32, 48)), rough.logits(inputs, (32, 48))
        loss = rough.loss(inputs, data["data_samples"])["loss"]
    assert second.dtype == loss.dtype == torch.float32
    assert not torch.equal(first, second)
    assert torch.equal(second, second.bfloat16().float())


class TestBatchPreprocessor:
    def test_scales_to_one_in_channels_last(self) -> None:
        data = batch(1)
        out = BatchPreprocessor()(data, training=True)
        assert out["inputs"].shape == (2, 3, 32, 48)
        assert out["inputs"].is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(out["inputs"], data["inputs"].permute(0, 3, 1, 2).float() / 255)
        assert torch.equal(out["data_samples"], data["data_samples"])

    def test_takes_either_order_of_axes_and_lists(self) -> None:
        data = batch(1)
        expected = BatchPreprocessor()(data)["inputs"]
        channels_first = data["inputs"].permute(0, 3, 1, 2)
        assert torch.equal(BatchPreprocessor()({"inputs": channels_first})["inputs"], expected)
        assert torch.equal(
            BatchPreprocessor()({"inputs": list(channels_first)})["inputs"], expected
        )

    def test_normalises_by_given_mean_and_std(self) -> None:
        data = batch(1)
        out = BatchPreprocessor(mean=[10, 20, 30], std=[2, 4, 8])(data)["inputs"]
        expected = (data["inputs"].float() - torch.tensor([10.0, 20, 30])) / torch.tensor(
            [2.0, 4, 8]
        )
        torch.testing.assert_close(out, expected.permute(0, 3, 1, 2))

    def test_augments_in_training_only_and_by_iteration(self) -> None:
        preprocessor = BatchPreprocessor(augmentation={}, seed=1)
        data = batch(1)
        plain = preprocessor(data, training=False)["inputs"]
        first = preprocessor(data, training=True)["inputs"]
        assert torch.equal(preprocessor(data, training=True)["inputs"], first)
        preprocessor.iteration = 1
        second = preprocessor(data, training=True)["inputs"]
        assert not torch.equal(first, plain)
        assert not torch.equal(first, second)


class TestWindows:
    def build(self, kind: str = "multiclass", outputs: int = 4, **windows: Any) -> Any:
        return build(kind, outputs, RESNET, windows=windows).eval()

    def predict(self, model: Any, outputs: int = 4) -> Any:
        with torch.inference_mode():
            return model.val_step(batch(outputs))

    @spaces
    def test_whole_images_are_as_without_them(self, kind: str, outputs: int) -> None:
        plain, whole = build(kind, outputs, RESNET).eval(), self.build(kind, outputs, mode="whole")
        for one, other in zip(
            self.predict(plain, outputs), self.predict(whole, outputs), strict=True
        ):
            assert torch.equal(one.seg_logits.data, other.seg_logits.data)
            assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)

    @spaces
    def test_windows_are_averaged_into_one_prediction(self, kind: str, outputs: int) -> None:
        model = self.build(kind, outputs, mode="slide", window=32, stride=16, border="shift")
        inputs = model.data_preprocessor(batch(outputs))["inputs"]
        with torch.inference_mode():
            left, right = (
                model.space.activate(model.logits(crop, (32, 32)))
                for crop in (inputs[..., :32], inputs[..., 16:])
            )
            probabilities = model.probabilities(inputs)
        expected = torch.cat([left[..., :16], (left[..., 16:] + right[..., :16]) / 2], -1)
        torch.testing.assert_close(probabilities[..., :32], expected)
        samples = self.predict(model, outputs)
        for sample, given in zip(samples, probabilities, strict=True):
            torch.testing.assert_close(sample.seg_probabilities.data, given)
            logits = sample.seg_logits.data[None]
            torch.testing.assert_close(model.space.activate(logits)[0], given)
            labels = model.space.discretise(given[None])
            assert torch.equal(sample.pred_sem_seg.data, labels)

    def test_labels_are_cropped_with_the_centre(self) -> None:
        model = self.build(mode="center", window=16)
        for sample, labels in zip(self.predict(model), batch(4)["data_samples"], strict=True):
            assert torch.equal(sample.gt_sem_seg.data[0], labels[8:24, 16:32])
            assert sample.pred_sem_seg.data.shape == (1, 16, 16)
            assert sample.seg_logits.data.shape == (4, 16, 16)

    def test_training_sees_whole_crops(self) -> None:
        data = batch(4)
        losses = []
        for model in (build("multiclass", 4, RESNET), self.build(mode="center", window=16)):
            inputs = model.eval().data_preprocessor(data)["inputs"]
            losses.append(model.loss(inputs, data["data_samples"])["loss"])
        torch.testing.assert_close(*losses)

    def test_unknown_modes_are_refused(self) -> None:
        with pytest.raises(ImBenchError, match="did you mean 'slide'"):
            self.build(mode="slides", window=16)


def test_is_registered() -> None:
    assert MODELS.get("LabelSpaceSegmentor") is LabelSpaceSegmentor


@pytest.mark.parametrize(("precision", "outer"), [("float32", True), ("bfloat16", False)])
def test_an_autocast_around_a_float32_segmentor_holds(precision: str, outer: bool) -> None:
    seen = []
    model = build("multiclass", 4, precision=precision)
    model.decode_head.register_forward_hook(lambda _, inputs, logits: seen.append(logits.dtype))
    data = model.data_preprocessor(batch(4))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=outer):
        loss = model(**data, mode="loss")["loss"]
    assert seen == [torch.bfloat16]
    assert loss.dtype == torch.float32
