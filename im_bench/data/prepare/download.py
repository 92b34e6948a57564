"""Download the official archives of a data set that is open to everyone."""

from __future__ import annotations

from pathlib import Path

from im_bench.data.prepare.recipe import Recipe
from im_bench.errors import ImBenchError


def download(recipe: Recipe, folder: Path) -> list[Path]:
    """Download the archives of a data set into ``folder``; whole ones are not fetched again.

    Raises:
        ImBenchError: The data set needs a download by hand, a server cannot be reached, or a file
            arrives with the wrong checksum.
    """
    if not recipe.downloadable:
        raise ImBenchError(
            f"{recipe.name} cannot be downloaded without asking its owners: {recipe.how_to_get}"
        )
    import pooch

    paths = []
    for archive in recipe.archives:
        try:
            path = pooch.retrieve(
                archive.url, archive.checksum, fname=archive.file, path=folder, progressbar=False
            )
        except ValueError as error:
            raise ImBenchError(
                f"{archive.file} did not arrive whole ({error}): try again"
            ) from error
        except OSError as error:
            raise ImBenchError(
                f"{archive.url} could not be downloaded ({type(error).__name__}): try again, or "
                f"{recipe.how_to_get}"
            ) from error
        paths.append(Path(path))
    return paths
