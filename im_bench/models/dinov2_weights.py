"""Weights of DINOv2 from whatever file holds them, without running code of the file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from im_bench.errors import ImBenchError
from im_bench.files import sha256_file
from im_bench.models.checkpoints import load_checkpoint
from im_bench.models.weights import State, network_weights

_REPOSITORIES = {"s": "small", "b": "base", "l": "large", "g": "giant"}

# By what a name begins with and by what it ends in, as the original code and transformers have it.
# What is not named keeps its name.
_ORIGINAL = {
    r"^cls_token$": "embeddings.cls_token",
    r"^pos_embed$": "embeddings.position_embeddings",
    r"^patch_embed\.proj\.": "embeddings.patch_embeddings.projection.",
    r"\.attn\.proj\.": ".attention.o_proj.",
    r"\.ls([12])\.gamma$": r".layer_scale\1.lambda1",
    r"\.mlp\.w3\.": ".mlp.down_proj.",
}
_TRANSFORMERS = {
    r"^encoder\.layer\.": "blocks.",
    r"^layernorm\.": "norm.",
    r"\.attention\.attention\.query\.": ".attention.q_proj.",
    r"\.attention\.attention\.key\.": ".attention.k_proj.",
    r"\.attention\.attention\.value\.": ".attention.v_proj.",
    r"\.attention\.output\.dense\.": ".attention.o_proj.",
    r"\.mlp\.weights_out\.": ".mlp.down_proj.",
}
# Layers that one format computes at once, and the other one by one.
_JOINT = {
    ".attn.qkv.": (".attention.q_proj.", ".attention.k_proj.", ".attention.v_proj."),
    ".mlp.w12.": (".mlp.gate_proj.", ".mlp.up_proj."),
    ".mlp.weights_in.": (".mlp.gate_proj.", ".mlp.up_proj."),
}
_PREFIX = re.compile(r"^(module\.|dinov2\.|backbone\.)+")


def load_weights(backbone: nn.Module, weights: str, size: str, sha256: str | None = None) -> None:
    """Load weights into a :class:`~im_bench.models.dinov2.DINOv2`.

    A file is a ``.safetensors`` or one of ``torch.save``, of which only tensors and plain values
    are read. Names may be those of the original code (``dinov2_vits14_pretrain.pth``), of
    transformers, in its present or former version, or the backbone's own.

    Args:
        backbone: Is changed in place.
        weights: ``hub`` or a file.
        size: Which repository of the hub: ``s``, ``b``, ``l`` or ``g``.
        sha256: Of the file, if it is to be checked.

    Raises:
        ImBenchError: The weights cannot be had, the checksum differs, or they do not fit.
    """
    path = _download(size) if weights == "hub" else Path(os.path.expandvars(weights)).expanduser()
    if not path.is_file():
        raise ImBenchError(f"weights of DINOv2 {path} do not exist: name a file, or 'hub'")
    if sha256 is not None and sha256_file(path) != sha256.lower():
        raise ImBenchError(
            f"weights of DINOv2 {path} do not have the SHA-256 {sha256}: get the file anew, or "
            "correct the sum"
        )
    state = converted(_read(path))
    if any("register_tokens" in name for name in state):
        raise ImBenchError(
            f"{path} is a DINOv2 with registers, which this backbone has not: take the weights "
            "without, such as dinov2_vits14_pretrain.pth"
        )
    wanted = backbone.state_dict()
    odd = sorted(
        name
        for name, value in wanted.items()
        if name not in state or state[name].shape != value.shape
    )
    if odd:
        found = tuple(state[odd[0]].shape) if odd[0] in state else "nothing"
        raise ImBenchError(
            f"weights {path} do not fit the backbone: {odd[0]} should have the shape "
            f"{tuple(wanted[odd[0]].shape)}, and the file has {found} ({len(odd) - 1} more "
            "differ): set the backbone's size, or name other weights"
        )
    backbone.load_state_dict({name: state[name] for name in wanted})


def converted(weights: Mapping[str, Tensor]) -> State:
    """Return weights under the names of :class:`~im_bench.models.dinov2.DINOv2`.

    What is needed for pretraining only stays under its old name.
    """
    names = _ORIGINAL if any("patch_embed." in name for name in weights) else _TRANSFORMERS
    state: State = {}
    for name, value in weights.items():
        new = _PREFIX.sub("", name)
        for pattern, replacement in names.items():
            new = re.sub(pattern, replacement, new)
        joint = next((each for each in _JOINT if each in new), None)
        if joint is None:
            state[new] = value
            continue
        parts = _JOINT[joint]
        for part, chunk in zip(parts, value.chunk(len(parts)), strict=True):
            state[new.replace(joint, part)] = chunk
    return state


def _read(path: Path) -> State:
    """Return the tensors of a file by name; of DINO's two networks those of the teacher."""
    content = load_checkpoint(path)
    return network_weights(content, path, "companion" if "teacher" in content else "student")


def _download(size: str) -> Path:
    """Return the file of a repository of the hub; it is downloaded once."""
    repository = f"facebook/dinov2-{_REPOSITORIES[size]}"
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # whatever a library for networks may raise
        reason = str(error).strip().partition("\n")[0]
        raise ImBenchError(
            f"the weights {repository} cannot be downloaded ({type(error).__name__}: {reason}): "
            "name a file in the backbone's weights (--backbone-weights of tools/train.py), or "
            "begin with weights='random'"
        ) from error
