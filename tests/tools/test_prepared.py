"""What `im-bench data prepare` writes is what the configs train on, and what suites read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS

from im_bench.data import synth
from im_bench.data.folder import DataFolder
from im_bench.data.prepare import prepare
from im_bench.tools.commands import run_test, run_training
from im_bench.tools.configs import load_config

from .conftest import small

FIXMATCH = "mm_configs/fixmatch/fixmatch_r50_cs_1-4.py"
TRAIN, VAL = 24, 3


def test_drawn_cityscapes_is_prepared_once_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"
    synth.synthesise("cityscapes", raw, {"train": TRAIN, "val": VAL}, seed=1, size=(128, 64))
    folder = prepare(
        "cityscapes-semi", [raw], root=tmp_path / "data", allow_partial=True, threads=1
    )
    # Where the configs look for it by themselves.
    assert load_config(FIXMATCH).data_root == f"data/{folder.name}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARTITIONS", "drawn")

    config, *options = small(FIXMATCH, iterations=1)
    run_training([config, *options, "--work-dir", "out"])
    run_test([config, "out/iter_1.pth", *options, "--work-dir", "test", "--out", "maps"])

    suite = DataFolder.load(folder / "drawn-1-4.yaml")
    loaders = load_config(FIXMATCH)
    data = DATASETS.build(loaders.train_dataloader.dataset)
    assert len(data.labelled) + len(data.unlabelled) == TRAIN
    read = [data.labelled.get_data_info(index) for index in range(len(data.labelled))]
    assert sorted(Path(each["img_path"]).stem for each in read) == suite.labelled_names()
    assert {path.stem for path in Path("maps").iterdir()} == {
        item.name for item in suite.items("test")
    }
    truth = DATASETS.build(loaders.test_dataloader.dataset)[0]["data_samples"].gt_sem_seg.data
    assert set(np.unique(truth)) <= {*range(19), 255}
