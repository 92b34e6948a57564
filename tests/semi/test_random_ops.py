from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy.stats import ks_2samp

from im_bench.semi import random_ops as module
from im_bench.semi.random_ops import Operation, operate, random_ops

from .test_strong_views import generator, levels_apart, photograph, pil_hue, tensor

torch.set_num_threads(1)

TABLES = ("autocontrast", "equalize", "invert", "posterize", "solarize")


def done(
    images: torch.Tensor, operation: Operation, amount: float, backwards: bool = False
) -> torch.Tensor:
    """Do the same operation to every image."""
    count = len(images)
    return operate(
        images,
        torch.full((count,), operation),
        torch.full((count,), amount),
        torch.full((count,), backwards),
    )


def pil_operation(
    picture: Image.Image, operation: Operation, amount: float, backwards: bool = False
) -> Image.Image:
    """Do one operation with PIL, ``amount`` from 0 to 1."""
    match operation:
        case Operation.IDENTITY:
            return picture
        case Operation.AUTOCONTRAST | Operation.EQUALIZE | Operation.INVERT:
            return getattr(ImageOps, operation.name.lower())(picture)
        case Operation.BLUR:
            return picture.filter(ImageFilter.GaussianBlur(0.1 + 1.9 * amount))
        case Operation.POSTERIZE:
            return ImageOps.posterize(picture, 8 - max(1, int(np.ceil(4 * amount))))
        case Operation.SOLARIZE:
            return ImageOps.solarize(picture, max(1, 256 - int(np.ceil(255 * amount))))
        case Operation.HUE:
            steps = int(0.5 * amount * 255)
            return pil_hue(picture, -steps if backwards else steps)
    enhancement = getattr(ImageEnhance, operation.name.capitalize())
    return enhancement(picture).enhance(0.95 - 0.85 * amount)


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.52, 0.8, 0.999])
@pytest.mark.parametrize("name", TABLES)
def test_tables_are_pils(name, amount):
    operation = Operation[name.upper()]
    for picture in (photograph(), Image.fromarray(np.array(photograph()) // 3 + 40)):
        apart = levels_apart(
            done(tensor(picture), operation, amount), pil_operation(picture, operation, amount)
        )
        # PIL's table of autocontrast is in floating point, and may cut off a whole level.
        assert apart.max() < (1.01 if operation == Operation.AUTOCONTRAST else 0.01)


@pytest.mark.parametrize("amount", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("name", ["contrast", "brightness", "color", "sharpness"])
def test_enhancements_are_pils(name, amount):
    operation, picture = Operation[name.upper()], photograph()
    apart = levels_apart(
        done(tensor(picture), operation, amount), pil_operation(picture, operation, amount)
    )
    # PIL cuts off the fraction, and rounds what it blends with.
    assert apart.max() < 1.6


@pytest.mark.parametrize("amount", [0.0, 0.5, 0.999])
def test_blur_is_pils(amount):
    picture = photograph()
    apart = levels_apart(
        done(tensor(picture), Operation.BLUR, amount),
        pil_operation(picture, Operation.BLUR, amount),
    )
    assert apart.max() < 4


@pytest.mark.parametrize("backwards", [False, True])
def test_hue_is_pils(backwards):
    picture, amount = photograph(), 2 * 60 / 255
    apart = levels_apart(
        done(tensor(picture), Operation.HUE, amount, backwards),
        pil_operation(picture, Operation.HUE, amount + 1e-6, backwards),
    )
    # PIL has 256 hues; two of them are 12 levels apart in the purest colours.
    assert apart.mean() < 1
    assert apart.max() < 13


def test_identity_does_not_round():
    images = torch.rand(2, 3, 8, 9, generator=generator())
    assert torch.equal(done(images, Operation.IDENTITY, 0.7), images)


@pytest.mark.parametrize("level", [0, 100, 255])
@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_even_images_have_no_contrast_to_stretch(name, level):
    picture = Image.new("RGB", (20, 20), (level, 10, level))
    operation = Operation[name.upper()]
    assert (
        levels_apart(
            done(tensor(picture), operation, 0), pil_operation(picture, operation, 0)
        ).max()
        < 0.01
    )


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(3, 25))
def test_equalize_is_pils_for_any_number_of_levels(seed, levels, side):
    random = np.random.default_rng(seed)
    values = random.integers(0, 256, levels, dtype=np.uint8)
    picture = Image.fromarray(random.choice(values, (side, side, 3)))
    apart = levels_apart(done(tensor(picture), Operation.EQUALIZE, 0), ImageOps.equalize(picture))
    assert apart.max() < 0.01


@pytest.mark.parametrize("operation", Operation)
def test_grey_images_have_no_colour(operation):
    picture = photograph().convert("L")
    mine = done(tensor(picture), operation, 0.6)
    if operation in (Operation.COLOR, Operation.HUE):
        assert torch.equal(mine, tensor(picture))
    else:
        theirs = pil_operation(picture, operation, 0.6)
        assert levels_apart(mine, theirs).max() < 3


@given(st.integers(0, 2**31), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 3))
def test_views_keep_shape_range_and_format(seed, channels, last, count):
    images = torch.rand(4, channels, 9, 14, generator=generator(seed))
    if last:
        images = images.contiguous(memory_format=torch.channels_last)
    before = images.clone()
    views = random_ops(images, generator(seed), count)
    assert torch.equal(images, before)
    assert views.stride() == images.stride()
    assert views.shape == images.shape
    assert views.dtype == torch.float32
    assert views.min() >= 0
    assert views.max() <= 1
    if count == 0:
        assert torch.equal(views, images)


def test_views_repeat_with_the_seed_and_differ_between_images():
    images = tensor(photograph()).repeat(12, 1, 1, 1)
    first = random_ops(images, generator(3))
    assert torch.equal(first, random_ops(images, generator(3)))
    assert not torch.equal(first, random_ops(images, generator(4)))
    assert len(first.flatten(1).unique(dim=0)) >= 10


def test_a_whole_batch_at_once_gives_the_same(monkeypatch):
    operations = torch.arange(len(Operation)).repeat(2)
    images = torch.cat([tensor(photograph(seed=seed)) for seed in range(len(operations))])
    amounts = torch.rand(len(operations), generator=generator())
    backwards = torch.arange(len(operations)) % 2 == 1
    one_by_one = torch.cat(
        [
            operate(*(each[k : k + 1] for each in (images, operations, amounts, backwards)))
            for k in range(len(operations))
        ]
    )
    # As on a GPU: nothing is left out.
    monkeypatch.setattr(module, "wanted", lambda drawn: True)
    at_once = operate(images, operations, amounts, backwards)
    torch.testing.assert_close(at_once, one_by_one, rtol=0, atol=1e-6)
    assert torch.equal(at_once[operations == Operation.IDENTITY], images[[0, len(Operation)]])


def test_views_are_distributed_as_pils():
    picture = photograph()
    count = 600
    mine = random_ops(tensor(picture).repeat(count, 1, 1, 1), generator())
    random = np.random.default_rng(0)
    theirs = torch.cat([tensor(pil_random_ops(picture, random)) for _ in range(count)])
    for statistic in (
        lambda x: x.mean((2, 3)),
        lambda x: x.std((2, 3)),
        lambda x: (x.amax(1) - x.amin(1)).mean((1, 2)).unsqueeze(1),
    ):
        # Many images are alike but for rounding: compare whole levels.
        for own, other in zip(statistic(mine).T, statistic(theirs).T, strict=True):
            rounded = ((255 * each).round().numpy() for each in (own, other))
            assert ks_2samp(*rounded).pvalue > 1e-3


def test_operations_are_drawn_with_replacement():
    images = torch.rand(1, 1, 8, 8, generator=generator()).repeat(6000, 1, 1, 1)
    views = random_ops(images, generator())
    same = ((views - images).abs().amax((1, 2, 3)) < 1e-6).double().mean().item()
    # Three operations leave a grey image alone, not even rounding it. Of 12 * 12 pairs, 3 * 3.
    assert same == pytest.approx(9 / 144, abs=5 * 0.0031)


def pil_random_ops(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Do two operations with PIL, as the original does."""
    for operation in random.choice(list(Operation), 2):
        amount = 0.999 * random.random()
        backwards = random.random() < 0.5
        picture = pil_operation(picture, Operation(operation), amount, backwards)
    return picture
