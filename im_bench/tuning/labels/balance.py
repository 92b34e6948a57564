"""What one number says of a pseudo-label's two: how the front's point that is frozen is chosen."""

from __future__ import annotations


def balance(quality: float, coverage: float) -> float:
    """Return the harmonic mean of quality and coverage, all in 0..1.

    Each of the two alone is best at an extreme: sure pixels that are hardly any, or all pixels with
    all their errors. So is their product, or the IoU in which what is not kept counts as missed:
    under these nearly every pixel that is more likely right than wrong is worth keeping. The
    harmonic mean asks for both at once, and is small where either is. What students make of the
    pixels is known only by training.
    """
    total = quality + coverage
    return 2 * quality * coverage / total if total else 0.0
