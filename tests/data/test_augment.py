from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from im_bench.data.augment import (
    Augmentation,
    Draws,
    apply_geometry,
    apply_photometry,
    augment,
    draw,
    generator_at,
)
from im_bench.errors import ImBenchError

CPU = torch.device("cpu")
Image = NDArray[np.uint8]


def geometry_of_one(image: Image, draws: Draws, index: int) -> Image:
    """The geometric operations on one image, one after the other."""
    if draws.vertical[index]:
        image = np.flipud(image)
    if draws.horizontal[index]:
        image = np.fliplr(image)
    return np.ascontiguousarray(np.rot90(image, int(draws.turns[index])))


def photometry_of_one(image: Image, draws: Draws, index: int) -> Image:
    """The photometric operations on one image, by OpenCV."""
    shape = image.shape
    image = cv2.convertScaleAbs(
        image, alpha=float(draws.contrast[index]), beta=float(draws.brightness[index])
    )
    side = 2 * int(draws.blur[index]) + 1
    if side > 1:
        image = cv2.GaussianBlur(image, (side, side), 0)
    image = image.reshape(shape)
    if draws.noise is not None:
        image = np.clip(image.astype(int) + draws.noise[index].numpy(), 0, 255).astype(np.uint8)
    return image


def random_batch(
    count: int, height: int, width: int, channels: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(
        0, 256, (count, height, width, channels), dtype=torch.uint8, generator=generator
    )
    return images, images[..., 0] % 3


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("free_rotation", [True, False])
@pytest.mark.parametrize(("height", "width"), [(20, 20), (16, 28)])
def test_a_batch_is_augmented_like_each_image_alone(
    height: int, width: int, free_rotation: bool, channels: int
) -> None:
    images, labels = random_batch(48, height, width, channels)
    augmentation = Augmentation(free_rotation=free_rotation, clean_share=0.1)
    draws = draw(augmentation, images, generator_at(1, 2, CPU))
    got_images, got_labels = augment(images, labels, augmentation, generator_at(1, 2, CPU))
    assert got_images.dtype == got_labels.dtype == torch.uint8
    for index in range(len(images)):
        moved = geometry_of_one(images[index].numpy(), draws, index)
        expected = photometry_of_one(moved, draws, index)
        difference = np.abs(got_images[index].numpy().astype(int) - expected)
        # Brightness may fall to the other side of a half level in float32; nothing else differs.
        assert difference.max() <= 1
        assert (difference != 0).mean() < 1e-3
        np.testing.assert_array_equal(
            got_labels[index].numpy(), geometry_of_one(labels[index].numpy(), draws, index)
        )


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_blur_is_exactly_opencvs(level: int) -> None:
    images, _ = random_batch(2, 24, 18, 3)
    nothing = draw(Augmentation((1, 1), 0, 0, 0, False), images, generator_at(0, 0, CPU))
    draws = nothing._replace(blur=torch.full((2,), level))
    blurred = apply_photometry(images, draws, blur=3)
    for image, got in zip(images.numpy(), blurred.numpy(), strict=True):
        side = 2 * level + 1
        np.testing.assert_array_equal(got, cv2.GaussianBlur(image, (side, side), 0))


def test_all_sixteen_moves_of_a_square_are_right() -> None:
    images, _ = random_batch(1, 6, 6, 1)
    images = images.expand(16, -1, -1, -1)
    codes = torch.arange(16)
    neutral = draw(Augmentation(), images, generator_at(0, 0, CPU))
    draws = neutral._replace(
        vertical=codes % 2 == 1, horizontal=codes // 2 % 2 == 1, turns=codes // 4
    )
    moved = apply_geometry(images, draws)
    for index in range(16):
        expected = geometry_of_one(images[index].numpy(), draws, index)
        np.testing.assert_array_equal(moved[index].numpy(), expected)


def test_draws_have_the_distributions_they_should() -> None:
    count = 20_000
    images = torch.zeros(count, 2, 2, 1, dtype=torch.uint8)
    augmentation = Augmentation(contrast=(0.5, 1.5), brightness=25, blur=3, noise=25)
    draws = draw(augmentation, images, generator_at(3, 4, CPU))
    assert draws.vertical.float().mean() == pytest.approx(0.5, abs=0.02)
    assert draws.horizontal.float().mean() == pytest.approx(0.5, abs=0.02)
    for levels in (draws.turns, draws.blur):
        shares = torch.bincount(levels, minlength=4) / count
        torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.02, rtol=0)
    changed = draws.contrast != 1
    assert changed.float().mean() == pytest.approx(0.5, abs=0.02)
    assert (draws.brightness[~changed] == 0).all()
    assert draws.contrast[changed].min() == pytest.approx(0.5, abs=0.01)
    assert draws.contrast[changed].max() == pytest.approx(1.5, abs=0.01)
    assert draws.brightness[changed].min() == pytest.approx(-25, abs=0.1)
    assert draws.brightness[changed].max() == pytest.approx(25, abs=0.1)
    assert draws.noise is not None
    values, counts = draws.noise.unique(return_counts=True)
    assert values.tolist() == list(range(-25, 25))
    assert counts.min() > 0.8 * counts.float().mean()
    # Independent of each other, and different from image to image.
    assert (
        torch.corrcoef(
            torch.stack([draws.vertical.float(), draws.horizontal.float(), changed.float()])
        )
        .triu(1)
        .abs()
        .max()
        < 0.03
    )


def test_a_share_of_the_images_stays_as_it_is() -> None:
    images, labels = random_batch(4000, 4, 4, 3)
    got_images, got_labels = augment(
        images, labels, Augmentation(clean_share=0.1), generator_at(0, 0, CPU)
    )
    same = (got_images == images).flatten(1).all(1)
    assert same.float().mean() == pytest.approx(0.1, abs=0.015)
    assert torch.equal(got_labels[same], labels[same])


def test_without_free_rotation_up_stays_up() -> None:
    images, labels = random_batch(64, 8, 8, 1)
    _, moved = augment(images, labels, Augmentation(free_rotation=False), generator_at(0, 0, CPU))
    straight = (moved == labels).flatten(1).all(1)
    mirrored = (moved == labels.flip(2)).flatten(1).all(1)
    assert (straight | mirrored).all()
    assert straight.any()
    assert mirrored.any()


def test_images_that_are_not_square_turn_by_half_turns_only() -> None:
    images = torch.zeros(500, 4, 6, 1, dtype=torch.uint8)
    draws = draw(Augmentation(), images, generator_at(0, 0, CPU))
    assert set(draws.turns.tolist()) == {0, 2}


def test_a_batch_depends_on_seed_and_iteration_only() -> None:
    images, labels = random_batch(8, 8, 8, 3)

    def at(seed: int, iteration: int) -> Tensor:
        return augment(images, labels, Augmentation(), generator_at(seed, iteration, CPU))[0]

    first = at(5, 7)
    torch.rand(3)  # global randomness has no part in it
    assert torch.equal(at(5, 7), first)
    assert not torch.equal(at(5, 8), first)
    assert not torch.equal(at(6, 7), first)
    assert not torch.equal(at(6, 6), first)


@pytest.mark.parametrize("fields", [{"blur": 4}, {"blur": -1}, {"noise": 300}])
def test_ranges_that_cannot_be_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ImBenchError, match=r"level|amplitude"):
        Augmentation(**fields)  # type: ignore[arg-type]
