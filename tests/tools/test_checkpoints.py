"""Checkpoints of other people's machines, through the commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import load_checkpoint

from .plain import evaluate, train, write_plain

Content = dict[str, Any]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def content(config: Path) -> Content:
    train(config, config.parent / "trained", "train_cfg.max_iters=1")
    return load_checkpoint(config.parent / "trained" / "iter_1.pth")


def predictions(folder: Path) -> list[Any]:
    return [np.array(Image.open(path)).tolist() for path in sorted(folder.glob("*.png"))]


def modules(weights: Content) -> Content:
    return {f"module.{name}": value for name, value in weights.items()}


def foreign_meta(content: Content) -> Content:
    """Return what other programs note beside the weights."""
    meta = {
        "args": argparse.Namespace(work_dir=Path("/x")),
        "palette": np.zeros((2, 3), np.uint8),
        "mIoU": np.float64(0.4),
    }
    return {**content, "meta": meta}


FORMS: dict[str, Callable[[Content], Content]] = {
    "as written": dict,
    "bare": lambda each: each["state_dict"],
    "unimatch": lambda each: {"model": modules(each["state_dict"]), "epoch": 3},
    "foreign meta": foreign_meta,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_is_evaluated_whatever_program_wrote_it(
    form: str, config: Path, content: Content, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    torch.save(FORMS[form](content), path, _use_new_zipfile_serialization=form != "bare")
    evaluate(config, path, arguments=("--out", str(tmp_path / "maps")))
    expected = config.parent / "maps"
    if form == "as written":
        evaluate(config, config.parent / "trained/iter_1.pth", arguments=("--out", str(expected)))
    assert len(predictions(expected)) == 3
    assert predictions(tmp_path / "maps") == predictions(expected)


def test_another_number_of_classes_is_named(config: Path, tmp_path: Path) -> None:
    checkpoint = config.parent / "trained/iter_1.pth"
    other = "model.decode_head.num_classes=5"
    with pytest.raises(ImBenchError) as caught:
        evaluate(config, checkpoint, other)
    assert (
        "2 have another shape (decode_head.conv_seg.weight: (2, 8, 1, 1) for (5, 8, 1, 1)"
        in str(caught.value)
    )
    torch.save({"model": {f"net{n}.weight": torch.zeros(1) for n in range(99)}}, tmp_path / "b.pth")
    with pytest.raises(ImBenchError, match=r"99 are not the network's \(net0") as caught:
        evaluate(config, tmp_path / "b.pth")
    assert len(str(caught.value)) < 600


def test_a_training_begins_with_the_weights_of_another_program(
    config: Path, content: Content, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    still = ("optim_wrapper.optimizer.lr=0.0", "train_cfg.max_iters=1")
    torch.save(FORMS["unimatch"](content), tmp_path / "a.pth")
    train(config, tmp_path / "a", f"load_from={tmp_path / 'a.pth'}", *still)
    begun = load_checkpoint(tmp_path / "a" / "iter_1.pth")["state_dict"]
    for name in ("backbone.layer4.1.conv2.weight", "decode_head.conv_seg.bias"):
        assert torch.equal(begun[name], content["state_dict"][name])
    assert "fits" not in "".join(capfd.readouterr())

    more = "model.decode_head.num_classes=3"
    train(config, tmp_path / "b", f"load_from={tmp_path / 'a.pth'}", more, *still)
    said = "".join(capfd.readouterr())
    assert "begins at random: 2 have another shape (decode_head.conv_seg.weight" in said
    torch.save({"state_dict": {"layer.weight": torch.zeros(1)}}, tmp_path / "c.pth")
    with pytest.raises(ImBenchError, match=r"no weight of .*c\.pth fits the EncoderDecoder"):
        train(config, tmp_path / "c", f"load_from={tmp_path / 'c.pth'}", *still)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.mkdir, (self.mark,)


def test_no_route_runs_the_code_of_a_checkpoint(
    config: Path, content: Content, tmp_path: Path
) -> None:
    evil, code, mark = tmp_path / "evil.pth", tmp_path / "code.pth", tmp_path / "mark"
    torch.save({**content, "meta": {**content["meta"], "x": Evil(mark)}}, evil)
    initial = "model.backbone.init_cfg"
    for options, arguments in (
        ((f"load_from={evil}",), ()),
        ((), ("--resume", str(evil))),
        ((f"{initial}.type=Pretrained", f"{initial}.checkpoint={evil}"), ()),
    ):
        with pytest.raises(ImBenchError, match=r"evil\.pth holds \S+, which could run code"):
            train(config, tmp_path / "run", *options, arguments=arguments)
    with pytest.raises(ImBenchError, match="could run code"):
        evaluate(config, evil)
    # MMEngine executes the config that a resumed checkpoint holds.
    text = f"from pathlib import Path\nPath({str(mark)!r}).mkdir()"
    torch.save({**content, "meta": {**content["meta"], "config": text}}, code)
    train(config, tmp_path / "run", arguments=("--resume", str(code)))
    assert not mark.exists()


def test_label_maps_are_kept_whatever_evaluates_them(
    config: Path, content: Content, tmp_path: Path
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        f"_base_ = {str(config)!r}\ntest_evaluator = dict(_delete_=True, type='MulticlassMetric')\n"
    )
    evaluate(own, config.parent / "trained/iter_1.pth", arguments=("--out", str(tmp_path / "maps")))
    assert predictions(tmp_path / "maps") == predictions(config.parent / "maps")


def test_images_of_one_name_do_not_share_a_label_map(config: Path, tmp_path: Path) -> None:
    data = config.parent / "data"
    for part in ("images", "masks"):
        for folder in "ab":
            (tmp_path / part / folder).mkdir(parents=True)
            (tmp_path / part / folder / "0.png").write_bytes((data / part / "0.png").read_bytes())
    with pytest.raises(ImBenchError, match="2 test images are called 0, and --out"):
        evaluate(
            config,
            config.parent / "trained/iter_1.pth",
            f"test_dataloader.dataset.data_root={tmp_path}",
            arguments=("--out", str(tmp_path / "maps")),
        )
