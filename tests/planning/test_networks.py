"""What networks need is missed while a suite is planned, not in the middle of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from im_bench.planning.plan import Plan
from im_bench.suites import networks
from im_bench.suites.networks import Needs, needs_of_networks

from .conftest import DATA, Make

HEAD = {"type": "FCNHead"}


@pytest.fixture(autouse=True)
def nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks._needs_of.cache_clear()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def plan_with(make: Make, backbone: dict[str, Any], **model: Any) -> Plan:
    network = {"backbone": backbone, "decode_head": HEAD, **model}
    return make(data={"lesions": {**DATA["lesions"], "model": network}}, methods={"ldt": {}})


def needs(make: Make, backbone: dict[str, Any], **model: Any) -> Needs:
    plan = plan_with(make, backbone, **model)
    found = needs_of_networks(plan.graph)
    assert [cell.problem for cell in plan.cells] == ["; ".join(found.missing)]
    return found


def test_what_im_bench_brings_needs_nothing(make: Make) -> None:
    assert needs_of_networks(make().graph) == Needs()
    backbone = {"type": "ResNetV1c", "init_cfg": None}
    assert needs(make, backbone, custom_imports=["im_bench.models.deeplabv3plus"]) == Needs()


@pytest.mark.parametrize("module", ["no_such_module", "im_bench.models.dinov3", "json.no.such"])
def test_a_module_that_is_not_there(make: Make, module: str) -> None:
    (sentence,) = needs(make, {"type": "Own"}, custom_imports=[module]).missing
    assert f"there is no module '{module}': install it" in sentence


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("DINOv2", "transformers"),
        ("mmseg.DINOv2", "transformers"),
        ("TIMMBackbone", "timm"),
        ("mmpretrain.ConvNeXt", "mmpretrain"),
    ],
)
def test_a_package_that_is_not_installed(
    make: Make, kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "find_spec", lambda name: None if name == package else name)
    (sentence,) = needs(make, {"type": kind, "weights": "random"}).missing
    assert f"the network needs {package}, which is not installed: pip install" in sentence


@pytest.mark.parametrize(
    "backbone",
    [
        {"type": "ResNet", "init_cfg": {"type": "Pretrained", "checkpoint": "w/resnet.pth"}},
        {"type": "ResNet", "init_cfg": [{"type": "Pretrained", "checkpoint": "w/resnet.pth"}]},
        {"type": "ResNet", "pretrained": "w/resnet.pth"},
        {"type": "DINOv2", "weights": "${WEIGHTS}/resnet.pth"},
    ],
)
def test_files_of_weights(
    make: Make, backbone: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEIGHTS", "w")
    (sentence,) = needs(make, backbone).missing
    assert f"w/resnet.pth are not there: correct the path, which is relative to {tmp_path}" in (
        sentence
    )
    networks._needs_of.cache_clear()
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "resnet.pth").touch()
    assert needs(make, backbone) == Needs()


@pytest.mark.parametrize(
    ("backbone", "cached"),
    [
        ({"type": "ResNet", "pretrained": "torchvision://resnet50"}, "resnet50-11ad3fa6.pth"),
        ({"type": "ResNet", "pretrained": "open-mmlab://resnet50_v1c"}, "resnet50_v1c-2cccc1.pth"),
        ({"type": "ResNet", "pretrained": "https://somewhere.org/a/net.pth"}, "net.pth"),
        (
            {"type": "DINOv2", "weights": "hub", "size": "b"},
            "../../../hub/models--facebook--dinov2-base/snapshots/1/model.safetensors",
        ),
    ],
)
def test_weights_that_will_be_downloaded_are_a_warning(
    make: Make, backbone: dict[str, Any], cached: str, tmp_path: Path
) -> None:
    found = needs(make, backbone)
    assert not found.missing
    assert len(found.downloads) == 1
    assert found.downloads[0].endswith("will be downloaded: it is not in the cache of this machine")
    networks._needs_of.cache_clear()
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    file = folder / cached
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert needs(make, backbone) == Needs()


def test_networks_of_methods_count_as_well(make: Make) -> None:
    other = {"backbone": {"type": "ResNet", "pretrained": "absent.pth"}, "decode_head": HEAD}
    plan = make(
        data={"lesions": DATA["lesions"]},
        methods={"supervised": {}, "segkc": {"twin": other}},
    )
    problems = {cell.method: cell.problem for cell in plan.cells}
    assert problems["supervised"] == ""
    assert "absent.pth are not there" in problems["segkc"]
