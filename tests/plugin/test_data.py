"""Labelled and unlabelled images in one data set, and in one batch."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from im_bench.errors import ImBenchError
from im_bench.plugin import LabelledAndUnlabelled, LabelledUnlabelledSampler
from im_bench.plugin.data import check_batch_size

from .trainings import CUSTOM, SIZE, data_config, model_config, runner, write_images


@pytest.fixture
def dataset(pictures: Path) -> LabelledAndUnlabelled:
    init_default_scope("mmseg")
    return DATASETS.build(data_config(pictures))


def test_unlabelled_samples_are_flagged_and_undecided(dataset):
    assert len(dataset) == 8
    assert dataset.metainfo["classes"] == tuple("abcd")
    for index in range(8):
        sample = dataset[index]["data_samples"]
        labels = sample.gt_sem_seg.data
        assert labels.shape == (1, SIZE, SIZE)
        assert labels.dtype == torch.int64
        if index < 4:
            assert "unlabelled" not in sample
            assert labels.max() < 4
        else:
            assert sample.metainfo["unlabelled"] is True
            assert labels.eq(254).all()
    assert [Path(file).parts[-2:] for file in dataset.unlabelled_files()] == [
        ("more", f"{index}.png") for index in range(4)
    ]
    assert dataset[-1]["data_samples"].metainfo["unlabelled"] is True


def test_a_pipeline_of_its_own_needs_no_annotations(pictures: Path):
    init_default_scope("mmseg")
    pipeline = [{"type": "LoadImageFromFile"}, {"type": "PackSegInputs"}]
    sample = DATASETS.build(data_config(pictures, pipeline=pipeline))[5]["data_samples"]
    assert sample.gt_sem_seg.data.eq(254).all()


def test_padding_of_unlabelled_images_is_ignored(pictures: Path):
    init_default_scope("mmseg")
    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "Pad", "size": (SIZE + 8, SIZE), "pad_val": {"img": 0, "seg": 255}},
        {"type": "PackSegInputs"},
    ]
    labels = DATASETS.build(data_config(pictures, pipeline=pipeline))[5]["data_samples"].gt_sem_seg
    assert labels.data[:, :, :SIZE].eq(254).all()
    assert labels.data[:, :, SIZE:].eq(255).all()


def test_without_a_pipeline_there_is_nothing_to_load_with(dataset, pictures: Path):
    config = data_config(pictures)["unlabelled"]
    with pytest.raises(ImBenchError, match="give the unlabelled data set a pipeline"):
        LabelledAndUnlabelled(dataset.labelled, config)


def test_every_batch_has_its_share(dataset):
    sampler = LabelledUnlabelledSampler(dataset, labelled=1, unlabelled=3, seed=0)
    stream = list(islice(sampler, 32))
    for start in range(0, 32, 4):
        batch = stream[start : start + 4]
        assert batch[0] < 4
        assert all(index >= 4 for index in batch[1:])
    assert sorted(stream[0::4][:4]) == [0, 1, 2, 3]  # each once before any again
    unlabelled = [index for position, index in enumerate(stream) if position % 4]
    assert sorted(unlabelled[:4]) == [4, 5, 6, 7]


def test_processes_share_the_images(dataset, monkeypatch: pytest.MonkeyPatch):
    streams = []
    for rank in range(2):
        monkeypatch.setattr("mmengine.dataset.sampler.get_dist_info", lambda rank=rank: (rank, 2))
        streams.append(list(islice(LabelledUnlabelledSampler(dataset, 1, 1, seed=3), 4)))
    assert sorted(streams[0] + streams[1]) == list(range(8))


def test_skipping_goes_where_an_interrupted_training_was(dataset):
    whole = list(islice(LabelledUnlabelledSampler(dataset, 2, 3, seed=1), 40))
    resumed = LabelledUnlabelledSampler(dataset, 2, 3, seed=1)
    resumed.skip(15)
    assert list(islice(resumed, 25)) == whole[15:]


def test_bad_samplers_are_refused(dataset):
    with pytest.raises(ImBenchError, match="at least 1 of each"):
        LabelledUnlabelledSampler(dataset, 2, 0)
    with pytest.raises(ImBenchError, match="needs a LabelledAndUnlabelled data set"):
        LabelledUnlabelledSampler(dataset.labelled, 1, 1)
    sampler = LabelledUnlabelledSampler(dataset, 1, 1, seed=0)
    check_batch_size(DataLoader(dataset, batch_size=2, sampler=sampler))
    check_batch_size(DataLoader(dataset, batch_size=3, sampler=InfiniteSampler(dataset, seed=0)))
    with pytest.raises(ImBenchError, match="set it to 2"):
        check_batch_size(DataLoader(dataset, batch_size=3, sampler=sampler))


@pytest.mark.parametrize("part", ["labelled", "unlabelled"])
def test_an_empty_part_is_refused(part: str, pictures: Path):
    init_default_scope("mmseg")
    config = data_config(pictures)
    config[part]["img_suffix"] = ".jpg"
    with pytest.raises(ImBenchError, match=f"the {part} data set holds no image"):
        DATASETS.build(config)


@pytest.mark.parametrize("name", ["images/train", "labels/train", "images/more"])
def test_damaged_files_are_named(name: str, tmp_path: Path):
    write_images(tmp_path, labelled=1, unlabelled=1)
    path = tmp_path / name / "0.png"
    path.write_bytes(path.read_bytes()[:50])
    init_default_scope("mmseg")
    dataset = DATASETS.build(data_config(tmp_path))
    with pytest.raises(ImBenchError, match=f"image .*{path}.* cannot be loaded"):
        dataset[int(name == "images/more")]


def test_labels_without_an_output_are_named(pictures: Path, tmp_path: Path):
    model = model_config(CUSTOM)
    model["decode_head"]["num_classes"] = 3
    hook = {"teachers": {"type": "EmaTeachers"}}
    with pytest.raises(ImBenchError, match=r"train/\d.png has the label 3, .* knows 0 to 2"):
        runner(pictures, tmp_path, model, hook, iterations=4).train()


def test_images_of_16_bits_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_images(tmp_path, labelled=1, unlabelled=1)
    path = tmp_path / "images" / "more" / "0.png"
    cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 256)
    init_default_scope("mmseg")
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        dataset = DATASETS.build(data_config(tmp_path))
    finally:
        logger.removeHandler(caplog.handler)
    assert f"{path} of the unlabelled data set has 16 bits" in caplog.text
    assert "labelled data set" not in caplog.text.replace("unlabelled", "")
    assert dataset[1]["inputs"].dtype is torch.uint8


def test_without_the_hook_unlabelled_images_do_not_pass_as_labelled(pictures: Path, tmp_path: Path):
    with pytest.raises(IndexError, match="Target 254 is out of bounds"):
        runner(pictures, tmp_path, model_config(CUSTOM), None).train()
