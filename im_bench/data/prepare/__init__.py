"""Official data sets, turned into the canonical form that training reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from im_bench.data.prepare.download import download
from im_bench.data.prepare.pipeline import Progress, Request, check_folder_is_free, run
from im_bench.data.prepare.recipe import Recipe, Size
from im_bench.data.prepare.registry import DATA_SETS, find_recipe


def prepare(
    name: str,
    sources: Sequence[Path] = (),
    *,
    root: Path,
    rename: str | None = None,
    size: Size | None = None,
    allow_partial: bool = False,
    sha256: Sequence[str] = (),
    threads: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write an official data set to ``<root>/<name>``, in canonical form.

    The result is the same whatever the machine, the number of threads and the number of
    interruptions: splits and crops are drawn from sorted names with a fixed seed. Finished files of
    an interrupted run are kept.

    Args:
        name: Of a recipe in :data:`DATA_SETS`, such as ``isic2018``.
        sources: Raw folders, archives and folders of the official archives; none to download the
            data set where that is allowed. For data sets with published partitions also folders
            with their original lists, which are downloaded otherwise.
        root: The folder of data sets.
        rename: What to call the result, if it should not be mistaken for the official data set.
        size: ``(width, height)`` of the prepared images in pixels; None for that of the paper.
        allow_partial: Accept other than the official number of images, and leave out images
            without a mask.
        sha256: What the archives among ``sources`` must have, in their order; empty to compare
            with the checksums that are known.
        threads: Images converted at a time; None for the number of cores.
        progress: Called after each raw image with the number of finished ones and of all.

    Returns:
        The folder of the prepared data set.

    Raises:
        ImBenchError: The data is incomplete or damaged, or cannot be written.
    """
    recipe = find_recipe(name)
    folder = root / (rename or name)
    if not sources:
        sources = download(recipe, root / "downloads")
    paths = tuple(path for source in sources for path in _unpacked(recipe, source))
    check_folder_is_free(paths, folder)
    request = Request(recipe, paths, folder, size, allow_partial, tuple(sha256))
    threads = threads or os.cpu_count() or 1
    if recipe.partitioned is not None:
        lists = [source for source in sources if source.is_dir()]
        return recipe.partitioned(request, lists, root / "downloads", threads, progress)
    return run(request, threads, progress)


def _unpacked(recipe: Recipe, source: Path) -> list[Path]:
    """Return the official archives that lie in a folder, or what was given if there are none."""
    archives = [source / archive.file for archive in recipe.archives]
    return [archive for archive in archives if archive.is_file()] or [source]


__all__ = ["DATA_SETS", "Progress", "Recipe", "find_recipe", "prepare"]
