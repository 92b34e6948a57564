from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter
from scipy.stats import ks_2samp

from im_bench.errors import ImBenchError
from im_bench.semi import strong_views
from im_bench.semi.strong_views import (
    StrongView,
    draw,
    gaussian_blur,
    luma,
    mix,
    shift_hue,
    strong_view,
)

torch.set_num_threads(1)

NOTHING = StrongView(jitter_p=0, grey_p=0, blur_p=0)
EVERYTHING = StrongView(jitter_p=1, grey_p=0.5, blur_p=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photograph(height: int = 48, width: int = 64, seed: int = 0) -> Image.Image:
    """Return a picture with smooth colours and some noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int64)
    noisy = smooth + random.integers(-12, 13, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def tensor(image: Image.Image) -> torch.Tensor:
    """Return a picture as (1, C, H, W) in 0..1."""
    levels = torch.from_numpy(np.array(image))
    return levels.view(*levels.shape[:2], -1).permute(2, 0, 1).unsqueeze(0).float() / 255


def levels_apart(images: torch.Tensor, picture: Image.Image) -> torch.Tensor:
    """Return how many levels of 255 each value of (1, C, H, W) is from a picture's."""
    return (images - tensor(picture)).abs() * 255


def one(value: float) -> torch.Tensor:
    return torch.tensor([value])


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.87, 1.0, 1.3, 1.5])
@pytest.mark.parametrize("name", ["Brightness", "Contrast", "Color"])
def test_factors_are_pils(name, factor):
    picture = photograph()
    rest = {"Brightness": (0, 0), "Contrast": (0, 1 - factor), "Color": (1 - factor, 0)}[name]
    mine = mix(tensor(picture), one(factor), *map(one, rest))
    theirs = getattr(ImageEnhance, name)(picture).enhance(factor)
    # PIL cuts off the fraction, and rounds the mean and the grey levels first.
    assert levels_apart(mine, theirs).max() < 1.2


def test_luma_is_pils():
    picture = photograph()
    assert levels_apart(luma(tensor(picture)), picture.convert("L")).max() <= 0.51


@given(
    st.lists(st.integers(0, 255), min_size=3, max_size=3),
    st.floats(-0.5, 0.5, width=32).filter(lambda turns: turns != 0),
)
def test_hue_is_shifted_as_in_hsv(levels, turns):
    colour = [level / 255 for level in levels]
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    expected = colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value)
    shifted = shift_hue(torch.tensor(colour).view(1, 3, 1, 1), one(turns)).flatten()
    torch.testing.assert_close(shifted, torch.tensor(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [-64, -25, 18, 64])
def test_hue_is_pils_but_for_its_rounding(steps):
    picture = photograph()
    apart = levels_apart(shift_hue(tensor(picture), one(steps / 255)), pil_hue(picture, steps))
    # PIL cuts the hue off to steps of 1/255 turn, but 256 steps are a turn where it wraps round. So
    # it may be two steps off, and one is worth 6 levels of a channel in the purest colours.
    assert apart.mean() < 1
    assert apart.max() < 13


@pytest.mark.parametrize("sigma", [0.1, 0.4, 0.7, 1.0, 1.4, 1.5, 2.0])
def test_blur_is_pils(sigma):
    picture = photograph()
    theirs = picture.filter(ImageFilter.GaussianBlur(sigma))
    apart = levels_apart(gaussian_blur(tensor(picture), one(sigma), 2.0), theirs)
    # PIL rounds six times. At the border it repeats the outermost pixel anew each time.
    assert apart.mean() < 1
    assert apart[..., 6:-6, 6:-6].max() < 2.7
    assert apart.max() < 4


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0, 5.0])
def test_blur_has_its_standard_deviation(sigma):
    point = torch.zeros(1, 1, 101, 101)
    point[..., 50, 50] = 1
    blurred = gaussian_blur(point, one(sigma), highest=5.0)[0, 0].double()
    places = torch.arange(-50, 51).double()
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
    for dim in (0, 1):
        variance = (blurred.sum(dim) * places**2).sum().item()
        assert variance == pytest.approx(sigma**2, rel=1e-4)
    gauss = torch.exp(-(places**2) / (2 * sigma**2))
    gauss /= gauss.sum()
    # Three boxes are within a few percent of the Gaussian's peak.
    assert (blurred.sum(0) - gauss).abs().max() < 0.06 * gauss.max()


def test_each_image_has_its_own_amount():
    images = torch.cat([tensor(photograph(seed=seed)) for seed in range(3)])
    amounts = torch.tensor([0.0, 0.1, -0.2])
    both = {
        shift_hue: (amounts,),
        mix: (1 + amounts, -amounts, amounts.new_zeros(3)),
        gaussian_blur: (amounts.abs(), 2.0),
    }
    for operation, arguments in both.items():
        together = operation(images, *arguments)
        for k in range(3):
            alone = operation(images[k : k + 1], *(cut(each, k) for each in arguments))
            assert torch.equal(together[k : k + 1], alone)
        assert torch.equal(together[0], images[0])


@given(st.integers(0, 2**31), st.sampled_from([1, 3]), st.booleans())
def test_views_keep_shape_range_and_format(seed, channels, last):
    images = torch.rand(3, channels, 9, 14, generator=generator(seed))
    if last:
        images = images.contiguous(memory_format=torch.channels_last)
    before = images.clone()
    views = strong_view(images, EVERYTHING, generator(seed))
    assert torch.equal(images, before)
    assert views.stride() == images.stride()
    assert views.shape == images.shape
    assert views.dtype == torch.float32
    assert views.min() >= 0
    assert views.max() <= 1


def test_views_repeat_with_the_seed_and_differ_between_images():
    images = tensor(photograph()).expand(8, -1, -1, -1)
    first = strong_view(images, EVERYTHING, generator(3))
    assert torch.equal(first, strong_view(images, EVERYTHING, generator(3)))
    assert not torch.equal(first, strong_view(images, EVERYTHING, generator(4)))
    assert len(first.flatten(1).unique(dim=0)) == 8


def test_nothing_drawn_leaves_images_alone():
    images = torch.rand(2, 3, 12, 10, generator=generator())
    assert torch.equal(strong_view(images, NOTHING, generator()), images)
    assert strong_view(images[:0], EVERYTHING, generator()).shape == (0, 3, 12, 10)


def test_a_whole_batch_at_once_gives_the_same(monkeypatch):
    images = tensor(photograph()).repeat(24, 1, 1, 1)
    one_by_one = strong_view(images, StrongView(), generator())
    draws = draw(StrongView(), 24, generator())
    # As on a GPU: nothing is left out.
    monkeypatch.setattr(strong_views, "wanted", lambda drawn: True)
    at_once = strong_views.apply(images, draws, 2.0)
    torch.testing.assert_close(at_once, one_by_one, rtol=0, atol=1e-6)
    untouched = (draws.own == 1).all(1) & ~draws.greyed & (draws.sigma == 0)
    assert untouched.any()
    assert torch.equal(at_once[untouched], images[untouched])


def test_parameters_are_distributed_as_declared():
    count = 20_000
    draws = draw(StrongView(), count, generator())
    jittered = draws.hue != 0
    for share, expected in (
        (jittered, 0.8),
        (draws.greyed, 0.2),
        (draws.sigma > 0, 0.5),
    ):
        assert share.double().mean().item() == pytest.approx(expected, abs=0.015)
    contrast = 1 - draws.mean[jittered].sum(1)
    saturation = 1 - draws.grey[jittered].sum(1)
    brightness = draws.own[jittered].prod(1) / (contrast * saturation)
    for values, low, high in (
        (brightness, 0.5, 1.5),
        (contrast, 0.5, 1.5),
        (saturation, 0.5, 1.5),
        (draws.hue[jittered], -0.25, 0.25),
        (draws.sigma[draws.sigma > 0], 0.1, 2.0),
    ):
        uniform = np.random.default_rng(0).uniform(low, high, count)
        assert ks_2samp(values.numpy(), uniform).pvalue > 1e-3
        assert values.min() > low - 1e-4
        assert values.max() < high + 1e-4


def test_all_orders_of_the_jitter_are_equally_frequent():
    count = 24_000
    draws = draw(StrongView(jitter_p=1), count, generator())
    contrast, saturation = (weights.abs().argmax(1) for weights in (draws.mean, draws.grey))
    others = torch.arange(6).expand(count, -1)
    own = (draws.own != 1) & (others != contrast.unsqueeze(1)) & (others != saturation.unsqueeze(1))
    assert (own.sum(1) == 1).all()
    # The hue is behind the first three of six places.
    order = torch.stack([own.int().argmax(1), contrast, saturation, torch.full((count,), 2.5)], 1)
    counts = order.argsort(1).unique(dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert (counts - 1000).abs().max() < 5 * 31


def test_views_are_distributed_as_pils():
    picture = photograph()
    count = 500
    mine = strong_view(tensor(picture).repeat(count, 1, 1, 1), StrongView(), generator())
    random = np.random.default_rng(0)
    theirs = torch.cat([tensor(pil_strong_view(picture, random)) for _ in range(count)])
    for statistic in (
        lambda x: x.mean((2, 3)),
        lambda x: x.std((2, 3)),
        lambda x: (x.amax(1) - x.amin(1)).mean((1, 2)).unsqueeze(1),
        lambda x: x.diff(dim=3).abs().mean((2, 3)),
    ):
        for own, other in zip(statistic(mine).T, statistic(theirs).T, strict=True):
            assert ks_2samp(own.numpy(), other.numpy()).pvalue > 1e-3


def test_views_are_on_8_bit_levels_with_the_grain_that_this_leaves():
    """Networks see it: the Laplacian of dark or pale views is half made of steps of levels."""
    picture, count = photograph(64, 64), 500
    mine = strong_view(tensor(picture).repeat(count, 1, 1, 1), StrongView(), generator())
    torch.testing.assert_close(mine, (mine * 255).round() / 255, rtol=0, atol=1e-6)
    random = np.random.default_rng(0)
    theirs = torch.cat([tensor(pil_strong_view(picture, random)) for _ in range(count)])

    def grain(images: torch.Tensor) -> np.ndarray:
        grey = luma(images)[:, 0]
        inner = grey[:, 1:-1, 1:-1]
        around = grey[:, 2:, 1:-1] + grey[:, :-2, 1:-1] + grey[:, 1:-1, 2:] + grey[:, 1:-1, :-2]
        ratio = (around - 4 * inner).flatten(1).var(1) / grey.flatten(1).var(1)
        return ratio[ratio.isfinite()].numpy()

    assert ks_2samp(grain(mine), grain(theirs)).pvalue > 1e-3


def test_grey_images_have_brightness_contrast_and_blur():
    picture = photograph().convert("L")
    images = tensor(picture).repeat(300, 1, 1, 1)
    for ignored in (StrongView(1, 0, 0, 0.5, 0.25, 0, 0), StrongView(0, grey_p=1, blur_p=0)):
        torch.testing.assert_close(strong_view(images, ignored, generator()), images)
    mine = strong_view(images, StrongView(grey_p=0), generator())
    random = np.random.default_rng(0)
    theirs = [pil_strong_view(picture.convert("RGB"), random).convert("L") for _ in range(300)]
    assert ks_2samp(mine.mean((1, 2, 3)), [tensor(each).mean() for each in theirs]).pvalue > 1e-3
    assert ks_2samp(mine.std((1, 2, 3)), [tensor(each).std() for each in theirs]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"grey_p": 1.2}, "grey_p of a strong view is a probability from 0 to 1, not 1.2"),
        ({"contrast": -1}, "contrast of a strong view is how far its factor may be from 1"),
        ({"hue": 0.7}, "hue of a strong view is in turns, from 0 to 0.5, not 0.7"),
        ({"blur_sigma": (2.0, 0.1)}, "blur_sigma of a strong view is the least and the greatest"),
    ],
)
def test_wrong_options_are_named(wrong, said):
    with pytest.raises(ImBenchError, match=said):
        StrongView(**wrong)


def cut(argument, k: int):
    return argument[k : k + 1] if isinstance(argument, torch.Tensor) else argument


def pil_hue(picture: Image.Image, steps: int) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    shifted = Image.fromarray((np.array(hue, np.int64) + steps).astype(np.uint8))
    return Image.merge("HSV", (shifted, saturation, value)).convert("RGB")


def pil_strong_view(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Make one strong view on 8-bit levels, operation by operation."""
    if random.random() < 0.8:
        factors = random.uniform(0.5, 1.5, 3)
        steps = int(random.uniform(-0.25, 0.25) * 255)
        for operation in random.permutation(["Brightness", "Contrast", "Color", "hue"]):
            if operation == "hue":
                picture = pil_hue(picture, steps)
            else:
                factor = factors[["Brightness", "Contrast", "Color"].index(operation)]
                picture = getattr(ImageEnhance, operation)(picture).enhance(factor)
    if random.random() < 0.2:
        picture = picture.convert("L").convert("RGB")
    if random.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))
    return picture
