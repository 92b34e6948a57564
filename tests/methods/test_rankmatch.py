from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS

from im_bench.methods.rankmatch import RankMatch
from im_bench.methods.unimatch import UniMatch

from .steps import losses_of

FIELDS = {"threshold": 0.0, "cutmix": 1.0}
SHARED = ("labelled.loss", "strong.loss", "feature.loss")


def test_the_other_losses_are_those_of_unimatch(build, batch):
    ranked = losses_of(build(method={"name": "rankmatch", **FIELDS}), batch())
    plain = losses_of(build(method={"name": "unimatch", **FIELDS}), batch())
    assert {name: ranked[name] for name in SHARED} == {name: plain[name] for name in SHARED}
    assert ranked["rank.loss"] > 0


def test_the_weight_scales_the_loss_on_rankings_only(build, batch):
    one, two = (
        losses_of(build(method={"name": "rankmatch", **FIELDS, "rank_weight": w}), batch())
        for w in (0.1, 0.2)
    )
    torch.testing.assert_close(two.pop("rank.loss"), 2 * one.pop("rank.loss"))
    assert one == two


def test_gradients_of_rankings_reach_the_strong_views_alone(build, batch):
    model = build(method={"name": "rankmatch", **FIELDS})
    seen = {}

    class Watching(RankMatch):
        def ranking(self, step, weak, strong, label):
            seen.update(weak=weak.requires_grad, strong=strong.requires_grad, views=len(strong))
            return super().ranking(step, weak, strong, label)

    model.method = Watching(**FIELDS)
    losses_of(model, batch(count=3))["rank.loss"].backward()
    assert seen == {"weak": False, "strong": True, "views": 6}
    assert any(each.grad.abs().sum() > 0 for each in model.student.backbone.parameters())


def test_partners_are_ranked_where_they_are_pasted(build, batch):
    """Without boxes the partners do not matter; with them they do."""
    for cutmix, matter in ((0.0, False), (1.0, True)):
        found = []
        for offset in (0, 40):
            raw = batch()
            raw["inputs"]["partner"] = raw["inputs"]["partner"] // 2 + offset
            fields = {"name": "rankmatch", "threshold": 0.0, "cutmix": cutmix}
            found.append(losses_of(build(method=fields), raw)["rank.loss"])
        assert (found[0] != found[1]) == matter


@pytest.mark.parametrize(("pixels", "teaches"), [("all", True), ("kept", False)])
def test_masks_spare_rankings_unless_asked_not_to(build, batch, pixels, teaches):
    raw = batch(masks=True)
    for branch in ("unlabelled", "partner"):
        raw["data_samples"][branch]["inconsistent"][:] = True
    fields = {"name": "rankmatch", **FIELDS, "rank_pixels": pixels}
    found = losses_of(build(method=fields, im={"block_input": False}), raw)
    assert found["strong.loss"] == 0
    assert (found["rank.loss"] > 0) == teaches


def test_a_pyramid_gives_features_at_the_stride_of_the_backbone(batch):
    import im_bench.models.deeplabv3plus
    import im_bench.semi.preprocessor  # noqa: F401 - both register what the config names

    torch.manual_seed(0)
    model = MODELS.build(
        {
            "type": "SemiSupervisedSegmentor",
            "segmentor": {
                "type": "EncoderDecoder",
                "backbone": {"type": "ResNetV1c", "depth": 18, "base_channels": 8},
                "decode_head": {
                    "type": "DeepLabV3PlusHead",
                    "in_channels": 64,
                    "channels": 12,
                    "c1_in_channels": 8,
                    "num_classes": 4,
                },
            },
            "label_space": {"kind": "multiclass", "outputs": 4},
            "method": {"name": "rankmatch", **FIELDS},
            "data_preprocessor": {"type": "SemiPreprocessor"},
        }
    )
    seen = []

    class Watching(RankMatch):
        def ranking(self, step, weak, strong, label):
            seen.append((weak.shape, strong.shape))
            return super().ranking(step, weak, strong, label)

    model.method = Watching(**FIELDS)
    raw = batch()
    raw["inputs"] = {name: torch.cat([each] * 2, 2) for name, each in raw["inputs"].items()}
    for name, maps in raw["data_samples"].items():
        raw["data_samples"][name] = (
            torch.cat([maps] * 2, 2)
            if name == "labelled"
            else {key: torch.cat([each] * 2, 2) for key, each in maps.items()}
        )
    found = losses_of(model, raw)
    assert seen == [((4, 12, 1, 2), (4, 12, 1, 2))]
    assert found["rank.loss"].isfinite()


def test_shares_the_fields_of_unimatch():
    assert RankMatch.model_fields.keys() > UniMatch.model_fields.keys()
    assert RankMatch.search.keys() <= RankMatch.model_fields.keys()
