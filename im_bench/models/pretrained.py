"""Initial weights by ``init_cfg=dict(type="Pretrained", ...)``, told where they do not fit.

MMEngine's own initialiser goes on without a word on the terminal when nothing in the file fits the
network. This one takes its place when it is imported.
"""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.model.weight_init import WEIGHT_INITIALIZERS, PretrainedInit, update_init_info
from mmengine.runner import CheckpointLoader
from torch import nn

from im_bench.errors import ImBenchError
from im_bench.models.weights import (
    NOT_LEARNED,
    Fit,
    State,
    fitted,
    network_weights,
    without_best_prefix,
)


@WEIGHT_INITIALIZERS.register_module(name="Pretrained", force=True)
class PretrainedWeights(PretrainedInit):
    """Load weights of any program into a module; arguments are those of MMEngine's.

    Without ``prefix`` the file may hold the module itself, or a network of which it is the
    ``backbone`` or the ``encoder``.
    """

    def __call__(self, module: nn.Module) -> None:
        """Load the weights.

        Raises:
            ImBenchError: The file is missing, damaged or holds code, or nothing in it fits.
        """
        content = CheckpointLoader.load_checkpoint(self.checkpoint, self.map_location)
        weights: State = network_weights(content, self.checkpoint)
        if self.prefix is None:
            weights = without_best_prefix(weights, module)
        else:
            start = self.prefix.rstrip(".") + "."
            weights = {n[len(start) :]: each for n, each in weights.items() if n.startswith(start)}
        load_what_fits(module, weights, self.checkpoint)
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())


def load_what_fits(module: nn.Module, weights: State, source: Any) -> Fit:
    """Load the weights that fit a module, and log in one sentence what does not.

    Args:
        module: Is changed in place.
        weights: Under the module's names.
        source: Where they come from.

    Raises:
        ImBenchError: None fits.
    """
    fit = fitted(weights, module)
    # What the module does not have may be what it knows by another name, as ResNets do.
    own = module.state_dict().keys()
    given = {name: each for name, each in weights.items() if name in fit.weights or name not in own}
    missing, unused = module.load_state_dict(given, strict=False)
    reshaped = {told.partition(":")[0] for told in fit.reshaped}
    missing = [name for name in fit.missing if name in missing and name not in reshaped]
    fit = fit._replace(missing=missing, unused=[name for name in fit.unused if name in unused])
    if len(fit.missing) + len(fit.reshaped) >= len(_learned(module)):
        raise ImBenchError(
            f"no weight of {source} fits the {type(module).__name__} ({fit}): "
            "name a file of this network, or begin without"
        )
    if fit.missing or fit.reshaped:
        print_log(
            f"{source} fits the {type(module).__name__} in part, and what it does not give begins "
            f"at random: {fit}",
            logger="current",
            level=logging.WARNING,
        )
    return fit


def _learned(module: nn.Module) -> list[str]:
    return [name for name in module.state_dict() if not name.endswith(NOT_LEARNED)]
