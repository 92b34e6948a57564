"""Which images are for training, validation and test, and which keep their labels.

Loads numpy for a draw only: planning a suite reads names.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from im_bench.data.description import Fractions, Split
from im_bench.errors import ImBenchError


def choose_labelled(names: Iterable[str], fraction: float, seed: int) -> list[str]:
    """Choose the training images that keep their labels.

    The choice is the start of one permutation of the sorted names, so for one seed a smaller
    fraction is contained in every larger one, and the order of ``names`` does not matter.

    Args:
        names: Names of all training images.
        fraction: Share to choose, in (0, 1]; at least one image is chosen.
        seed: Seed of the permutation.

    Returns:
        The chosen names, sorted.

    Raises:
        ImBenchError: ``fraction`` is outside (0, 1] or there are no names.
    """
    if not 0 < fraction <= 1:
        raise ImBenchError(f"a labelled share of {fraction} is impossible: give one in (0, 1]")
    names = list(names)
    if not names:
        raise ImBenchError("there are no training images with a mask to choose labelled ones from")
    return choose(names, max(1, round(len(names) * fraction)), seed)


def choose(names: Iterable[str], count: int, seed: int) -> list[str]:
    """Return the first ``count`` names of a seeded permutation of the sorted names, sorted."""
    return sorted(_permuted(names, seed)[:count])


def divide(names: Iterable[str], fractions: Fractions) -> dict[Split, list[str]]:
    """Divide names into disjoint splits; each share is rounded, and at least one image.

    Args:
        names: The names to divide.
        fractions: The shares of the splits; what they leave is ``train``.

    Returns:
        The sorted names of ``train`` and of every split with a share.

    Raises:
        ImBenchError: There are too few names.
    """
    order = _permuted(names, fractions.seed)
    total, result = len(order), dict[Split, list[str]]()
    for split in fractions.splits:
        count = max(1, round(total * getattr(fractions, split)))
        result[split], order = sorted(order[:count]), order[count:]
    if not order:
        raise ImBenchError(
            f"{total} images are too few to be divided into train, {', '.join(fractions.splits)}"
        )
    return {"train": sorted(order), **result}


def read_names(path: Path) -> list[str]:
    """Read a text file with one name a line; blank lines and lines that start with # are skipped.

    The text is UTF-8, or UTF-16 as Windows writes it; names come in Unicode's form NFC.

    Raises:
        ImBenchError: The file cannot be read, names nothing, or names something twice.
    """
    try:
        raw = path.read_bytes()
        utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        lines = raw.decode("utf-16" if utf_16 else "utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ImBenchError(f"{path}: cannot be read: {reason}") from None
    stripped = (unicodedata.normalize("NFC", line.strip()) for line in lines)
    names = [name for name in stripped if name and not name.startswith("#")]
    if not names:
        raise ImBenchError(f"{path}: names no image: write one name a line")
    require_once(path, names)
    return names


def require_once(path: Path, names: Sequence[str]) -> None:
    """Raise an `ImBenchError` where a list of names has one of them twice."""
    twice = repeated(names)
    if twice:
        raise ImBenchError(f"{path}: {listed(twice)} stand twice: remove one of each")


def repeated(names: Sequence[str]) -> list[str]:
    """Return the names that stand more than once, sorted."""
    seen, twice = set[str](), set[str]()
    for name in names:
        (twice if name in seen else seen).add(name)
    return sorted(twice)


def overlap(labelled: Iterable[str], unlabelled: Iterable[str]) -> list[str]:
    """Return the images that two lists have in common, sorted.

    A method that sees them would learn with and without their labels, and count them twice.

    Args:
        labelled: Names or paths of the labelled images.
        unlabelled: Those of the unlabelled ones, written in the same way.
    """
    return sorted(set(labelled).intersection(unlabelled))


def listed(names: Collection[str], most: int = 5) -> str:
    """Return the first names, in order, as text, with the number of the others."""
    shown = ", ".join(sorted(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _permuted(names: Iterable[str], seed: int) -> list[str]:
    import numpy as np

    ordered = sorted(names)
    return [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]
