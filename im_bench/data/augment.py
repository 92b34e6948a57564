"""Augmentation of whole batches on the device they lie on.

The operations and their order are those of the original's offline augmentation; here they are drawn
anew for every batch. All draws come from a generator seeded by (seed, iteration), so a training
that resumes at an iteration sees what it would have seen.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from im_bench.errors import ImBenchError

# OpenCV's own kernels for 8-bit images where sigma is left to it, times 64, padded to 7 taps:
# row k is for a kernel of 2k + 1 pixels.
_BLUR_KERNELS = (
    (0, 0, 0, 64, 0, 0, 0),
    (0, 0, 16, 32, 16, 0, 0),
    (0, 4, 16, 24, 16, 4, 0),
    (2, 7, 14, 18, 14, 7, 2),
)


@dataclass(frozen=True)
class Augmentation:
    """The ranges that an augmentation draws from. The defaults are ALDT's on ISIC 2018.

    Attributes:
        contrast: Range of the factor A of ``clip(|A * x + B|)``.
        brightness: B is drawn from -brightness to +brightness, in levels of 0..255.
        blur: Highest level of Gaussian blur: 0 none, 1, 2, 3 for 3x3, 5x5 and 7x7 pixels.
        noise: Integer noise from -noise to noise - 1, in levels; 0 for none.
        free_rotation: Whether up and down mean nothing: adds the vertical flip and the rotation.
        clean_share: Share of the drawn images that is left as it is. Drawing from an original and
            its 9 augmented copies leaves 0.1.

    Raises:
        ImBenchError: ``blur`` or ``noise`` is out of range.
    """

    contrast: tuple[float, float] = (0.5, 1.5)
    brightness: float = 25.0
    blur: int = 3
    noise: int = 25
    free_rotation: bool = True
    clean_share: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "contrast", (float(self.contrast[0]), float(self.contrast[1])))
        if not 0 <= self.blur < len(_BLUR_KERNELS):
            raise ImBenchError(
                f"blur is a level from 0 to {len(_BLUR_KERNELS) - 1}, not {self.blur}"
            )
        if not 0 <= self.noise <= 255:
            raise ImBenchError(f"noise is an amplitude from 0 to 255, not {self.noise}")


class Draws(NamedTuple):
    """What was drawn for a batch of B images; all tensors lie on the images' device.

    Attributes:
        vertical: Whether to flip upside down, (B,) bool.
        horizontal: Whether to flip left and right, (B,) bool.
        turns: Counter-clockwise quarter turns after the flips, (B,) int64, 0..3.
        contrast: A, (B,) float32; 1 where brightness and contrast stay.
        brightness: B, (B,) float32; 0 where brightness and contrast stay.
        blur: Level, (B,) int64.
        noise: Levels to add, (B, H, W, C) int16, or None without noise.
    """

    vertical: Tensor
    horizontal: Tensor
    turns: Tensor
    contrast: Tensor
    brightness: Tensor
    blur: Tensor
    noise: Tensor | None


def mixed_seed(seed: int, iteration: int) -> int:
    """Return a seed for one iteration of one training, below 2**32.

    It is a hash, lest neighbouring seeds share iterations.
    """
    digest = hashlib.blake2b(f"{seed}:{iteration}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def generator_at(seed: int, iteration: int, device: torch.device) -> torch.Generator:
    """Return the generator of one iteration of one training."""
    return torch.Generator(device).manual_seed(mixed_seed(seed, iteration))


def draw(augmentation: Augmentation, images: Tensor, generator: torch.Generator) -> Draws:
    """Draw independently for each image of a batch.

    A vertical flip (p 0.5) and a rotation by 0, 90, 180 or 270 degrees only with ``free_rotation``;
    images that are not square turn by 0 or 180 only. Brightness and contrast change with p 0.5.

    Args:
        augmentation: The ranges.
        images: uint8 (B, H, W, C); only shape and device matter.
        generator: On the device of the images.
    """
    count, height, width, _ = images.shape
    device = images.device

    def uniform(low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(count, generator=generator, device=device) * (high - low) + low

    def integer(low: int, high: int, size: tuple[int, ...] = (count,)) -> Tensor:
        return torch.randint(low, high, size, generator=generator, device=device)

    changed = uniform() >= augmentation.clean_share
    horizontal = (uniform() < 0.5) & changed
    if augmentation.free_rotation:
        vertical = (uniform() < 0.5) & changed
        turns = integer(0, 4) if height == width else integer(0, 2) * 2
    else:
        vertical = torch.zeros_like(horizontal)
        turns = torch.zeros_like(horizontal, dtype=torch.int64)
    photometric = (uniform() < 0.5) & changed
    contrast = uniform(*augmentation.contrast).where(photometric, 1.0)
    brightness = uniform(-augmentation.brightness, augmentation.brightness).where(photometric, 0.0)
    noise = None
    if augmentation.noise:
        noise = torch.randint(
            -augmentation.noise,
            augmentation.noise,
            images.shape,
            generator=generator,
            device=device,
            dtype=torch.int16,
        )
        noise *= changed.view(-1, 1, 1, 1)
    return Draws(
        vertical=vertical,
        horizontal=horizontal,
        turns=turns * changed,
        contrast=contrast,
        brightness=brightness,
        blur=integer(0, augmentation.blur + 1) * changed,
        noise=noise,
    )


def apply_geometry(batch: Tensor, draws: Draws) -> Tensor:
    """Flip and turn images (B, H, W, C) or label maps (B, H, W).

    A quarter turn needs H = W. Any sequence of flips and quarter turns is a transposition, or none,
    followed by at most one flip along each axis: that is done for the whole batch at once.
    """
    shape = (-1,) + (1,) * (batch.dim() - 1)
    quarter = (draws.turns % 2 == 1).view(shape)
    half = draws.turns >= 2
    # A counter-clockwise quarter turn is a transposition followed by an upside-down flip. The
    # transposition exchanges the flips that came before it.
    odd = draws.turns % 2 == 1
    flip_rows = draws.vertical.where(~odd, draws.horizontal) ^ odd ^ half
    flip_columns = draws.horizontal.where(~odd, draws.vertical) ^ half
    if batch.shape[1] == batch.shape[2]:
        batch = torch.where(quarter, batch.transpose(1, 2), batch)
    batch = torch.where(flip_rows.view(shape), batch.flip(1), batch)
    return torch.where(flip_columns.view(shape), batch.flip(2), batch)


def apply_photometry(images: Tensor, draws: Draws, blur: int) -> Tensor:
    """Change brightness and contrast, blur, and add noise to uint8 images (B, H, W, C).

    The values are rounded to whole levels and clipped to 0..255 after each of the three.

    Args:
        images: The batch.
        draws: What to do.
        blur: The highest level that ``draws.blur`` can hold.
    """
    shape = (-1, 1, 1, 1)
    x = images.float()
    x = x.mul_(draws.contrast.view(shape)).add_(draws.brightness.view(shape))
    x = x.abs_().round_().clamp_(0, 255)
    if blur:
        taps = _blur_kernels(x.device)[draws.blur, 3 - blur : 4 + blur]
        x = _correlate(_correlate(x, taps, dim=1), taps, dim=2)
        x = x.add_(0.5).floor_()
    if draws.noise is not None:
        x = x.add_(draws.noise).clamp_(0, 255)
    return x.to(torch.uint8)


def augment(
    images: Tensor, labels: Tensor, augmentation: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Augment a batch; label maps follow the geometric operations only.

    Args:
        images: uint8 (B, H, W, C).
        labels: uint8 (B, H, W).
        augmentation: The ranges.
        generator: On the same device; see :func:`generator_at`.

    Returns:
        New images and labels, of the same shapes and types.
    """
    draws = draw(augmentation, images, generator)
    images = apply_photometry(apply_geometry(images, draws), draws, augmentation.blur)
    return images, apply_geometry(labels, draws)


@cache
def _blur_kernels(device: torch.device) -> Tensor:
    """Return the kernels, (4, 7); copied to the device once, since copying waits for it."""
    return torch.tensor(_BLUR_KERNELS, dtype=torch.float32, device=device) / 64


def _correlate(x: Tensor, taps: Tensor, dim: int) -> Tensor:
    """Correlate each image of (B, H, W, C) along ``dim`` with its own taps (B, K).

    The border is mirrored without repeating the outermost pixel, as OpenCV does by default. Adding
    shifted copies is faster here than a grouped convolution: K is small, B * C is not.
    """
    radius = taps.shape[1] // 2
    length = x.shape[dim]
    index = torch.arange(-radius, length + radius, device=x.device).abs()
    index = (length - 1) - ((length - 1) - index).abs()
    padded = x.index_select(dim, index)
    weights = taps.view(len(taps), -1, 1, 1, 1)
    result = padded.narrow(dim, 0, length) * weights[:, 0]
    for k in range(1, taps.shape[1]):
        result.addcmul_(padded.narrow(dim, k, length), weights[:, k])
    return result
