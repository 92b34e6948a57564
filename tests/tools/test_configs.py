"""What the tools change in a config."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction

from im_bench.semi.masking import Masking
from im_bench.tools.configs import load_config, seed_model, set_teachers, without_mask_hooks
from im_bench.tools.processes import count_processes
from im_bench.training.batch import divide_batch

MASKED = "mm_configs/im/{0}_r50_cs_1-16.py"


def test_configs_with_and_without_masks_have_folders_of_their_own() -> None:
    plain = load_config("mm_configs/u2pl/u2pl_r50_cs_1-16.py")
    masked = load_config(MASKED.format("u2pl"))
    assert plain.work_dir == str(Path("work_dirs/u2pl/u2pl_r50_cs_1-16"))
    assert masked.work_dir == str(Path("work_dirs/im/u2pl_r50_cs_1-16"))


@pytest.mark.parametrize(("method", "part"), [("u2pl", "companion"), ("fixmatch", "student")])
def test_teachers_are_the_networks_that_the_method_deploys(
    method: str, part: str, tmp_path: Path
) -> None:
    paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for path in paths:
        path.touch()
    config = load_config(MASKED.format(method))
    set_teachers(config, [str(path) for path in paths])
    teachers = config.custom_hooks[0].teachers
    assert teachers.checkpoints == [str(path) for path in paths]
    assert teachers.part == part
    assert config.custom_hooks[0].cache_dir == f"{config.work_dir}/pseudo-labels"


def test_what_the_config_says_of_teachers_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.touch()
    options = {"custom_hooks.0.teachers.part": "student", "custom_hooks.0.cache_dir": None}
    config = load_config(MASKED.format("u2pl"), options)
    set_teachers(config, [str(path), str(path)])
    assert config.custom_hooks[0].teachers.part == "student"
    assert config.custom_hooks[0].cache_dir is None


def test_what_masks_block_is_said_as_the_page_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "mmsegmentation.md"
    words = re.findall(r"model\.im\.[^\s`]+", page.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    options = parser.parse_args(["--cfg-options", *words]).cfg_options
    config = load_config(MASKED.format("u2pl"), options)
    assert Masking(**config.model.im) == Masking(labels="own", block_input=False)


def test_a_config_may_build_on_those_of_mmsegmentation(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("_base_ = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'")
    assert load_config(str(path)).model.decode_head.type == "PSPHead"


def test_hooks_of_masks_are_found_among_default_hooks_too() -> None:
    hook = {"type": "mmseg.InconsistencyMaskHook", "teachers": {"type": "EmaTeachers"}}
    other = {"type": "EMAHook"}
    config = Config(
        {"custom_hooks": [other], "default_hooks": {"masks": dict(hook), "timer": None}}
    )
    without_mask_hooks(config)
    assert config.custom_hooks == [other]
    assert dict(config.default_hooks) == {"timer": None}


def test_the_model_draws_by_the_seed_of_the_training() -> None:
    config = load_config("mm_configs/fixmatch/fixmatch_r50_cs_1-16.py", {"randomness.seed": 7})
    seed_model(config)
    assert config.model.seed == 7


def test_a_total_batch_and_its_pixels_are_divided_among_processes() -> None:
    config = load_config("mm_configs/unimatch/unimatch_r50_cs_1-16.py")
    divide_batch(config, 4)
    assert config.train_dataloader.batch_size == 2
    assert config.model.labelled_loss.min_kept == 200_000  # as in UniMatch's repository
    divide_batch(config, 4)  # is done once
    assert config.train_dataloader.batch_size == 2


def test_the_batch_of_other_configs_counts_a_process() -> None:
    config = Config({"train_dataloader": {"batch_size": 3}})
    divide_batch(config, 2)
    assert config.train_dataloader.batch_size == 3


def test_launchers_say_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert count_processes("none") == 1
    assert count_processes("pytorch") == 4
    assert count_processes("slurm") == 8


def test_partitions_of_another_family_are_one_variable_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PARTITIONS", "unimatch")
    monkeypatch.setenv("CITYSCAPES", "/elsewhere")
    dataset = load_config("mm_configs/imas/imas_r50_cs_1-2.py").train_dataloader.dataset
    assert dataset.labelled.ann_file == "lists/unimatch-1-2/labelled.txt"
    assert dataset.labelled.data_root == dataset.unlabelled.data_root == "/elsewhere"
