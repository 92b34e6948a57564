from __future__ import annotations

import argparse
import datetime
import os
import pickle
import types
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path, PurePosixPath, PureWindowsPath

import mmengine.runner.checkpoint
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.utils.dl_utils import load_url
from safetensors.torch import save_file

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import (
    BrokenCheckpoint,
    load_checkpoint,
    refuse_pickled_code,
    save_checkpoint,
)


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


@pytest.mark.parametrize("new", [True, False])
def test_code_is_not_run(tmp_path: Path, new: bool) -> None:
    for place in ("state_dict", "meta"):
        path = tmp_path / f"{place}.pth"
        content = {"state_dict": {}, place: {"deep": [Malicious(tmp_path / "victim")]}}
        torch.save(content, path, _use_new_zipfile_serialization=new)
        with pytest.raises(ImBenchError, match=r"holds \w+\.mkdir, which could run code.*: save"):
            load_checkpoint(path)
    assert not (tmp_path / "victim").exists()


@pytest.fixture
def _safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    refuse_pickled_code()


@pytest.mark.usefixtures("_safe")
def test_code_is_not_run_by_mmengine_either(trap: Path) -> None:
    network = torch.nn.Linear(1, 1)
    for load in (
        lambda: CheckpointLoader.load_checkpoint(str(trap), map_location="cpu"),
        lambda: mmengine.runner.load_checkpoint(network, str(trap)),
        lambda: load_url(trap.as_uri(), model_dir=str(trap.parent / "downloads")),
        lambda: mmengine.runner.checkpoint._safe_torch_load(str(trap)),
        lambda: torch.load(trap, weights_only=False),
    ):
        with pytest.raises((ImBenchError, pickle.UnpicklingError), match="mkdir"):
            load()
    assert not (trap.parent / "victim").exists()


@pytest.mark.usefixtures("_safe")
def test_the_config_in_a_checkpoint_is_no_code_to_run(tmp_path: Path) -> None:
    """MMEngine's Runner executes it as Python when it resumes."""
    meta = {"iter": 3, "config": f"import os; os.mkdir({str(tmp_path / 'victim')!r})"}
    torch.save({"state_dict": {}, "meta": meta}, tmp_path / "a.pth")
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / "a.pth"), map_location="cpu")
    assert loaded["meta"] == {"iter": 3}


def test_an_unknown_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for value, name in (
        (torch.nn.Conv2d(1, 1, 1), r"torch\.nn\.modules\.conv\.Conv2d"),
        (Malicious, rf"{Malicious.__module__}\.Malicious"),
        (np.array([{}], dtype=object), r"numpy\.\S*[oO]bject\S*"),
    ):
        torch.save({"state_dict": {}, "meta": {"value": value}}, path)
        with pytest.raises(BrokenCheckpoint, match=f"a\\.pth holds {name}, which .* state_dict"):
            load_checkpoint(path)
    torch.save({"state_dict": {}}, path, pickle_protocol=4)
    with pytest.raises(BrokenCheckpoint, match="with its own protocol of pickle"):
        load_checkpoint(path)


HARMLESS = {
    "number": np.float64(0.4),
    "small number": np.int8(-3),
    "truth": np.bool_(True),
    "palette": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "half": np.ones(2, np.float16),
    "names": np.array(["road", "sky"]),
    "kind": np.dtype("float32"),
    "size": torch.Size([1, 2]),
    "device": torch.device("cpu"),
    "set": frozenset({1, 2}),
    "range": range(3),
    "duration": datetime.timedelta(seconds=3),
    "time": datetime.datetime(2024, 2, 3, tzinfo=datetime.timezone.utc),
    "arguments": argparse.Namespace(rate=0.1, classes=["a"]),
    "namespace": types.SimpleNamespace(rate=0.1),
    "ordered": OrderedDict(b=1, a=2),
    "counts": Counter("aab"),
    "default": defaultdict(list, {"a": [1]}),
    "config": ConfigDict(a={"b": [ConfigDict(c=1)]}),
    "generator": np.random.default_rng(0).integers(9, size=3),
}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_objects_of_other_programs_come_back(name: str, new: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    content = {"state_dict": {"a": torch.ones(2)}, "meta": {"value": HARMLESS[name]}}
    torch.save(content, path, _use_new_zipfile_serialization=new)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded["state_dict"]["a"], torch.ones(2))
    np.testing.assert_equal(loaded["meta"]["value"], HARMLESS[name])


def test_paths_of_any_system_come_back_without_a_disk(tmp_path: Path) -> None:
    paths = [Path("/a/b"), PurePosixPath("a"), PureWindowsPath(r"c:\a")]
    torch.save({"paths": paths}, tmp_path / "a.pth")
    assert load_checkpoint(tmp_path / "a.pth")["paths"] == [
        PurePosixPath("/a/b"),
        *paths[1:],
    ]
    renamed(tmp_path / "a.pth", b"pathlib\nPosixPath", b"pathlib\nWindowsPath")
    assert isinstance(load_checkpoint(tmp_path / "a.pth")["paths"][0], PureWindowsPath)
    renamed(tmp_path / "a.pth", b"pathlib\nWindowsPath", b"pathlib._local\nPosixPath")
    assert load_checkpoint(tmp_path / "a.pth")["paths"][0] == PurePosixPath("/a/b")


def test_the_logs_of_a_training_with_either_numpy_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    history = HistoryBuffer([0.5, 0.25], [1, 1])
    torch.save({"message_hub": {"loss": history, "best": np.float32(0.5)}}, path)
    for old, new in ((b"numpy._core.", b"numpy.core."), (b"numpy.core.", b"numpy._core.")):
        renamed(path, old, new)
        loaded = load_checkpoint(path)["message_hub"]
        assert loaded["loss"].mean() == 0.375
        assert loaded["best"] == 0.5


def renamed(path: Path, old: bytes, new: bytes) -> None:
    """Change what a checkpoint's pickle names, as another machine would have named it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(
                name, content.replace(old, new) if name.endswith("data.pkl") else content
            )


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    assert torch.equal(load_checkpoint(tmp_path / "a.safetensors")["a"], torch.ones(2))
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(BrokenCheckpoint, match="cannot be read"):
        load_checkpoint(tmp_path / "a.safetensors")


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
