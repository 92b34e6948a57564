from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS

from im_bench.errors import ImBenchError
from im_bench.semi.network import Network
from im_bench.semi.step import View

from .steps import step_of


@pytest.fixture
def auxiliary():
    """A network with an auxiliary head that has a BatchNorm of its own."""
    torch.manual_seed(0)
    norm = {"type": "BN"}
    head = {"type": "FCNHead", "channels": 8, "num_convs": 1, "num_classes": 4, "norm_cfg": norm}
    network = MODELS.build(
        {
            "type": "EncoderDecoder",
            "backbone": {"type": "ResNetV1c", "depth": 18, "base_channels": 8, "norm_cfg": norm},
            "decode_head": {**head, "in_channels": 64, "in_index": 3},
            "auxiliary_head": {**head, "in_channels": 32, "in_index": 2, "dropout_ratio": 0.0},
        }
    )
    return Network(network.train())


def view(**maps: torch.Tensor) -> View:
    """Return a view of one row: image consistent, image inconsistent, padding, padding."""
    return View(
        images=torch.zeros(1, 3, 1, 4),
        valid=torch.tensor([[[True, True, False, False]]]),
        consensus=torch.tensor([[[3, 0, 0, 0]]], dtype=torch.uint8),
        inconsistent=torch.tensor([[[False, True, False, False]]]),
    )._replace(**maps)


def test_the_consensus_is_not_taught_on_padding(build):
    probabilities = torch.tensor([0.1, 0.7, 0.1, 0.1]).view(1, 4, 1, 1).expand(-1, -1, 1, 4)
    label = step_of(build()).pseudo_label(probabilities, view())
    assert label.label.flatten().tolist() == [3, 1, 1, 1]
    torch.testing.assert_close(label.confidence.flatten(), torch.tensor([1.0, 0.7, 0.7, 0.7]))
    assert label.kept.flatten().tolist() == [True, False, True, True]
    assert torch.equal(label.valid, view().valid)


@pytest.mark.parametrize(
    ("masking", "labels", "kept"),
    [
        ({"labels": "own"}, [1, 1], [True, False]),
        ({"block_output": False}, [3, 1], [True, True]),
    ],
)
def test_masking_says_what_is_taught(build, masking, labels, kept):
    probabilities = torch.tensor([0.1, 0.7, 0.1, 0.1]).view(1, 4, 1, 1).expand(-1, -1, 1, 4)
    label = step_of(build(), **masking).pseudo_label(probabilities, view())
    assert label.label.flatten().tolist()[:2] == labels
    assert label.kept.flatten().tolist()[:2] == kept


def test_a_companion_must_be_declared(build):
    with pytest.raises(ImBenchError, match="declares none: give its class companion='ema'"):
        step_of(build()).companion  # noqa: B018


def test_what_is_logged_cannot_be_minimised(build):
    step = step_of(build())
    step.log("share", torch.ones((), requires_grad=True))
    assert not step.logged["share"].requires_grad
    with pytest.raises(ImBenchError, match="'kd_loss', which would be minimised"):
        step.log("kd_loss", torch.ones(()))


def test_batchnorm_of_every_head_sees_labelled_and_unlabelled_images(build, auxiliary):
    step = step_of(build())
    step.student = auxiliary
    step.labelled = torch.rand(2, 3, 64, 64)
    unlabelled = torch.rand(3, 3, 64, 64) * 5
    state = {name: value.clone() for name, value in auxiliary.segmentor.state_dict().items()}
    logits, helped, others = step.joint(unlabelled)
    auxiliary.segmentor.load_state_dict(state)
    features = auxiliary.encode(torch.cat([step.labelled, unlabelled]))
    (expected,) = auxiliary.auxiliary(features, (64, 64))
    torch.testing.assert_close(helped, [expected[:2]])
    assert (len(logits), len(others)) == (2, 3)


def test_labelled_images_can_pass_alone(build, auxiliary):
    step = step_of(build())
    step.supervise = lambda logits, labels, helpers: logits.sum() + sum(h.sum() for h in helpers)
    step.labelled = torch.rand(2, 3, 64, 64)
    auxiliary.segmentor.eval()
    features = auxiliary.encode(step.labelled)
    heads = [auxiliary.decode(features, (64, 64)), *auxiliary.auxiliary(features, (64, 64))]
    torch.testing.assert_close(step.labelled_alone(auxiliary), sum(each.sum() for each in heads))
    alone = step.student(step.labelled).sum()
    torch.testing.assert_close(step.labelled_alone(), alone, rtol=1e-4, atol=1e-3)
