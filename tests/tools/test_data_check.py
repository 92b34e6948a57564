"""Wrong labels and damaged files of all parts are told before the first step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from im_bench.errors import ImBenchError
from im_bench.tools.commands import run_training
from im_bench.training.small_batches import naming_batch, normalises_pooled_images

CONFIG = """
default_scope = "mmseg"
custom_imports = dict(imports=["im_bench.plugin"])
metainfo = dict(classes=("background", "disc"), palette=[[0, 0, 0], [200, 0, 0]])
bn = dict(type="BN")
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", mean=[60.0] * 3, std=[60.0] * 3,
                           size=(32, 32), seg_pad_val=255),
    backbone=dict(type="ResNetV1c", depth=18, base_channels=4, stem_channels=4, norm_cfg=bn),
    decode_head=dict(type="FCNHead", in_channels=32, channels=4, in_index=3, num_convs=1,
                     concat_input=False, num_classes=2, norm_cfg=bn,
                     loss_decode=dict(type="CrossEntropyLoss")),
    test_cfg=dict(mode="whole"))
steps = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
def part(name):
    return dict(type="BaseSegDataset", data_root="data", metainfo=metainfo, img_suffix=".png",
                data_prefix=dict(img_path=f"images/{name}", seg_map_path=f"masks/{name}"),
                pipeline=steps)
train_dataloader = dict(batch_size=2, num_workers=0, dataset=part("train"),
                        sampler=dict(type="InfiniteSampler"))
val_dataloader = dict(batch_size=1, num_workers=0, dataset=part("val"),
                      sampler=dict(type="DefaultSampler", shuffle=False))
test_dataloader = dict(batch_size=1, num_workers=0, dataset=part("test"),
                       sampler=dict(type="DefaultSampler", shuffle=False))
val_evaluator = dict(type="IoUMetric")
test_evaluator = dict(type="IoUMetric")
val_cfg, test_cfg = dict(type="ValLoop"), dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=1, val_interval=1)
default_hooks = dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=9))
log_processor = dict(by_epoch=False)
work_dir = "work"
"""
MIXED = """
labelled = train_dataloader["dataset"]
unlabelled = dict(part("unlabelled"), data_prefix=dict(img_path="images/unlabelled"))
unlabelled.pop("pipeline")
train_dataloader = dict(batch_size=2, num_workers=0,
    sampler=dict(type="LabelledUnlabelledSampler", labelled=1, unlabelled=1),
    dataset=dict(type="LabelledAndUnlabelled", labelled=labelled, unlabelled=unlabelled))
custom_hooks = [dict(type="InconsistencyMaskHook",
                     teachers=dict(type="EmaTeachers", decays=[0.9, 0.99]))]
"""
HEAD, TRAIN = "model.decode_head.", "train_dataloader.dataset."


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small data set of pictures with a disc, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for part in ("train", "val", "test", "unlabelled"):
        for kind in ("images", "masks"):
            (tmp_path / "data" / kind / part).mkdir(parents=True)
        for index in range(3):
            mask = np.zeros((32, 32), np.uint8)
            mask[8 + index : 20, 10:24] = 1
            image = generator.integers(60, size=(32, 32, 3)) + 140 * mask[..., None]
            Image.fromarray(image.astype(np.uint8)).save(f"data/images/{part}/{index}.png")
            Image.fromarray(mask).save(f"data/masks/{part}/{index}.png")
    (tmp_path / "plain.py").write_text(CONFIG)
    (tmp_path / "mixed.py").write_text(CONFIG + MIXED)
    return tmp_path / "data"


def train(*options: str, config: str = "plain.py", flags: tuple[str, ...] = ()) -> None:
    run_training([config, *flags, *(["--cfg-options", *options] if options else [])])


def change(part: str, function: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    for path in Path("data/masks", part).iterdir():
        Image.fromarray(function(np.array(Image.open(path)))).save(path)


def halve(path: str) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


def refused(message: str, *options: str, config: str = "plain.py") -> None:
    with pytest.raises(ImBenchError, match=message) as caught:
        train(*options, config=config)
    assert "\n" not in str(caught.value)
    assert not Path("work/last_checkpoint").exists()


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_labels_of_no_class_are_refused_in_all_parts(part: str) -> None:
    change(part, lambda mask: mask * 7)
    refused(f"masks/{part}/0.png has the label 7, but .* knows 0 to 1, and 255 .*3 of 3 {part[:3]}")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda mask: mask * 255, "labelled pixels of .* are background .*255, which is ignored"),
        (lambda mask: mask * 0, "are background, so that there is nothing to learn"),
        (lambda mask: mask * 0 + 255, "no pixel of the training images is labelled"),
        (lambda mask: np.stack([mask] * 3, -1), "train/0.png is read with the shape .32, 32, 3."),
        (lambda mask: mask.astype(np.uint16) * 1000, "values 0 to 1000, of which LoadAnnotations"),
        (lambda mask: mask[::2, ::2], "has 16 rows and 16 columns, its image 32 and 32"),
    ],
)
def test_masks_that_teach_nothing_or_wrongly_are_refused(labels: Any, message: str) -> None:
    change("train", labels)
    refused(message)


def test_palettes_are_read_by_number_unless_the_pipeline_reads_colours() -> None:
    for path in Path("data/masks/train").iterdir():
        mask = Image.open(path)
        mask.putpalette([0, 0, 0, 200, 0, 0])
        mask.save(path)
    refused("imdecode_backend='pillow'", f"{TRAIN}pipeline.1.imdecode_backend=cv2")
    train()


@pytest.mark.parametrize(
    ("path", "config"),
    [
        ("data/images/val/2.png", "plain.py"),
        ("data/masks/val/2.png", "plain.py"),
        ("data/images/test/2.png", "plain.py"),
        ("data/images/unlabelled/2.png", "mixed.py"),
    ],
)
def test_files_that_are_cut_off_empty_or_missing_are_named(path: str, config: str) -> None:
    halve(path)
    refused(f"{path}.* cannot be loaded", config=config)
    Path(path).write_bytes(b"")
    refused(f"{path}.* cannot be loaded", config=config)
    Path(path).unlink()
    if "masks" in path:
        refused(f"{path}.* cannot be loaded", config=config)


@pytest.mark.parametrize("config", ["plain.py", "mixed.py"])
def test_one_output_needs_a_sigmoid(config: str) -> None:
    refused("decode_head has one output .* learns nothing", f"{HEAD}num_classes=1", config=config)


def test_the_hook_needs_255_as_ignored_label() -> None:
    change("train", lambda mask: mask + 1)
    refused(
        "ignores pixels by the label 255",
        f"{HEAD}ignore_index=0",
        f"{HEAD}num_classes=3",
        config="mixed.py",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf0\n1\n", "begins with a byte-order mark"),
        ("0\n1\n".encode("utf-16"), "is UTF-16"),
        (b"0\n\n1\n", "line 2 of list .* is blank"),
        (b"\n", "has no names"),
        (b"0.png\n1.png\n", "name 0.png with its ending"),
        (b"0\n77\n", "77.png.* cannot be loaded"),
    ],
)
def test_lists_hold_nothing_but_names(content: bytes, message: str) -> None:
    Path("data/list.txt").write_bytes(content)
    refused(message, f"{TRAIN}ann_file=list.txt")


def test_names_that_occur_twice_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("mmengine.logging.print_log", lambda text, **_: told.append(text))
    Path("data/list.txt").write_bytes(b"0\r\n1\r\n0\r\n")
    train(f"{TRAIN}ann_file=list.txt")
    assert any("more than once, such as 0" in text for text in told)


def test_unlabelled_images_are_others() -> None:
    prefix = f"{TRAIN}unlabelled.data_prefix.img_path=images"
    refused("all unlabelled images are among the labelled", f"{prefix}/train", config="mixed.py")
    shutil.copy("data/images/val/0.png", "data/images/unlabelled/copy.png")
    train(config="mixed.py")
    told = "".join(path.read_text() for path in Path("work").glob("*/*.log"))
    assert "1 of the validation images are also among the unlabelled images" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["val_dataloader.dataset.metainfo=None"], "names no classes, which IoUMetric needs"),
        (
            [
                "val_dataloader.dataset.metainfo.classes=[disc]",
                "val_dataloader.dataset.metainfo.palette=[[0,0,0]]",
            ],
            "names one class, 'disc'",
        ),
        (["val_dataloader.dataset.pipeline.1.type=LoadImageFromFile"], "loads no labels"),
        ([f"{TRAIN}img_suffix=.jpg"], "train_dataloader finds no image"),
    ],
)
def test_settings_that_fail_later_are_refused(options: list[str], message: str) -> None:
    refused(message, *options)


def test_a_batch_of_one_image_that_is_pooled_names_the_batch() -> None:
    head = CONFIG.replace('"FCNHead"', '"PSPHead"').replace("num_convs=1,", "")
    Path("pool.py").write_text(head.replace("concat_input=False, ", ""))
    refused("batch_size is 1, .*BatchNorm", "train_dataloader.batch_size=1", config="pool.py")
    finite = "train_dataloader.sampler.type=DefaultSampler"
    refused("the last of the batches of 2 from 3 images has one", finite, config="pool.py")
    train(finite, "train_dataloader.drop_last=True", config="pool.py")


def test_a_second_start_opens_no_file_that_has_not_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from im_bench.tools import inspection

    opened: list[str] = []
    read = inspection._read
    monkeypatch.setattr(
        inspection, "_read", lambda *args: opened.append(args[2]["img_path"]) or read(*args)
    )
    train()
    assert len(opened) == 9
    opened.clear()
    change("val", lambda mask: mask * 7)
    shutil.rmtree("work")
    refused("val/0.png has the label 7")
    assert len(opened) == 3


def test_the_check_can_be_left_out() -> None:
    change("val", lambda mask: mask * 7)
    train(flags=("--no-data-check",))


def test_pooled_images_need_two_per_batch() -> None:
    pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.BatchNorm2d(3)))
    assert normalises_pooled_images(pooling)
    assert not normalises_pooled_images(nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1)))
    with pytest.raises(ImBenchError, match=r"training\.batch"), naming_batch("training.batch"):
        pooling(torch.zeros(1, 3, 4, 4))
