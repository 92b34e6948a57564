"""Batch normalisation over the batches of several processes that compute on CPUs.

PyTorch's own ``SyncBatchNorm`` takes tensors on GPUs only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class CpuSyncBatchNorm(_BatchNorm):
    """As ``SyncBatchNorm`` on GPUs: in training, moments are those of all processes' pixels."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, not {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...)."""
        if not self.training:
            plain: Tensor = super().forward(input)
            return plain
        self._check_input_dim(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        x = input.float()
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums = _summed(torch.cat([x.sum(axes), count]))
        pixels = sums[-1]
        mean = sums[:-1] / pixels
        centred = x - mean.view(shape)
        variance = _summed(centred.square().sum(axes)) / pixels
        self._follow(mean, variance, pixels)
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = normal.to(input.dtype)
        return result

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, pixels: Tensor) -> None:
        """Let the running statistics follow, as PyTorch's layers do."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None  # noqa: S101
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * pixels / (pixels - 1), share)


class _Sum(torch.autograd.Function):
    """The sum over all processes; of its gradients, too, since each has a loss of its own."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def _summed(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """Return a model whose batch normalisation counts the batches of all processes.

    Args:
        model: Its layers are replaced in place.
        device: Where it computes.
    """
    if device.type != "cpu":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for name, child in model.named_children():
        if isinstance(child, _BatchNorm):
            layer = CpuSyncBatchNorm(
                child.num_features,
                child.eps,
                child.momentum,
                child.affine,
                child.track_running_stats,
            )
            layer.load_state_dict(child.state_dict())
            for own, weight in zip(layer.parameters(), child.parameters(), strict=True):
                own.requires_grad_(weight.requires_grad)  # averages are frozen
            layer.train(child.training)
            setattr(model, name, layer)
        else:
            synchronised(child, device)
    return model
