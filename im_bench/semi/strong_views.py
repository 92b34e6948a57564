"""Strong views: other colours and less sharpness, the same geometry.

What torchvision's ``ColorJitter`` and ``RandomGrayscale`` and PIL's ``GaussianBlur`` do to one
8-bit image at a time happens here to a batch of float images on their device. The parameters have
the same distributions, one independent draw for each image, and every operation ends on the 8-bit
levels, cut off or rounded as PIL does, since networks see the fine grain that this leaves. What
differs: PIL also rounds within an operation, the hue to one of 256 steps and the blur after each of
six runs. Of 255 levels that is worth 3 for the blur; for the hue half a level on average and 12 in
the purest colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from im_bench.errors import ImBenchError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as in PIL's mode "L".
_LEVELS = 255
_SLOTS = 3  # Affine colour operations: brightness, contrast, saturation.


@dataclass(frozen=True)
class StrongView:
    """What a strong view draws from. The defaults are those of FixMatch and UniMatch.

    Attributes:
        jitter_p: Probability of the colour jitter.
        brightness: Its factor is uniform in ``max(0, 1 - brightness) .. 1 + brightness``.
        contrast: Likewise.
        saturation: Likewise.
        hue: The hue is shifted by -hue to hue turns, uniformly; at most 0.5.
        grey_p: Probability that colours become grey.
        blur_p: Probability of the blur.
        blur_sigma: Range of its standard deviation in pixels, uniform.

    Raises:
        ImBenchError: A value is out of range.
    """

    jitter_p: float = 0.8
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25
    grey_p: float = 0.2
    blur_p: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        for name in ("jitter_p", "grey_p", "blur_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise ImBenchError(
                    f"{name} of a strong view is a probability from 0 to 1, "
                    f"not {getattr(self, name)}"
                )
        for name in ("brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                raise ImBenchError(
                    f"{name} of a strong view is how far its factor may be from 1, 0 or more, "
                    f"not {getattr(self, name)}"
                )
        if not 0 <= self.hue <= 0.5:
            raise ImBenchError(f"hue of a strong view is in turns, from 0 to 0.5, not {self.hue}")
        if not 0 <= self.blur_sigma[0] <= self.blur_sigma[1]:
            raise ImBenchError(
                "blur_sigma of a strong view is the least and the greatest standard deviation in "
                f"pixels, not {self.blur_sigma}"
            )


class Draws(NamedTuple):
    """What was drawn for a batch of B images; all tensors lie on the images' device.

    Brightness, contrast and saturation are one operation with three coefficients; see
    :func:`mix`. The four operations of the jitter come in random order. Three places are before
    the hue and three behind it; those that an image does not need hold (1, 0, 0).

    Attributes:
        own: Weight of the image, (B, 6) float32.
        grey: Weight of its grey version, (B, 6) float32.
        mean: Weight of its mean grey, (B, 6) float32.
        hue: Shift in turns, (B,) float32; 0 for none.
        greyed: Whether colours become grey, (B,) bool.
        sigma: Of the blur in pixels, (B,) float32; 0 for none.
    """

    own: Tensor
    grey: Tensor
    mean: Tensor
    hue: Tensor
    greyed: Tensor
    sigma: Tensor


def strong_view(images: Tensor, options: StrongView, generator: torch.Generator) -> Tensor:
    """Return a strong view of each image: colour jitter, grey, blur, each with its probability.

    Images of one channel have no hue and no saturation.

    Args:
        images: float32 (B, C, H, W) in 0..1, C 1 or 3.
        options: What to draw from.
        generator: On the device of the images.

    Returns:
        New images of the same shape, type, range and memory format.

    Source: LiheYoung/UniMatch, dataset/semi.py.
    """
    draws = draw(options, len(images), generator)

    def change(part: Tensor, *drawn: Tensor) -> Tensor:
        return apply(part, Draws(*drawn), options.blur_sigma[1])

    return in_parts(change, images, *draws)


def draw(options: StrongView, count: int, generator: torch.Generator) -> Draws:
    """Draw independently for each of ``count`` images, on the generator's device."""
    device = generator.device

    def uniform(low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(count, generator=generator, device=device) * (high - low) + low

    def factor(strength: float) -> Tensor:
        return uniform(max(0.0, 1 - strength), 1 + strength).where(jittered, 1.0)

    jittered = uniform() < options.jitter_p
    brightness, contrast, saturation = map(
        factor, (options.brightness, options.contrast, options.saturation)
    )
    hue = uniform(-options.hue, options.hue).where(jittered, 0.0)
    # The places in a random order of the four, hue last; then in the six places around the hue.
    order = torch.rand(count, _SLOTS + 1, generator=generator, device=device).argsort(1)
    affine, of_hue = order[:, :_SLOTS], order[:, _SLOTS:]
    slots = affine + (_SLOTS - 1) * (affine > of_hue)
    _, at_contrast, at_saturation = slots.unsqueeze(2).unbind(1)
    ones = torch.ones(count, 2 * _SLOTS, device=device)
    own = ones.scatter(1, slots, torch.stack([brightness, contrast, saturation], 1))
    zeros = torch.zeros_like(ones)
    sigma = uniform(*options.blur_sigma)
    return Draws(
        own=own,
        grey=zeros.scatter(1, at_saturation, 1 - saturation.unsqueeze(1)),
        mean=zeros.scatter(1, at_contrast, 1 - contrast.unsqueeze(1)),
        hue=hue,
        greyed=uniform() < options.grey_p,
        sigma=sigma.where(uniform() < options.blur_p, 0.0),
    )


def apply(images: Tensor, draws: Draws, highest_sigma: float) -> Tensor:
    """Change images (B, C, H, W) as drawn.

    Args:
        images: float32 in 0..1; they stay as they are.
        draws: For each image.
        highest_sigma: The highest value that ``draws.sigma`` can hold.

    Returns:
        New images, or the same ones where nothing is to be done.
    """
    colour = images.shape[1] == 3
    for slot, (own, grey, mean) in enumerate(
        zip(draws.own.unbind(1), draws.grey.unbind(1), draws.mean.unbind(1), strict=True)
    ):
        if slot == _SLOTS and colour and wanted(draws.hue != 0):
            images = to_levels(shift_hue(images, draws.hue))
        if wanted(own != 1):
            images = cut_to_levels(mix(images, own, grey, mean))
    if colour and wanted(draws.greyed):
        images = choose(draws.greyed, to_levels(luma(images)), images)
    if wanted(draws.sigma > 0):
        images = to_levels(gaussian_blur(images, draws.sigma, highest_sigma))
    return images


def to_levels(images: Tensor) -> Tensor:
    """Round images in 0..1 to 8-bit levels, in place."""
    return images.mul_(_LEVELS).round_().div_(_LEVELS)


def cut_to_levels(images: Tensor) -> Tensor:
    """Cut images in 0..1 off to the 8-bit levels below, as PIL's ``Image.blend`` does, in place."""
    # Products of floats may lie just below a level that they should hit.
    return images.mul_(_LEVELS).add_(1e-3).floor_().div_(_LEVELS)


def in_parts(change: Callable[..., Tensor], images: Tensor, *drawn: Tensor) -> Tensor:
    """Return what ``change(images, *drawn)`` makes of images, in their memory format.

    On a CPU it is called with one image after the other: that stays in the cache, and what it does
    not need can be left out. On a GPU all come at once, since only the device knows what was drawn.

    Args:
        change: Makes images of images (B, C, H, W), on planes, and of what was drawn for each.
        images: (B, C, H, W).
        drawn: Tensors (B, ...).
    """
    chunks = max(1, len(images)) if images.device.type == "cpu" else 1
    results = torch.empty_like(images)
    parts = zip(*(each.chunk(chunks) for each in (results, images, *drawn)), strict=True)
    for result, image, *part in parts:
        # Operations on whole planes are faster on planes.
        result.copy_(change(image.contiguous(), *part))
    return results


def wanted(drawn: Tensor) -> bool:
    """Return whether an operation must be carried out: whether any of the images (B,) drew it.

    Always True on a GPU: to look would be to wait for it, and the operations leave images alone
    that did not draw them.
    """
    return drawn.device.type != "cpu" or bool(drawn.any())


def luma(images: Tensor) -> Tensor:
    """Return the grey version of images (B, C, H, W), (B, 1, H, W). C is 1 or 3."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unsqueeze(2).unbind(1)
    return (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def mix(images: Tensor, own: Tensor, grey: Tensor, mean: Tensor) -> Tensor:
    """Return ``own * image + grey * luma + mean * (mean of luma)``, cut off to 0..1.

    (f, 0, 0) is PIL's brightness with factor f, (f, 0, 1 - f) its contrast and (f, 1 - f, 0) its
    colour, that is, saturation.

    Args:
        images: float32 (B, C, H, W) in 0..1.
        own: float32 (B,).
        grey: float32 (B,).
        mean: float32 (B,).
    """
    own, grey, mean = (each.view(-1, 1, 1, 1) for each in (own, grey, mean))
    lumas = luma(images)
    offset = torch.addcmul(mean * lumas.mean((1, 2, 3), keepdim=True), lumas, grey)
    return torch.addcmul(offset, images, own).clamp_(0, 1)


def shift_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue of images, as in HSV.

    In HSV a colour is its greatest channel V, the spread C from the least to the greatest, and the
    hue. Each channel is V less a share of C that depends only on how far the hue is from
    the channel's own: 0 up to a sixth of a turn, 1 from a third on, linear between. So hues can be
    read and written without asking which channel is the greatest.

    Args:
        images: float32 (B, 3, H, W) in 0..1.
        turns: Shifts, float32 (B,). Images with 0 stay as they are.
    """
    red, green, blue = images.unsqueeze(2).unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    # How far from red: in sixths of a turn 2 plus red's share less those of green and blue. Greys
    # have no hue, and need none: any finite one will do.
    hue = (green + blue).sub_(red).sub_(value)
    hue = hue.div_(spread.clamp(min=torch.finfo(spread.dtype).tiny)).add_(2).div_(6)
    hue = hue.copysign_(green - blue)
    own = torch.arange(3, device=images.device).view(1, 3, 1, 1) / 3
    distance = hue - (own - turns.view(-1, 1, 1, 1))
    distance = distance.sub_(distance.round()).abs_()
    share = distance.mul_(6).sub_(1).clamp_(0, 1)
    shifted = torch.addcmul(value, share, spread, value=-1)
    return choose(turns != 0, shifted, images)


def choose(drawn: Tensor, others: Tensor, images: Tensor) -> Tensor:
    """Return ``others`` for the images that drew an operation, (B,) bool, else ``images``.

    A weight of 0 or 1 makes lerp exact, and on a CPU it is several times as fast as where.
    """
    return torch.lerp(images, others, drawn.to(images.dtype).view(-1, 1, 1, 1))


def gaussian_blur(images: Tensor, sigma: Tensor, highest: float) -> Tensor:
    """Blur each image with its own standard deviation, as PIL's ``GaussianBlur`` does.

    PIL runs a box with fractional ends over the image three times, along rows and along columns.
    Here the three are one kernel. Beyond the border the outermost pixel repeats; PIL has it repeat
    anew in each of the three runs, so that the outermost few pixels differ.

    Args:
        images: float32 (B, C, H, W) in 0..1.
        sigma: In pixels, float32 (B,). Images with 0 stay as they are.
        highest: The highest value that ``sigma`` can hold.
    """
    kernels = _blur_kernels(sigma, highest)
    for dim in (2, 3):
        images = _correlate(images, kernels, dim)
    return images.clamp_(0, 1)


def _blur_kernels(sigma: Tensor, highest: float) -> Tensor:
    """Return three boxes of radius r convolved, (B, taps).

    A box is 1 up to the whole part of r and the fraction of r one pixel further. The fraction is
    such that the variance is right; see Gwosdek et al., "Theoretical foundations of Gaussian
    convolution by extended box filtering" (2011).
    """
    variance = sigma**2 / 3
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    radius = (whole + fraction / (6 * (variance - (whole + 1) ** 2))).unsqueeze(1)
    reach = int((math.sqrt(4 * highest**2 + 1) - 1) / 2) + 1
    taps = torch.arange(-reach, reach + 1, device=sigma.device)
    box = (radius + 1 - taps.abs()).clamp(0, 1) / (2 * radius + 1)
    kernels = box
    for _ in range(2):
        padded = F.pad(kernels, (2 * reach, 2 * reach))
        kernels = (padded.unfold(1, 2 * reach + 1, 1) * box.unsqueeze(1)).sum(-1)
    return kernels


def _correlate(images: Tensor, kernels: Tensor, dim: int) -> Tensor:
    """Correlate each image of (B, C, H, W) along ``dim`` with its own kernel (B, K).

    Adding shifted copies is faster than a grouped convolution: K is small, B * C is not.
    """
    reach = kernels.shape[1] // 2
    length = images.shape[dim]
    padding = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
    padded = F.pad(images, padding, mode="replicate")
    first, *weights = kernels.view(len(kernels), -1, 1, 1, 1).unbind(1)
    result = padded.narrow(dim, 0, length) * first
    for k, weight in enumerate(weights, start=1):
        result.addcmul_(padded.narrow(dim, k, length), weight)
    return result
