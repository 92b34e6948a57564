from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from im_bench.data.label_spaces import (
    BinarySpace,
    LabelSpace,
    MulticlassSpace,
    MultilabelSpace,
    label_space,
)
from im_bench.errors import ImBenchError

SPACES = [BinarySpace(), MulticlassSpace(4), MultilabelSpace(3), MultilabelSpace(8)]
spaces = pytest.mark.parametrize("space", SPACES, ids=lambda space: f"{space.kind}{space.outputs}")


def logits_for(space: LabelSpace, seed: int = 0, size: int = 5) -> Tensor:
    return 3 * torch.randn(2, space.outputs, size, size, generator=torch.manual_seed(seed))


@spaces
@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_discretising_is_the_most_probable_byte(space: LabelSpace, seed: int) -> None:
    probabilities = space.activate(logits_for(space, seed))
    labels = space.discretise(probabilities)
    assert labels.dtype == torch.uint8
    one_hot = space.one_hot(labels)
    if space.kind == "multiclass":
        chosen = (probabilities * one_hot).sum(1)
    else:
        chosen = torch.where(one_hot == 1, probabilities, 1 - probabilities).prod(1)
    torch.testing.assert_close(space.confidence(probabilities), chosen)


@spaces
def test_one_hot_of_certain_probabilities_is_undone_by_discretising(space: LabelSpace) -> None:
    labels = space.discretise(space.activate(logits_for(space)))
    assert torch.equal(space.discretise(space.one_hot(labels)), labels)


@spaces
def test_entropy_is_that_of_the_distribution_over_bytes(space: LabelSpace) -> None:
    outputs = space.outputs
    even = torch.full((1, outputs, 1, 1), 1 / outputs if space.kind == "multiclass" else 0.5)
    bytes_possible = outputs if space.kind == "multiclass" else 2**outputs
    assert space.entropy(even).item() == pytest.approx(math.log(bytes_possible), rel=1e-5)
    certain = torch.zeros(1, outputs, 1, 1)
    certain[:, 0] = 1
    assert space.entropy(certain).item() == 0


def test_half_is_background_unless_inclusive() -> None:
    half = torch.tensor([0.5, 0.5 + 1e-6]).view(1, 1, 1, 2)
    assert BinarySpace().discretise(half).tolist() == [[[0, 1]]]
    assert BinarySpace(inclusive=True).discretise(half).tolist() == [[[1, 1]]]
    both = half.expand(1, 2, 1, 2)
    assert MultilabelSpace(2).discretise(both).tolist() == [[[0, 3]]]
    assert MultilabelSpace(2, inclusive=True).discretise(both).tolist() == [[[3, 3]]]


def test_multilabel_bytes_are_bits() -> None:
    probabilities = torch.tensor([0.9, 0.1, 0.9]).view(1, 3, 1, 1)
    assert MultilabelSpace(3).discretise(probabilities).item() == 0b101
    assert MultilabelSpace(8).one_hot(torch.full((1, 1, 1), 255, dtype=torch.uint8)).sum() == 8


def test_losses_are_the_originals_means_over_all_pixels() -> None:
    labels = torch.randint(0, 2, (2, 5, 5), dtype=torch.uint8)
    logits = logits_for(BinarySpace())
    target = labels[:, None].float()
    torch.testing.assert_close(
        BinarySpace().loss(logits, labels), F.mse_loss(logits.sigmoid(), target)
    )
    torch.testing.assert_close(
        BinarySpace(loss="bce").loss(logits, labels),
        F.binary_cross_entropy_with_logits(logits, target),
    )
    multiclass = MulticlassSpace(4)
    logits = logits_for(multiclass)
    torch.testing.assert_close(
        multiclass.loss(logits, labels), F.cross_entropy(logits, labels.long())
    )


def test_target_scale_multiplies_one_channel() -> None:
    space = MultilabelSpace(2, target_scale=[1, 3])
    labels = torch.tensor([[[0, 1, 2, 3]]], dtype=torch.uint8)
    logits = torch.zeros(1, 2, 1, 4)
    expected = [(0.5**2 + 0.5**2) / 2, (0.5**2 + 0.5**2) / 2, (0.5**2 + 2.5**2) / 2]
    assert space.loss(logits, labels).item() == pytest.approx(
        (expected[0] + expected[1] + 2 * expected[2]) / 4
    )


@pytest.mark.parametrize("space", [BinarySpace(), MulticlassSpace(3)], ids=lambda each: each.kind)
def test_ignored_pixels_have_no_part_in_loss_or_gradient(space: LabelSpace) -> None:
    logits = logits_for(space).requires_grad_()
    labels = torch.randint(0, 2, (2, 5, 5), dtype=torch.uint8)
    labels[:, 0] = 255
    loss = space.loss(logits, labels)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, 0] == 0).all()
    assert (logits.grad[:, :, 1:] != 0).all()
    torch.testing.assert_close(loss, space.loss(logits[:, :, 1:], labels[:, 1:]))
    assert (space.one_hot(labels)[:, :, 0] == 0).all()
    assert space.valid(labels).sum() == 40
    assert space.loss(logits, torch.full_like(labels, 255)).item() == 0


@spaces
def test_weights_scale_terms_but_not_the_denominator(space: LabelSpace) -> None:
    logits = logits_for(space)
    labels = space.discretise(space.activate(logits_for(space, seed=1)))
    half = torch.full(labels.shape, 0.5)
    torch.testing.assert_close(space.loss(logits, labels, half), space.loss(logits, labels) / 2)
    first_only = torch.tensor([1.0, 0.0]).view(2, 1, 1).expand(labels.shape)
    torch.testing.assert_close(
        space.loss(logits, labels, first_only), space.loss(logits[:1], labels[:1]) / 2
    )


@spaces
def test_loss_is_float32_under_autocast(space: LabelSpace) -> None:
    logits = logits_for(space)
    labels = space.discretise(space.activate(logits))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = space.loss(logits.bfloat16(), labels)
    assert under.dtype == torch.float32
    assert space.activate(logits.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(under, space.loss(logits.bfloat16().float(), labels))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "binery", "outputs": 1}, "binary"),
        ({"kind": "binary", "outputs": 2}, "1 output"),
        ({"kind": "multilabel", "outputs": 9}, "1 to 8"),
        ({"kind": "multiclass", "outputs": 1}, "2 to 255"),
        ({"kind": "multiclass", "outputs": 3, "loss": "mse"}, "known are ce"),
        ({"kind": "binary", "outputs": 1, "loss": "ce"}, "bce, mse"),
        ({"kind": "multilabel", "outputs": 3, "target_scale": [1, 2]}, "one number for each"),
        ({"kind": "multiclass", "outputs": 3, "target_scale": [1, 2, 3]}, "target_scale"),
    ],
)
def test_what_cannot_be_is_said(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ImBenchError, match=message):
        label_space(**arguments)  # type: ignore[arg-type]


def test_options_that_are_none_count_as_not_given() -> None:
    space = label_space("multiclass", 3, loss=None, target_scale=None)
    assert isinstance(space, MulticlassSpace)
    assert space.outputs == 3


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("multiclass", 4), ("multilabel", 3)])
def test_categorical_form_has_the_probabilities_of_the_space(kind, outputs):
    space = label_space(kind, outputs)
    logits = torch.randn(2, outputs, 3, 5)
    softmax = space.categorical(logits).softmax(1)
    expected = space.activate(logits)
    if kind == "multiclass":
        assert torch.equal(softmax, expected)
    else:
        foreground = softmax[:, 1].view(2, space.groups, 3, 5)
        torch.testing.assert_close(foreground, expected)
    torch.testing.assert_close(space.from_categorical(softmax), expected)


@pytest.mark.parametrize(
    ("kind", "outputs", "count"), [("binary", 1, 2), ("multiclass", 4, 4), ("multilabel", 3, 8)]
)
def test_predictions_are_below_the_number_of_labels(kind, outputs, count):
    space = label_space(kind, outputs)
    assert space.label_count == count
    labels = space.discretise(torch.rand(2, outputs, 16, 16))
    assert labels.max() == count - 1


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("multiclass", 4), ("multilabel", 3)])
def test_categories_are_the_argmax_of_the_categorical_form(kind, outputs):
    space = label_space(kind, outputs)
    logits = torch.randn(2, outputs, 3, 5)
    labels = space.discretise(space.activate(logits))
    assert torch.equal(space.categories(labels), space.categorical(logits).argmax(1))


def test_pixel_loss_averages_to_the_loss_and_is_zero_where_ignored():
    space = label_space("multiclass", 4)
    logits, labels = torch.randn(2, 4, 3, 5), torch.randint(0, 4, (2, 3, 5)).byte()
    labels[0, 0] = 255
    pixels = space.pixel_loss(logits, labels)
    assert pixels[0, 0].eq(0).all()
    torch.testing.assert_close(pixels.sum() / 25, space.loss(logits, labels))
