"""DINOv2 and its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from mmseg.registry import MODELS
from safetensors.torch import save_file
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

from im_bench.errors import ImBenchError
from im_bench.models.dinov2 import DINOv2, positions_on, to_patches
from im_bench.models.dinov2_weights import converted

OPTIONS = {"hidden_size": 12, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 70}


def tiny(weights: str | None = "random", swiglu: bool = False, **fields: Any) -> DINOv2:
    fields = {"out_indices": (0, 1, 2, 3), **fields}
    options = {**OPTIONS, "use_swiglu_ffn": swiglu}
    return DINOv2(weights=weights, options=options, **fields).eval()


def reference(swiglu: bool = False) -> Dinov2Model:
    return Dinov2Model(Dinov2Config(**OPTIONS, use_swiglu_ffn=swiglu)).eval()


def original_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state of transformers as the original code lays it out."""
    given = dict(state)
    made = {
        "cls_token": given.pop("embeddings.cls_token"),
        "pos_embed": given.pop("embeddings.position_embeddings"),
        "mask_token": given.pop("embeddings.mask_token"),
    }
    for kind in ("weight", "bias"):
        projection = given.pop(f"embeddings.patch_embeddings.projection.{kind}")
        made |= {f"patch_embed.proj.{kind}": projection, f"norm.{kind}": given[f"layernorm.{kind}"]}
        del given[f"layernorm.{kind}"]
        for block in range(OPTIONS["num_hidden_layers"]):
            old, new = f"encoder.layer.{block}", f"blocks.{block}"
            joint = [given.pop(f"{old}.attention.{each}_proj.{kind}") for each in "qkv"]
            made[f"{new}.attn.qkv.{kind}"] = torch.cat(joint)
            made[f"{new}.attn.proj.{kind}"] = given.pop(f"{old}.attention.o_proj.{kind}")
            if f"{old}.mlp.gate_proj.{kind}" in given:
                joint = [given.pop(f"{old}.mlp.{each}_proj.{kind}") for each in ("gate", "up")]
                made[f"{new}.mlp.w12.{kind}"] = torch.cat(joint)
                made[f"{new}.mlp.w3.{kind}"] = given.pop(f"{old}.mlp.down_proj.{kind}")
            for each in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                if f"{old}.{each}.{kind}" in given:
                    made[f"{new}.{each}.{kind}"] = given.pop(f"{old}.{each}.{kind}")
    for block in range(OPTIONS["num_hidden_layers"]):
        for i in (1, 2):
            scale = given.pop(f"encoder.layer.{block}.layer_scale{i}.lambda1")
            made[f"blocks.{block}.ls{i}.gamma"] = scale
    assert not given
    return made


def hub_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state of transformers under the names of its former versions."""
    made = {}
    for name, value in state.items():
        for part, former in (("q", "query"), ("k", "key"), ("v", "value")):
            name = name.replace(f"attention.{part}_proj", f"attention.attention.{former}")
        made[name.replace("attention.o_proj", "attention.output.dense")] = value
    return made


def randomised(model: Dinov2Model) -> Dinov2Model:
    """Give every weight a value of its own, so that none can be taken for another."""
    with torch.no_grad():
        for each in model.parameters():
            each.copy_(0.3 * torch.randn_like(each))
    return model


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("swiglu", [False, True])
@pytest.mark.parametrize("rename", [dict, original_names, hub_names])
def test_any_layout_of_weights_gives_the_network_of_transformers(
    rename, swiglu: bool, suffix: str, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    model = randomised(reference(swiglu))
    file = tmp_path / f"weights{suffix}"
    state = {name: value.contiguous() for name, value in rename(model.state_dict()).items()}
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    backbone = tiny(str(file), swiglu)
    backbone.init_weights()
    with torch.inference_mode():
        images = torch.rand(2, 3, 70, 70)
        found = backbone(images)
        states = model(images, output_hidden_states=True).hidden_states[1:]
        wanted = [model.layernorm(each)[:, 1:] for each in states]
    for each, tokens in zip(found, wanted, strict=True):
        expected = tokens.transpose(1, 2).reshape(2, 12, 5, 5)
        torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-5)


def test_positions_are_interpolated_as_transformers_does_without_an_offset() -> None:
    torch.manual_seed(0)
    model, backbone = randomised(reference()), tiny(position_offset=0)
    backbone.load_state_dict(
        {k: v for k, v in converted(model.state_dict()).items() if "mask_token" not in k}
    )
    with torch.inference_mode():
        images = torch.rand(1, 3, 42, 98)
        expected = model(images).last_hidden_state[:, 1:].transpose(1, 2).reshape(1, 12, 3, 7)
        torch.testing.assert_close(backbone(images)[-1], expected, rtol=1e-4, atol=1e-5)


def test_an_offset_changes_positions_slightly() -> None:
    positions = torch.rand(1, 1 + 25, 4)
    plain, offset = (positions_on(positions, (7, 3), each) for each in (0, 0.1))
    assert plain.shape == offset.shape == (1, 22, 4)
    assert 0 < (plain - offset).abs().max() < 0.2
    assert positions_on(positions, (5, 5), 0.1) is positions


@pytest.mark.parametrize(("side", "resized"), [(798, 798), (805, 812), (804, 798), (3, 14)])
def test_images_are_resized_to_the_nearest_patches(side: int, resized: int) -> None:
    assert to_patches(torch.zeros(1, 1, side, 14)).shape[-2:] == (resized, 14)


@pytest.mark.parametrize(
    ("size", "millions", "blocks"), [("s", 22.06, (2, 5, 8, 11)), ("b", 86.58, (2, 5, 8, 11))]
)
def test_sizes_are_those_of_the_original(size: str, millions: float, blocks) -> None:
    backbone = DINOv2(size, "random")
    assert round(sum(each.numel() for each in backbone.parameters()) / 1e6, 2) == millions
    assert backbone.out_indices == blocks


@pytest.mark.parametrize(("size", "millions", "count"), [("l", 304.37, 24), ("g", 1136.48, 40)])
def test_large_sizes_can_be_built_without_memory(size: str, millions: float, count: int) -> None:
    with torch.device("meta"):
        backbone = DINOv2(size, "random")
    assert len(backbone.blocks) == count
    assert round(sum(each.numel() for each in backbone.parameters()) / 1e6, 2) == millions


def test_every_weight_learns_unless_frozen() -> None:
    backbone = tiny().train()
    sum(each.sum() for each in backbone(torch.rand(1, 3, 28, 28))).backward()
    assert all(each.grad is not None for each in backbone.parameters())
    frozen = tiny(frozen=True).train()
    assert not frozen.training
    assert not any(each.requires_grad for each in frozen.parameters())
    assert not frozen(torch.rand(1, 3, 28, 28))[0].requires_grad


def test_blocks_that_nobody_reads_are_left_out() -> None:
    assert len(tiny(out_indices=(0, 2)).blocks) == 3
    with pytest.raises(ImBenchError, match="do not fit its 4 blocks"):
        tiny(out_indices=(0, 4))


def test_nothing_begins_at_random_unless_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="set weights to 'hub', to a file, or to 'random'"):
        tiny(None)
    with pytest.raises(ImBenchError, match="do not exist"):
        tiny(str(tmp_path / "nothing.pth")).init_weights()


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(original_names(reference(swiglu=True).state_dict()), file)
    with pytest.raises(ImBenchError, match=r"do not fit the backbone: blocks\.0\.mlp\.fc1"):
        tiny(str(file)).init_weights()


def test_a_network_with_registers_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    state = original_names(reference().state_dict())
    torch.save({**state, "register_tokens": torch.zeros(1, 4, 12)}, file)
    with pytest.raises(ImBenchError, match="with registers"):
        tiny(str(file)).init_weights()


def test_the_checksum_is_compared_if_given(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(reference().state_dict(), file)
    good = hashlib.sha256(file.read_bytes()).hexdigest()
    tiny(str(file), sha256=good.upper()).init_weights()
    with pytest.raises(ImBenchError, match="do not have the SHA-256 0000"):
        tiny(str(file), sha256="0" * 64).init_weights()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_weights_is_one_sentence(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(b"not weights at all")
    with pytest.raises(ImBenchError, match=r"cannot be read|is broken, or"):
        tiny(str(file)).init_weights()


def test_weights_that_would_run_code_are_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"cls_token": torch.zeros(1), "evil": print}, file)
    with pytest.raises(ImBenchError, match="holds print, which could run code"):
        tiny(str(file)).init_weights()


def test_without_a_network_the_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")
    with pytest.raises(ImBenchError, match="facebook/dinov2-small cannot be downloaded"):
        tiny("hub").init_weights()


def test_is_registered() -> None:
    assert MODELS.get("DINOv2") is DINOv2
