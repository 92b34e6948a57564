"""Finds the recipes of data sets by name: the built-in ones, and those of other packages.

A package brings a data set by an entry point: ``[project.entry-points."im_bench.data"]`` with
``my-data = "my_package.my_data:RECIPE"``.
"""

from __future__ import annotations

from im_bench.data.prepare.recipe import Recipe
from im_bench.errors import ImBenchError
from im_bench.registry import Registry

BUILT_IN = {
    "isic2018": "im_bench.data.prepare.isic2018:RECIPE",
    "hela": "im_bench.data.prepare.hela:RECIPE",
    "suim": "im_bench.data.prepare.suim:RECIPE",
    "cityscapes": "im_bench.data.prepare.cityscapes:RECIPE",
    "cityscapes-semi": "im_bench.data.prepare.cityscapes_semi:RECIPE",
    "pascal": "im_bench.data.prepare.pascal:RECIPE",
    "mitochondria": "im_bench.data.prepare.mitochondria:RECIPE",
}
DATA_SETS = Registry("data set", "im_bench.data", BUILT_IN, base=Recipe, instances=True)
"""Instances of :class:`~im_bench.data.prepare.recipe.Recipe`."""


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a data set.

    Raises:
        ImBenchError: There is none of this name, where the nearest one is suggested; or it cannot
            be imported, or calls itself otherwise.
    """
    recipe: Recipe = DATA_SETS[name]
    if recipe.name != name:
        raise ImBenchError(
            f"data set {name!r} calls itself {recipe.name!r}: give recipe and entry point one name"
        )
    return recipe
