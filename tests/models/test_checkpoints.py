from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import load_checkpoint, refuse_pickled_code, save_checkpoint


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.victim),)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A checkpoint that, once unpickled, leaves ``victim`` beside it."""
    path = tmp_path / "trap.pth"
    torch.save({"state_dict": Malicious(tmp_path / "victim")}, path)
    return path


def test_the_trap_works(trap: Path) -> None:
    torch.load(trap, weights_only=False)
    assert (trap.parent / "victim").exists()


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    content = {"weights": torch.rand(3), "iteration": 7, "nested": {"score": [0.5, None]}}
    save_checkpoint(tmp_path / "a.pth", content)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
    loaded = load_checkpoint(tmp_path / "a.pth")
    assert torch.equal(loaded.pop("weights"), content.pop("weights"))
    assert loaded == content


def test_code_is_not_run(trap: Path) -> None:
    with pytest.raises(ImBenchError, match="could run code"):
        load_checkpoint(trap)
    assert not (trap.parent / "victim").exists()


def test_code_is_not_run_by_mmengine_either(trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    refuse_pickled_code()
    with pytest.raises(pickle.UnpicklingError):
        CheckpointLoader.load_checkpoint(str(trap), map_location="cpu")
    assert not (trap.parent / "victim").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", b"hello", pickle.dumps([1, 2]), pickle.dumps({"a": 1})[:-3]],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(ImBenchError, match=r"broken\.pth .* train again$"):
        load_checkpoint(path)


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    save_checkpoint(path, {"weights": torch.rand(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImBenchError, match=r"cut\.pth cannot be read \([^.]*\): name another"):
        load_checkpoint(path)


def test_a_bit_that_has_changed_is_found_unless_it_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "turned.pth"
    weights = torch.rand(300)
    save_checkpoint(path, {"weights": weights})
    whole = path.read_bytes()
    found = 0
    for place in range(0, len(whole), 5):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            loaded = load_checkpoint(path)
        except ImBenchError:
            found += 1
        else:
            assert torch.equal(loaded["weights"], weights), place
    assert found > len(weights) * 4 / 5  # all of the weights' bytes at least


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="does not exist"):
        load_checkpoint(tmp_path / "none.pth")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, {"iteration": 1})
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        save_checkpoint(path, {"iteration": lambda: 2})
    assert load_checkpoint(path) == {"iteration": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["a.pth"]
