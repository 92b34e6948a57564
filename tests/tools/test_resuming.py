"""Work dirs that were moved, copied, or cut off, are gone on with as people mean it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import load_checkpoint

from .plain import train, write_plain

RESUME = ("--resume",)
LONGER = "train_cfg.max_iters=3"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def trained(config: Path) -> Path:
    """A work dir with ``iter_1.pth``, ``iter_2.pth`` and the best of both."""
    train(config, config.parent / "trained")
    return config.parent / "trained"


@pytest.fixture(scope="module")
def expected(config: Path) -> dict[str, torch.Tensor]:
    """The weights after three steps without an interruption."""
    train(config, config.parent / "whole", LONGER)
    weights: dict[str, torch.Tensor] = weights_of(config.parent / "whole")
    return weights


def weights_of(folder: Path, iteration: int = 3) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / f"iter_{iteration}.pth")["state_dict"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_moved_work_dir_is_gone_on_with(
    config: Path, trained: Path, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    away = shutil.move(shutil.copytree(trained, tmp_path / "first"), tmp_path / "moved")
    pointer = tmp_path / "moved" / "last_checkpoint"
    pointer.write_text(str(tmp_path / "first" / "iter_2.pth"))
    train(config, Path(away), LONGER, arguments=RESUME)
    assert same(weights_of(tmp_path / "moved"), expected)
    assert not (tmp_path / "first").exists()


def test_a_copied_work_dir_goes_on_from_its_own_and_leaves_the_original(
    config: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(trained)
    copy = shutil.copytree(trained, tmp_path / "copy")
    # The copy has gone on, or was trained with something else: its weights are not the original's.
    own = load_checkpoint(copy / "iter_2.pth")
    own["state_dict"] = {
        name: value * 2 if value.is_floating_point() else value
        for name, value in own["state_dict"].items()
    }
    own["message_hub"]["runtime_info"]["best_score"] = 0.0  # so that a better one comes
    torch.save(own, copy / "iter_2.pth")
    train(config, copy, LONGER, arguments=RESUME)
    first = "backbone.stem.0.weight"
    torch.testing.assert_close(weights_of(copy)[first], own["state_dict"][first], atol=0.02, rtol=0)
    # MMEngine removes the former best checkpoint by its absolute path.
    assert files(trained) == before
    assert [path.name for path in copy.glob("best_*")] == ["best_mIoU_iter_3.pth"]


def test_a_checkpoint_that_was_cut_off_is_passed_over_with_a_word(
    config: Path,
    trained: Path,
    expected: dict[str, torch.Tensor],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    cut = shutil.copytree(trained, tmp_path / "cut")
    content = (cut / "iter_2.pth").read_bytes()
    (cut / "iter_2.pth").write_bytes(content[: len(content) // 2])
    (cut / "iter_9.pth").write_bytes((cut / "iter_1.pth").read_bytes())  # of an earlier training
    train(config, cut, LONGER, arguments=RESUME)
    assert same(weights_of(cut), expected)
    said = capfd.readouterr()
    assert "iter_2.pth cannot be used" in said.out + said.err
    assert "going on from iter_1.pth, the last whole checkpoint" in said.out + said.err


def test_without_a_whole_checkpoint_nothing_begins_anew_in_silence(
    config: Path, trained: Path, tmp_path: Path
) -> None:
    cut = shutil.copytree(trained, tmp_path / "cut")
    (cut / "iter_1.pth").unlink()
    (cut / "iter_2.pth").write_bytes(b"")
    with pytest.raises(
        ImBenchError, match=r"no whole checkpoint to resume from, since iter_2\.pth"
    ):
        train(config, cut, LONGER, arguments=RESUME)
    (cut / "iter_2.pth").unlink()
    with pytest.raises(ImBenchError, match=r"since iter_2\.pth is missing: name one by --resume"):
        train(config, cut, LONGER, arguments=RESUME)
    (cut / "last_checkpoint").unlink()
    train(config, cut, "train_cfg.max_iters=1", arguments=RESUME)
    assert (cut / "iter_1.pth").is_file()


def test_checkpoints_that_lie_elsewhere_are_found_there(
    config: Path, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    for name in ("first", "second"):
        elsewhere = f"default_hooks.checkpoint.out_dir={tmp_path / name}"
        if name == "second":
            shutil.move(tmp_path / "first", tmp_path / "second")
            train(config, tmp_path / "run", LONGER, elsewhere, arguments=RESUME)
        else:
            train(config, tmp_path / "run", elsewhere)
    assert same(weights_of(tmp_path / "second" / "run"), expected)


def test_a_note_of_another_system_is_read(config: Path, trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    (copy / "last_checkpoint").write_text("C:\\runs\\plain\\iter_1.pth")
    train(config, copy, "train_cfg.max_iters=2", arguments=RESUME)
    assert same(weights_of(copy, 2), weights_of(trained, 2))
