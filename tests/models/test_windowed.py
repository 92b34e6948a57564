from __future__ import annotations

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import im_bench.models.unet
import im_bench.models.windowed  # noqa: F401 - registers


def built(**windows):
    torch.manual_seed(0)
    config = {
        "type": "WindowedEncoderDecoder",
        "backbone": {"type": "ResNetV1c", "depth": 18, "base_channels": 4, "stem_channels": 4},
        "decode_head": {
            "type": "FCNHead",
            "in_channels": 32,
            "channels": 4,
            "num_classes": 3,
            "num_convs": 1,
            "loss_decode": {"type": "CrossEntropyLoss"},
        },
        "test_cfg": {"mode": "whole"},
        "windows": windows,
    }
    model = MODELS.build(ConfigDict(config))
    model.init_weights()
    return model.eval()


def sample(height, width):
    labels = PixelData(data=torch.zeros(1, height, width, dtype=torch.uint8))
    meta = {"ori_shape": (height, width), "img_shape": (height, width), "img_path": "a.png"}
    return SegDataSample(metainfo=meta, gt_sem_seg=labels)


@torch.no_grad()
def test_whole_images_are_predicted_as_by_an_encoder_decoder():
    model, images = built(mode="whole"), torch.rand(1, 3, 64, 96)
    [found] = model.predict(images, [sample(64, 96)])
    expected = model.encode_decode(images, [{"img_shape": (64, 96)}]).argmax(1)
    assert torch.equal(found.pred_sem_seg.data, expected)
    assert found.img_path == "a.png"


@torch.no_grad()
def test_windows_average_probabilities_and_are_cut_off_at_the_border():
    model, images = built(mode="slide", window=64, stride=48), torch.rand(1, 3, 64, 96)
    [found] = model.predict(images, [sample(64, 96)])

    def part(left, top=0):
        crop = images[..., top:, left : left + 64]
        return model.encode_decode(crop, [{"img_shape": crop.shape[-2:]}]).softmax(1)

    total, count = torch.zeros(1, 3, 64, 96), torch.zeros(64, 96)
    for top in (0, 48):
        for left in (0, 48):
            probabilities = part(left, top)
            total[..., top:, left : left + 64] += probabilities
            count[top:, left : left + 64] += 1
    torch.testing.assert_close(found.seg_logits.data, (total / count)[0])
