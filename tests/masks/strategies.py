"""Hypothesis strategies of teachers' predictions."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

LABELS = {"binary": 1, "multiclass": 5, "multilabel": 7}  # the greatest label byte of each space

spaces = st.sampled_from(sorted(LABELS))


def bytes_of(shape: tuple[int, ...], greatest: int) -> st.SearchStrategy[torch.Tensor]:
    """uint8 tensors of a shape, with values up to ``greatest``."""
    return nps.arrays(np.uint8, shape, elements=st.integers(0, greatest)).map(torch.from_numpy)


@st.composite
def predictions(draw: st.DrawFn, space: str, teachers: int | None = None) -> torch.Tensor:
    """Label bytes ``(K, B, H, W)`` of some teachers that often agree."""
    teachers = teachers or draw(st.integers(1, 4))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    common = draw(bytes_of(shape, LABELS[space]))
    own = draw(bytes_of((teachers, *shape), LABELS[space]))
    differs = draw(nps.arrays(bool, (teachers, *shape)).map(torch.from_numpy))
    return torch.where(differs, own, common)


masks = nps.arrays(bool, nps.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)).map(
    torch.from_numpy
)
