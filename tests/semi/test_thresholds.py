from __future__ import annotations

import torch

from im_bench.semi.pseudo_label import PseudoLabel
from im_bench.semi.thresholds import MovingThreshold


def label(counted: bool = True) -> PseudoLabel:
    """Return labels of two classes, of which the surest pixels have 0.9 and 0.7."""
    everywhere = torch.ones(1, 2, 2, dtype=torch.bool)
    return PseudoLabel(
        torch.tensor([[[0, 0], [5, 5]]], dtype=torch.uint8),
        torch.tensor([[[0.6, 0.9], [0.7, 0.5]]]),
        everywhere & counted,
        everywhere,
    )


def test_threshold_moves_towards_the_mean_of_the_surest_pixels():
    moving = MovingThreshold(0.5, momentum=0.75)
    torch.testing.assert_close(moving(label()), torch.tensor(0.75 * 0.5 + 0.25 * 0.8))


def test_pixels_that_do_not_count_are_not_looked_at():
    one_class = label()._replace(kept=torch.tensor([[[True, False], [False, False]]]))
    torch.testing.assert_close(MovingThreshold(0.5, 0.0)(one_class), torch.tensor(0.6))
    assert MovingThreshold(0.5, 0.0)(label(counted=False)) == 0.5


def test_threshold_is_in_checkpoints():
    moving = MovingThreshold(0.5, 0.0)
    moving(label())
    other = MovingThreshold(0.5, 0.0)
    other.load_state_dict(moving.state_dict())
    assert other.value == moving.value != 0.5
