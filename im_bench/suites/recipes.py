"""Which function does each kind of stage, and the version of what it does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How one kind of stage is made.

    Attributes:
        target: ``module:function``, called with a :class:`im_bench.runner.job.Job`.
        version: Part of every key. Raise it when the function's results change, and old results
            are made anew instead of being mistaken for new ones.
    """

    target: str
    version: int


RECIPES = {
    "data": Recipe("im_bench.stages.data:run", 2),
    "train": Recipe("im_bench.stages.train:run", 2),
    "pseudo-label": Recipe("im_bench.stages.pseudo_label:run", 2),
    "predict": Recipe("im_bench.stages.predict:run", 2),
    "evaluate": Recipe("im_bench.stages.evaluate:run", 2),
}
