"""The adapters of iMAS on what no recording at hand has."""

from __future__ import annotations

import numpy as np

from .imas import image_hardness


def test_hardness_is_nan_as_in_the_original_where_nobody_is_confident():
    """The second version divides by the share of confident pixels."""
    logits = np.zeros((2, 3, 4, 5), np.float32)
    logits[1, 1] = 9
    options = {"c0_in_thresh_weighted_ignorebg": np.array([0.7, 1, 1])}
    made = image_hardness({"in_student": logits, "in_teacher": logits, **options})
    np.testing.assert_array_equal(made["c0_out_hardness_v1"], [0, 1])
    np.testing.assert_array_equal(made["c0_out_hardness_v2"], [np.nan, 1])
