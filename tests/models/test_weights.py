"""Weights under all the names that people's checkpoints give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import refuse_pickled_code
from im_bench.models.pretrained import PretrainedWeights
from im_bench.models.weights import fitted, network_weights

State = dict[str, Tensor]


class Network(BaseModule):
    """A backbone and a head."""

    def __init__(self, classes: int = 2, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.backbone = Backbone()
        self.head = nn.Conv2d(4, classes, 1)


class Backbone(BaseModule):
    """Convolution and batch normalisation."""

    def __init__(self, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)


def prefixed(prefix: str, weights: State) -> State:
    return {prefix + name: value for name, value in weights.items()}


def same(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


OWN, OTHER = Network().state_dict(), Network().state_dict()
FORMS: dict[str, dict[str, Any]] = {
    "mmengine": {"state_dict": OWN, "meta": {}, "optimizer": {"state": {0: {"exp": OWN}}}},
    "bare": OWN,
    "unimatch": {"model": prefixed("module.", OWN), "optimizer": {}, "epoch": 3},
    "unimatch v2": {"model": prefixed("module.", OWN), "model_ema": prefixed("module.", OTHER)},
    "u2pl": {"epoch": 1, "model_state": prefixed("module.", OWN), "teacher_state": OTHER},
    "lightning": {"state_dict": prefixed("model.", OWN), "pytorch-lightning_version": "2"},
    "compiled": prefixed("_orig_mod.module.", OWN),
    "an average": {"teacher": prefixed("module.", OWN)},
    "averaged": {"model_ema": {**prefixed("module.", OWN), "n_averaged": torch.tensor(3)}},
    "deep": {"ema": {"module": OWN, "decay": 0.99}},
    "unknown name": {"weights_of_mine": OWN, "epoch": 3},
    "im-bench": {"state_dict": {**prefixed("student.", OWN), **prefixed("companion.", OTHER)}},
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found_in_the_checkpoints_of_others(form: str) -> None:
    found = network_weights(FORMS[form], "a.pth")
    assert same({name: value for name, value in found.items() if name != "n_averaged"}, OWN)


@pytest.mark.parametrize("form", ["unimatch v2", "u2pl", "im-bench"])
def test_of_two_networks_the_one_that_is_asked_for_is_taken(form: str) -> None:
    assert same(network_weights(FORMS[form], "a.pth", "companion"), OTHER)


def test_what_holds_no_network_or_several_is_told() -> None:
    with pytest.raises(
        ImBenchError, match=r"a\.pth holds no weights of a network, only epoch, opt"
    ):
        network_weights({"epoch": 3, "optimizer": {}}, "a.pth")
    with pytest.raises(ImBenchError, match=r"several networks \(first, second\)"):
        network_weights({"first": OWN, "second": OTHER}, "a.pth")


def test_what_does_not_fit_is_counted_and_named() -> None:
    weights = {f"old.{name}": value for name, value in OWN.items()}
    weights |= {"head.weight": torch.zeros(5, 4, 1, 1), "head.bias": torch.zeros(5)}
    fit = fitted(weights, Network())
    assert not fit.exact
    assert str(fit) == (
        "2 have another shape (head.weight: (5, 4, 1, 1) for (2, 4, 1, 1), head.bias: (5,) for "
        "(2,)); 6 of the network's 9 are missing (backbone.conv.weight, backbone.conv.bias, "
        "backbone.norm.weight, ...); 8 are not the network's (old.backbone.conv.weight, "
        "old.backbone.conv.bias, old.backbone.norm.weight, ...)"
    )
    assert fitted(OWN, Network()).exact


@pytest.fixture(autouse=True)
def _safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    refuse_pickled_code()


def initialised(content: Any, folder: Path, module: type[Any], **options: Any) -> State:
    path = folder / "initial.pth"
    torch.save(content, path)
    built = module(init_cfg={"type": "Pretrained", "checkpoint": str(path), **options})
    built.init_weights()
    weights: State = built.state_dict()
    return weights


def test_a_backbone_begins_with_the_weights_of_whatever_it_is_part_of(tmp_path: Path) -> None:
    expected = {n.removeprefix("backbone."): v for n, v in OWN.items() if "backbone" in n}
    for content in (OWN, expected, {"model": prefixed("module.", OWN)}, {"teacher": OWN}):
        assert same(initialised(content, tmp_path, Backbone), expected)
    assert same(initialised({"a": OWN}, tmp_path, Backbone, prefix="backbone"), expected)
    assert same(initialised(OWN, tmp_path, Network), OWN)


def test_initial_weights_that_do_not_fit_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImBenchError, match=r"no weight of .*initial\.pth fits the Backbone \(6 of"):
        initialised({"layer1.weight": torch.zeros(1)}, tmp_path, Backbone)
    with pytest.raises(ImBenchError, match="no weight of"):
        initialised(OWN, tmp_path, Backbone, prefix="neck")
    said: list[str] = []
    monkeypatch.setattr("im_bench.models.pretrained.print_log", lambda text, **_: said.append(text))
    initialised({"conv.weight": OWN["backbone.conv.weight"]}, tmp_path, Backbone)
    assert len(said) == 1
    assert "begins at random: 5 of the network's 7 are missing (conv.bias, norm.weight" in said[0]


def test_mmengines_configs_reach_this_initialiser() -> None:
    from mmengine.model.weight_init import WEIGHT_INITIALIZERS

    assert WEIGHT_INITIALIZERS.get("Pretrained") is PretrainedWeights
    assert CheckpointLoader._get_checkpoint_loader("a.pth").__module__.startswith("im_bench")
