"""How fast running statistics follow where a suite does not say it. Loads no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The original's: Keras' default of 0.99, as PyTorch counts it.
ORIGINAL = 0.01
#: PyTorch's default, and the most that is chosen.
_MOST = 0.1
#: After so many steps with 1 / n each, exp(-10) of the initial statistics is left.
_STEPS = 10


def norm_momentum(
    given: float | None, budget: Mapping[str, Any], batch: int, labelled: int
) -> float:
    """Return the share of the newest batch in the running statistics of batch normalisation.

    The original's 0.01 forgets the initial statistics in some 1000 iterations. A shorter training
    would be validated and tested with what is left of them, and may predict one class everywhere.
    So the share is 10 / iterations there, and 0.1 at most.

    All trainings on a data set have the same, whatever images their method adds: iterations are
    those of a training on the labelled images alone.

    Args:
        given: What the suite says, which holds.
        budget: ``kind`` and length: ``iterations`` if ``equal``, else ``epochs``.
        batch: Images per step.
        labelled: Number of labelled images.
    """
    if given is not None:
        return given
    if budget["kind"] == "equal":
        iterations = int(budget["iterations"])
    else:
        iterations = int(budget["epochs"]) * max(1, labelled // batch)
    return min(_MOST, max(ORIGINAL, _STEPS / iterations))
