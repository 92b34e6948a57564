"""Any registered loss, without what teachers do not agree on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import torch
from mmseg.models.losses import DiceLoss
from mmseg.registry import MODELS
from torch import Tensor, nn

from im_bench.data.label_maps import UNDECIDED
from im_bench.data.label_spaces import IGNORED
from im_bench.errors import ImBenchError, unknown_name

Normalise = Literal["all", "kept"]


@MODELS.register_module()
class InconsistencyMaskedLoss(nn.Module):
    """Take a loss over consistent pixels only: the others add nothing and send no gradient.

    It stands wherever a head of MMSegmentation takes a loss (``loss_decode``). Left out are pixels
    whose target is ignored (``ignore_index``, or 254 for undecided ones), and those of ``mask``.

    What the sum of a loss that is given per pixel is divided by is said here and not in the loss:
    ``all`` counts every pixel of the target, so that a batch with fewer kept pixels has a smaller
    loss, as ``CrossEntropyLoss(avg_non_ignore=False)`` has, MMSegmentation's default; ``kept``
    counts the pixels that are left, so that these weigh more. Class and pixel weights scale the
    terms, never the divisor. A loss over regions (Dice, Tversky, Lovász, OHEM) is computed on the
    kept pixels; ``all`` multiplies it by their share.

    Args:
        loss: Config of a loss, or the loss. One that is given per pixel (``reduction_override=
            "none"``) may have any target; another must itself leave out an ignored label.
        normalise: ``all`` or ``kept``.
        loss_name: Default: the loss's own. It must contain "loss" to be trained on.

    Raises:
        ImBenchError: ``normalise`` is unknown, or the loss can leave out no pixels.
    """

    def __init__(
        self,
        loss: Mapping[str, Any] | nn.Module,
        normalise: Normalise = "all",
        loss_name: str | None = None,
    ) -> None:
        super().__init__()
        if normalise not in ("all", "kept"):
            raise unknown_name("normalisation of a masked loss", normalise, ("all", "kept"))
        self.loss: Any = loss if isinstance(loss, nn.Module) else MODELS.build(dict(loss))
        self.normalise = normalise
        self.loss_name = loss_name or getattr(self.loss, "loss_name", "loss_masked")
        parameters = inspect.signature(self.loss.forward).parameters
        self._accepted = frozenset(parameters)
        self._accepts_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        self._per_pixel = "reduction_override" in self._accepted
        if not self._per_pixel and not self._leaves_out():
            raise ImBenchError(
                f"{type(self.loss).__name__} can leave out no pixels: it takes neither "
                "reduction_override nor ignore_index: wrap another loss"
            )

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
        ignore_index: int = IGNORED,
        **kwargs: Any,
    ) -> Tensor:
        """Return the loss, a float32 scalar, also under autocast.

        Args:
            pred: Logits (B, C, H, W), of any floating type.
            target: Class indices (B, H, W), or per channel (B, C, H, W): 0/1 for multi-label
                targets, probabilities for soft ones. A channel may be ignored by itself.
            weight: Factor of each pixel, (B, H, W).
            mask: bool (B, H, W), True where teachers disagree.
            ignore_index: The target of pixels that do not count.
            kwargs: Passed on.
        """
        left_out = (target == ignore_index) | (target == UNDECIDED)
        if mask is not None:
            left_out = left_out | (mask if target.ndim == mask.ndim else mask.unsqueeze(1))
        kept = ~left_out
        with torch.autocast(pred.device.type, enabled=False):
            pred = pred.float()
            if isinstance(self.loss, DiceLoss):
                return self._scaled(self._dice(pred, target, kept, kwargs), kept)
            if self._per_pixel:
                # 0 is a label like any other; what it leads to is dropped.
                losses = self._call(
                    pred, target.masked_fill(left_out, 0), reduction_override="none", **kwargs
                )
                if losses.ndim >= 3:
                    return self._reduced(losses, kept, weight)
                self._per_pixel = False  # over regions nevertheless
            return self._scaled(self._over_regions(pred, target, kept, ignore_index, kwargs), kept)

    def _reduced(self, losses: Tensor, kept: Tensor, weight: Tensor | None) -> Tensor:
        """Return the mean of losses (B, H, W) or (B, C, H, W) over what ``normalise`` says."""
        if losses.ndim < kept.ndim:  # soft labels: one loss for all channels
            kept = kept.all(1)
        elif losses.ndim > kept.ndim:
            kept = kept.unsqueeze(1)
        kept = kept.expand_as(losses)
        losses = losses.where(kept, 0.0)
        if weight is not None:
            losses = losses * (weight if losses.ndim == weight.ndim else weight.unsqueeze(1))
        if self.normalise == "all":
            return losses.mean()
        return losses.sum() / kept.sum().clamp(min=1)

    def _dice(
        self, pred: Tensor, target: Tensor, kept: Tensor, kwargs: Mapping[str, Any]
    ) -> Tensor:
        """Return Dice of probabilities and targets that are both 0 where left out.

        MMSegmentation's own turns an ignored label into the last class.
        """
        if kept.ndim < pred.ndim:
            kept = kept.unsqueeze(1)
        if target.ndim < pred.ndim:
            classes = torch.arange(pred.shape[1], device=pred.device).view(-1, 1, 1)
            # A single channel is the foreground of a binary task.
            target = target.unsqueeze(1) == (classes if pred.shape[1] > 1 else classes + 1)
        if self.loss.activate:
            pred = pred.sigmoid() if self.loss.use_sigmoid or len(pred[0]) == 1 else pred.softmax(1)
        activate, self.loss.activate = self.loss.activate, False
        try:
            return self._call(pred.where(kept, 0.0), target * kept, **kwargs)
        finally:
            self.loss.activate = activate

    def _over_regions(
        self,
        pred: Tensor,
        target: Tensor,
        kept: Tensor,
        ignore_index: int,
        kwargs: Mapping[str, Any],
    ) -> Tensor:
        """Return a loss that leaves out ignored labels by itself."""
        if kept.ndim == pred.ndim or not self._leaves_out():
            raise ImBenchError(
                f"{type(self.loss).__name__} is not given per pixel, so that it can only be masked "
                "with class indices (B, H, W) and if it takes an ignore_index"
            )
        own = getattr(self.loss, "ignore_label", getattr(self.loss, "ignore_index", ignore_index))
        # Whatever the loss does with ignored pixels, they send no gradient.
        pred = torch.where(kept.unsqueeze(1), pred, pred.detach())
        return self._call(pred, target.masked_fill(~kept, own), ignore_index=own, **kwargs)

    def _scaled(self, loss: Tensor, kept: Tensor) -> Tensor:
        return loss * kept.float().mean() if self.normalise == "all" else loss

    def _call(self, pred: Tensor, target: Tensor, **kwargs: Any) -> Tensor:
        known = {
            name: value
            for name, value in kwargs.items()
            if self._accepts_any or name in self._accepted
        }
        result: Tensor = self.loss(pred, target, **known)
        return result

    def _leaves_out(self) -> bool:
        """Return whether the loss knows a label that it ignores."""
        return (
            hasattr(self.loss, "ignore_label")
            or hasattr(self.loss, "ignore_index")
            or "ignore_index" in self._accepted
            or self._accepts_any
        )
