"""Model ensembles (ME): what several models say together, without a mask. IM's reference."""

from __future__ import annotations

from torch import Tensor

from im_bench.masks.bits import pack_bits
from im_bench.masks.consensus import Space, check_space, consensus


def mean_ensemble(probabilities: Tensor, space: Space, threshold: float = 0.5) -> Tensor:
    """Return the labels of the mean probability of K models ("soft" ensemble).

    Args:
        probabilities: float ``(K, B, C, H, W)`` in 0..1; C is 1 for binary.
        space: The label space.
        threshold: A class is present where its mean is greater; unused for multi-class, where the
            greatest mean wins and the lowest class a tie.

    Returns:
        uint8 ``(B, H, W)`` label bytes.

    Raises:
        ImBenchError: If the space is unknown.

    Source: original implementation, ``get_model_ensemble_prediction_*_soft`` (HeLa
    and multi-class).
    """
    mean = probabilities.mean(0)
    if check_space(space) == "multiclass":
        return mean.argmax(1).byte()
    return pack_bits(mean > threshold)


def unanimous_ensemble(predictions: Tensor, space: Space) -> Tensor:
    """Return the labels on which K models agree, 0 elsewhere ("hard" ensemble).

    Args:
        predictions: uint8 ``(K, B, H, W)`` label bytes.
        space: The label space.

    Returns:
        uint8 ``(B, H, W)`` label bytes.

    Raises:
        ImBenchError: As :func:`~im_bench.masks.consensus.consensus`.

    Source: original implementation, ``get_model_ensemble_prediction_ISIC_2018`` and
    ``..._multiclass_hard``: unanimity, not a majority.
    """
    return consensus(predictions, space).labels
