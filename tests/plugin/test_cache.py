"""Pseudo-labels that are made once."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from im_bench.data.label_maps import label_file
from im_bench.errors import ImBenchError
from im_bench.plugin import EmaTeachers, InconsistencyMaskHook
from im_bench.plugin.cache import PseudoLabelCache
from im_bench.plugin.data import reading_cache
from im_bench.plugin.masking import TeacherMasks

from .hooks import parts, trained_batches
from .trainings import CUSTOM, checkpoint, model_config, relatives, runner


@pytest.fixture
def teachers(tmp_path: Path) -> dict[str, Any]:
    return {"type": "CheckpointTeachers", "checkpoints": relatives(tmp_path, CUSTOM)}


def train(pictures: Path, work_dir: Path, hook: dict[str, Any], cache: Path | None) -> Any:
    folder = None if cache is None else str(cache)
    if cache is not None:
        hook = {**hook, "cache_dir": folder}
    training = runner(
        pictures, work_dir, model_config(CUSTOM), hook, iterations=3, cache_dir=folder
    )
    return training, trained_batches(training)


@pytest.mark.parametrize("options", [{}, {"erode": 3, "dilate": 5}, {"image_filter": "foreground"}])
def test_cached_labels_train_like_those_made_on_the_way(
    options, teachers, pictures: Path, tmp_path: Path
):
    hook = {"teachers": teachers, **options}
    _, online = train(pictures, tmp_path / "online", hook, None)
    cached_training, cached = train(pictures, tmp_path / "cached", hook, tmp_path / "cache")
    assert not parts(cached_training).ensemble.teachers  # no network is kept for nothing
    assert len(list((tmp_path / "cache").glob("*.png"))) == 4
    for mine, theirs in zip(cached, online, strict=True):
        for position in range(4):
            assert torch.equal(mine["inputs"][position], theirs["inputs"][position])
            first, second = mine["data_samples"][position], theirs["data_samples"][position]
            assert torch.equal(first.gt_sem_seg.data, second.gt_sem_seg.data)
    assert cached[0]["data_samples"][2].inconsistency.data.any()


def test_what_is_there_is_not_made_again(
    teachers, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "cache"
    made: list[int] = []
    raw_labels = TeacherMasks.raw_labels

    def spied(masks, images):
        made.append(len(images))
        if len(made) == 3:
            raise KeyboardInterrupt
        return raw_labels(masks, images)

    monkeypatch.setattr(TeacherMasks, "raw_labels", spied)
    with pytest.raises(KeyboardInterrupt):
        train(pictures, tmp_path / "killed", {"teachers": teachers}, cache)
    train(pictures, tmp_path / "again", {"teachers": teachers}, cache)
    train(pictures, tmp_path / "later", {"teachers": teachers}, cache)
    assert len(made) == 3 + 2
    assert not list(cache.glob("*.tmp"))


def test_labels_of_other_teachers_are_refused(teachers, pictures: Path, tmp_path: Path):
    train(pictures, tmp_path / "a", {"teachers": teachers}, tmp_path / "cache")
    checkpoint(Path(teachers["checkpoints"][0]), CUSTOM, seed=7)  # the same name, other weights
    with pytest.raises(ImBenchError, match="were made by other teachers"):
        train(pictures, tmp_path / "b", {"teachers": teachers}, tmp_path / "cache")


def test_a_damaged_manifest_is_named(teachers, pictures: Path, tmp_path: Path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "manifest.json").write_text('{"format": ')
    with pytest.raises(ImBenchError, match=r"cache/manifest.json is damaged \(.*remove the folder"):
        train(pictures, tmp_path / "run", {"teachers": teachers}, tmp_path / "cache")


def test_hook_and_data_set_do_not_name_two_folders(teachers, pictures: Path, tmp_path: Path):
    hook = {"teachers": teachers, "cache_dir": str(tmp_path / "cache")}
    training = runner(pictures, tmp_path / "run", model_config(CUSTOM), hook, cache_dir="other")
    with pytest.raises(ImBenchError, match="name the same folder"):
        training.train()


def test_the_hooks_folder_is_the_data_sets(teachers, pictures: Path, tmp_path: Path):
    hook = {"teachers": teachers, "cache_dir": str(tmp_path / "cache")}
    training = runner(pictures, tmp_path / "run", model_config(CUSTOM), hook, iterations=1)
    (batch,) = trained_batches(training)
    for sample in batch["data_samples"][2:]:
        stored = np.array(Image.open(label_file(tmp_path / "cache", sample.img_path)))
        assert 0 < (stored == 254).mean() < 0.5
        assert (sample.inconsistency.data[0].numpy() == (stored == 254)).all()


def test_a_data_set_without_unlabelled_images_has_no_cache():
    with pytest.raises(ImBenchError, match="the list has no unlabelled images"):
        reading_cache([], Path("cache"))


def test_only_frozen_teachers_are_cached(pictures: Path, tmp_path: Path):
    hook = {"teachers": {"type": "EmaTeachers"}, "cache_dir": str(tmp_path)}
    with pytest.raises(ImBenchError, match="cache_dir of InconsistencyMaskHook is for Checkpoint"):
        runner(pictures, tmp_path / "run", model_config(CUSTOM), hook).train()
    InconsistencyMaskHook(EmaTeachers())


def test_files_of_the_same_name_do_not_meet(tmp_path: Path):
    cache = PseudoLabelCache(tmp_path, {"format": 1})
    images = {"a/1.png": "a", "b/1.png": "b"}
    assert cache.outdated(images) == (list(images), [])
    cache.write("a/1.png", np.full((2, 3), 254, np.uint8), "a")
    assert cache.outdated(images) == (["b/1.png"], [])
    assert cache.outdated({"a/1.png": "another"}) == ([], ["a/1.png"])
    assert np.array(Image.open(label_file(tmp_path, "a/1.png"))).tolist() == [[254] * 3] * 2


def maps(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.glob("*.png")}


def same_size_and_time(path: Path, content: bytes) -> None:
    """Replace a file by one that its size and its time of writing do not tell from the old one."""
    stat = path.stat()
    assert len(content) == stat.st_size
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("ending", [".png", ".bmp"])
def test_an_image_that_has_changed_is_labelled_anew(
    ending: str, teachers, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    cache, folder = tmp_path / "cache", shutil.copytree(pictures, tmp_path / "pictures")
    files = sorted((folder / "images" / "more").iterdir())
    train(folder, tmp_path / "a", {"teachers": teachers}, cache)
    before = maps(cache)
    assert len(before) == len(files)
    turned = Image.open(files[0]).rotate(180)
    if ending == ".png":
        turned.save(files[0])
    else:  # an image whose file has the same size, whatever it shows
        raw = [io.BytesIO(), io.BytesIO()]
        for image, buffer in zip((Image.open(files[0]), turned), raw, strict=True):
            image.save(buffer, "BMP")
        files[0].write_bytes(raw[0].getvalue())
        train(folder, tmp_path / "b", {"teachers": teachers}, cache)
        before = maps(cache)
        same_size_and_time(files[0], raw[1].getvalue())
    files[1].touch()  # the same content
    train(folder, tmp_path / "c", {"teachers": teachers}, cache)
    after = maps(cache)
    assert [name for name in after if after[name] != before[name]] == [
        label_file(cache, str(files[0])).name
    ]
    expected, _ = (
        tmp_path / "fresh",
        train(folder, tmp_path / "d", {"teachers": teachers}, tmp_path / "fresh"),
    )
    assert maps(expected) == after
    train(folder, tmp_path / "e", {"teachers": teachers}, cache)
    assert maps(cache) == after


def test_teachers_that_compute_otherwise_are_other_teachers(
    teachers, pictures: Path, tmp_path: Path
):
    train(pictures, tmp_path / "a", {"teachers": teachers}, tmp_path / "cache")
    head = {**CUSTOM["decode_head"], "align_corners": not CUSTOM["decode_head"]["align_corners"]}
    models = [model_config({**CUSTOM, "decode_head": head})] * 2
    with pytest.raises(ImBenchError, match="were made by other teachers"):
        train(
            pictures,
            tmp_path / "b",
            {"teachers": {**teachers, "models": models}},
            tmp_path / "cache",
        )
