"""DINOv2: the vision transformer that UniMatch V2 and SegKC start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from im_bench.errors import ImBenchError, unknown_name
from im_bench.models.dinov2_weights import load_weights

PATCH = 14
_SIZES: dict[str, dict[str, Any]] = {
    "s": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
    "b": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "l": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "g": {
        "hidden_size": 1536,
        "num_hidden_layers": 40,
        "num_attention_heads": 24,
        "use_swiglu_ffn": True,
    },
}
_READ_OUT = {"s": (2, 5, 8, 11), "b": (2, 5, 8, 11), "l": (4, 11, 17, 23), "g": (9, 19, 29, 39)}


@MODELS.register_module()
class DINOv2(BaseModule):
    """DINOv2 as a backbone: maps of the patches after several blocks, all of one size.

    The network is that of ``transformers``. Each map passes the final layer normalisation; the
    class token is dropped. Patches have 14 pixels a side. Images whose sides are no multiples of 14
    are resized to the nearest ones (bilinear, corners aligned), as UniMatch V2 does in evaluation;
    whoever decodes the maps brings logits back to the image's size.

    Args:
        size: ``s``, ``b``, ``l`` or ``g``.
        weights: ``random``; ``hub``, which is ``facebook/dinov2-*`` of the Hugging Face hub; or a
            file, in which ``~`` and environment variables are expanded. It must be said: nothing
            begins at random because weights were not at hand. They are read by
            :meth:`init_weights`, so that a trained network needs none. See
            :func:`im_bench.models.dinov2_weights.load_weights` for the formats.
        sha256: Of the file of weights, if it is to be checked.
        out_indices: Blocks after which maps are read, from 0; default: UniMatch V2's for the size.
            Blocks after the last of them are left out.
        final_norm: Whether the final layer normalisation is applied to the maps.
        position_offset: How position embeddings are brought to the grid of patches, bicubically:
            with a factor of ``(patches + offset) / positions`` in each direction, or, if 0, to the
            size itself. The original code of DINOv2 has 0.1, ``transformers`` 0.
        frozen: Whether the backbone is not trained.
        options: Fields of ``transformers.Dinov2Config`` instead of the size's, for networks of
            other sizes. ``image_size``, by default 518, determines the grid of position embeddings.
        init_cfg: Not used; see ``weights``.

    Raises:
        ImBenchError: A field has a value that cannot be, or ``transformers`` is not installed.

    Source: Oquab et al., DINOv2, TMLR 2024; LiheYoung/UniMatch-V2, ``model/backbone/dinov2.py``.
    """

    def __init__(
        self,
        size: str = "s",
        weights: str | None = None,
        sha256: str | None = None,
        out_indices: Sequence[int] | None = None,
        final_norm: bool = True,
        position_offset: float = 0.1,
        frozen: bool = False,
        options: Mapping[str, Any] | None = None,
        init_cfg: None = None,
    ) -> None:
        super().__init__(init_cfg)
        if size not in _SIZES:
            raise unknown_name("size of DINOv2", size, _SIZES)
        if not weights:
            raise ImBenchError(
                "the backbone DINOv2 does not say where its weights come from: set weights to "
                "'hub', to a file, or to 'random'"
            )
        self.size, self.weights, self.sha256 = size, weights, sha256
        self.out_indices = tuple(out_indices or _READ_OUT[size])
        self.final_norm = final_norm
        self.position_offset = position_offset
        self.frozen = frozen
        network = _build({**_SIZES[size], **(options or {})}, self.out_indices)
        self.channels: int = network.config.hidden_size
        self.embeddings = network.embeddings
        self.blocks = network.encoder.layer[: max(self.out_indices) + 1]
        self.norm = network.layernorm if final_norm else nn.Identity()
        if frozen:
            self.requires_grad_(False)

    def init_weights(self) -> None:
        """Read the weights; random ones were drawn when the network was built.

        Raises:
            ImBenchError: They cannot be had, or do not fit.
        """
        if self.weights != "random":
            load_weights(self, self.weights, self.size, self.sha256)
        self._is_init = True

    def train(self, mode: bool = True) -> DINOv2:
        """Switch the mode; a frozen backbone stays in evaluation mode."""
        super().train(mode and not self.frozen)
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps (B, D, h, w) of images (B, 3, H, W), with h and w near H / 14, W / 14."""
        images = to_patches(images)
        grid = (images.shape[-2] // PATCH, images.shape[-1] // PATCH)
        maps = []
        with self._gradients():
            tokens = self._embed(images, grid)
            for index, block in enumerate(self.blocks):
                tokens = block(tokens)
                if index in self.out_indices:
                    patches = self.norm(tokens)[:, 1:]
                    maps.append(patches.transpose(1, 2).reshape(len(images), -1, *grid))
        return tuple(maps)

    def _embed(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return tokens (B, 1 + h * w, D), the class token first."""
        patches = self.embeddings.patch_embeddings(images)
        first = self.embeddings.cls_token.expand(len(images), -1, -1)
        positions = positions_on(self.embeddings.position_embeddings, grid, self.position_offset)
        tokens: Tensor = torch.cat([first.to(patches.dtype), patches], dim=1) + positions
        return tokens

    @contextmanager
    def _gradients(self) -> Iterator[None]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            yield


def to_patches(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) whose sides are the nearest multiples of 14, at least 14."""
    size = [max(1, int(side / PATCH + 0.5)) * PATCH for side in images.shape[-2:]]
    if size == list(images.shape[-2:]):
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=True)


def positions_on(positions: Tensor, grid: tuple[int, int], offset: float) -> Tensor:
    """Return position embeddings (1, 1 + h * w, D) for a grid of patches.

    Args:
        positions: Of the class token and a square grid, (1, 1 + n * n, D).
        grid: h and w.
        offset: See :class:`DINOv2`.
    """
    first, square = positions[:, :1], positions[:, 1:]
    side = round(square.shape[1] ** 0.5)
    if grid == (side, side):
        return positions
    # In float32 under autocast, too: bicubic sums of bfloat16 would move the embeddings.
    plane = square.float().transpose(1, 2).reshape(1, -1, side, side)
    if offset:
        factors = [(each + offset) / side for each in grid]
        plane = F.interpolate(plane, scale_factor=factors, mode="bicubic")
    else:
        plane = F.interpolate(plane, grid, mode="bicubic")
    return torch.cat([first, plane.flatten(2).transpose(1, 2).to(first.dtype)], dim=1)


def _build(fields: Mapping[str, Any], out_indices: Sequence[int]) -> Any:
    """Return a ``Dinov2Model`` with random weights."""
    try:
        from transformers import Dinov2Config, Dinov2Model
    except ImportError as error:
        raise ImBenchError(
            f"DINOv2 needs transformers ({error}): run "
            "pip install -c constraints.txt 'im-bench[dinov2]'"
        ) from error
    # Masked patches are for pretraining; their embedding would be a weight that never learns.
    config = Dinov2Config(**{"image_size": 518, **fields, "use_mask_token": False})
    blocks = config.num_hidden_layers
    if any(not 0 <= each < blocks for each in out_indices):
        raise ImBenchError(
            f"out_indices {list(out_indices)} of DINOv2 do not fit its {blocks} blocks: "
            f"name blocks from 0 to {blocks - 1}"
        )
    return Dinov2Model(config)
