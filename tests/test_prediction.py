"""``predict`` on the test images of a cell gives the masks that the table scores, in every way that
images are fitted and evaluated, and in every label space."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mmengine.evaluator import Evaluator
from mmseg.registry import METRICS
from numpy.typing import NDArray
from PIL import Image

from im_bench.cli.app import main
from im_bench.data.arrays import read_meta
from im_bench.data.encodings import read_label
from im_bench.data.folder import DataFolder
from im_bench.data.network_input import resize_labels
from im_bench.errors import ImBenchError
from im_bench.files import read_json
from im_bench.planning.plan import Plan, make_plan
from im_bench.prediction import LEGEND, class_legend, images_in
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage
from im_bench.training.config import metric_configs

Predict = Callable[..., str]

SIZES = [(64, 48), (40, 30), (33, 47), (50, 26), (48, 32)]
SPACES: dict[str, dict[str, Any]] = {
    "binary": {"space": "binary", "classes": ["disc"], "encoding": "index"},
    "multiclass": {
        "space": "multiclass",
        "classes": ["ground", "disc", "square"],
        "encoding": "index",
        "ignore": [9],
    },
    "reserved": {
        "space": "multiclass",
        "classes": ["ground", "disc", "square"],
        "reserve_zero": True,
        "encoding": "index",
        "ignore": [9],
    },
    "multilabel": {
        "space": "multilabel",
        "classes": ["disc", "square"],
        "encoding": "bits",
        "channels": "grey",
    },
}
# Files that say themselves how they are read, or of which only the description says it.
FILES: dict[str, dict[str, Any]] = {
    "turned": SPACES["binary"],
    "deep": {**SPACES["binary"], "channels": "grey", "scale": [0, 4095]},
    "paged": {**SPACES["binary"], "page": 1},
}
SLIDE = {"mode": "slide", "window": 32, "stride": 20}
EVALUATIONS: dict[str, dict[str, Any]] = {
    "whole": {},
    "truncate": SLIDE,
    "shift": {**SLIDE, "border": "shift"},
    "logits": {**SLIDE, "combine": "logits"},
    "shift-logits": {**SLIDE, "border": "shift", "combine": "logits"},
}
NORM = {"type": "SyncBN", "momentum": 0.3}
REDUCING = {
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "backbone": {
        "type": "ResNet",
        "depth": 18,
        "base_channels": 4,
        "strides": [1, 2, 1, 1],
        "norm_cfg": NORM,
    },
    "decode_head": {
        "type": "FCNHead",
        "in_channels": 32,
        "channels": 4,
        "num_convs": 1,
        "norm_cfg": NORM,
        "num_classes": 1,
    },
}
PAD = "pad-binary-whole"
UNET = {"width": 0.25, "norm_momentum": 0.3}
CELLS = [
    *(("resize", space, "whole") for space in SPACES),
    *(("pad", space, "whole") for space in SPACES),
    *(
        (fit, "multiclass", mode)
        for fit in ("resize", "pad")
        for mode in EVALUATIONS
        if mode != "whole"
    ),
    ("pad", "reserved", "shift-logits"),
    ("own", "reserved", "whole"),
    *(("pad", files, "whole") for files in FILES),
    ("resize", "turned", "whole"),
]


def write_data(folder: Path, space: str, one_size: bool = False) -> None:
    """Write images with a disc and a square each, of several sizes, and a description."""
    rng = np.random.default_rng(len(space))
    fields = (SPACES | FILES)[space]
    for split, count in {"train": 8, "val": 3, "test": 5}.items():
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            width, height = SIZES[-1] if one_size else SIZES[index % len(SIZES)]
            y, x = np.mgrid[:height, :width]
            top, left = rng.integers(0, [height - 10, width - 10])
            disc = np.hypot(y - height / 2, x - width / 2) < height / 4
            square = (y >= top) & (y < top + 10) & (x >= left) & (x < left + 10)
            image = rng.integers(0, 60, (height, width, 3))
            image[disc, 0] += 150
            image[square, 1] += 150
            if fields["encoding"] == "bits":
                mask = disc + 2 * square
            elif fields["space"] == "binary":
                mask = disc * 255
            else:
                mask = np.select([square, disc], [2, 1], 0)
                mask[:3] = 9
            name = f"{split[:2]}{index}"
            save_image(folder / "images" / split / name, image.astype(np.uint8), space)
            save_mask(folder / "masks" / split / name, mask.astype(np.uint8), space)
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": space, **fields}))


def save_image(path: Path, image: NDArray[np.uint8], files: str) -> None:
    """Save an image in a format that programs read in different ways."""
    if files == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise, as people hold phones
        turned = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
        turned.save(path.with_suffix(".jpg"), quality=95, exif=exif)
    elif files == "deep":
        deep = image.mean(axis=2) / 255 * 4095
        Image.fromarray(deep.astype(np.uint16)).save(path.with_suffix(".tif"))
    elif files == "paged":
        pages = [Image.fromarray(each) for each in (255 - image, image)]
        pages[0].save(path.with_suffix(".tif"), save_all=True, append_images=pages[1:])
    else:
        Image.fromarray(image).save(path.with_suffix(".png"))


def save_mask(path: Path, mask: NDArray[np.uint8], files: str) -> None:
    """Save the mask of such an image."""
    pages = [Image.fromarray(mask)] * (2 if files == "paged" else 1)
    if len(pages) > 1:
        pages[0].save(path.with_suffix(".tif"), save_all=True, append_images=pages[1:])
    else:
        pages[0].save(path.with_suffix(".png"))


def cell_name(fit: str, space: str, mode: str) -> str:
    return f"{fit}-{space}-{mode}"


@dataclass(frozen=True)
class Finished:
    """A suite of all cells that has run to its end.

    Attributes:
        folder: Of the suite, its data and its results.
        plan: Of the suite.
    """

    folder: Path
    plan: Plan

    def outcome(self, data: str, method: str = "ldt") -> dict[str, Any]:
        """Return what stands in the table for a data set."""
        result = Store(self.folder / "runs").result(self._stage(data, method))
        assert result is not None
        outcome: dict[str, Any] = result["outcome"]
        return outcome

    def meta(self, data: str) -> dict[str, Any]:
        """Return the ``meta.json`` of a packed data set."""
        packed = self.plan.graph[self._stage(data).inputs["data"][0]]
        return read_meta(Store(self.folder / "runs").folder(packed).path / "arrays")

    def data(self, data: str) -> DataFolder:
        """Return a data set as its owner has it."""
        return DataFolder.load(self.folder / str(self.plan.suite.data[data].folder))

    def _stage(self, data: str, method: str = "ldt") -> Stage:
        return self.plan.graph[self.plan.cell(f"{data}/1.0/{method}").finals[1]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The suite, run once."""
    folder = tmp_path_factory.mktemp("predicted")
    for space in SPACES | FILES:
        write_data(folder / space, space)
    write_data(folder / "one-size", "reserved", one_size=True)
    data = {
        cell_name(fit, space, mode): {
            "folder": "./one-size" if fit == "own" else f"./{space}",
            **({} if fit == "own" else {"size": [64, 48], "fit": fit}),
            "labelled": 1.0,
            "evaluation": EVALUATIONS[mode],
            "model": UNET if mode == "whole" or fit == "resize" else REDUCING,
        }
        for fit, space, mode in CELLS
    }
    suite = {
        "name": "tiny",
        "seeds": [1],
        "budget": "equal",
        "budgets": {"equal": {"iterations": 16}},
        "training": {"batch": 4, "validations": 2, "learning_rate": 0.01},
        "methods": {"ldt": {"members": 1}, "pair": {"method": "ldt", "members": 2}},
        "data": data,
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(suite))
    run = ("run", "--suite", "tiny.yaml", "--out", "runs", "--no-tracking", "--no-table")
    words = [sys.executable, "-m", "im_bench.cli.app", *run]
    for part in (("ldt",), ("pair", "--data", PAD)):
        subprocess.run([*words, "--methods", *part], cwd=folder, check=True, timeout=300)
    return Finished(folder, make_plan(folder / "tiny.yaml", folder / "runs", folder))


@pytest.fixture
def predict(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Predict:
    """Predict with a cell in this process; return all that is said."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(
        data: str, to: Path, *arguments: str | Path, method: str = "ldt", status: int = 0
    ) -> str:
        given = ("--cell", f"{data}/1.0/{method}", "--to", to, "--device", "cpu", *arguments)
        own = ("--suite", finished.folder / "tiny.yaml", "--out", finished.folder / "runs")
        monkeypatch.setattr(sys, "argv", ["im-bench", "predict", *map(str, (*given, *own))])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert end.value.code == status, said
        return said.out + said.err

    return run


def scores_of(
    meta: Mapping[str, Any], pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
) -> dict[str, float]:
    """Return the scores of label maps, predicted and true, by the metric of the data set."""
    evaluator = Evaluator([METRICS.build(config) for config in metric_configs(meta)])
    evaluator.dataset_meta = {"classes": tuple(meta["classes"])}
    count = 0
    for predicted, truth in pairs:
        maps = {"pred_sem_seg": predicted, "gt_sem_seg": truth}
        evaluator.process([{name: {"data": torch.from_numpy(m)} for name, m in maps.items()}])
        count += 1
    scores: dict[str, float] = evaluator.evaluate(count)
    return scores


@pytest.mark.parametrize(("fit", "space", "mode"), CELLS)
def test_predict_gives_the_scores_of_the_table(
    finished: Finished, predict: Predict, tmp_path: Path, fit: str, space: str, mode: str
) -> None:
    name = cell_name(fit, space, mode)
    data, meta = finished.data(name), finished.meta(name)
    # With `fit: resize` the table scores in the suite's size, against resized labels.
    size = ["--size", "suite"] if fit == "resize" else []
    predict(name, tmp_path, data.root / "images" / "test", *size)
    masks = data.description.model_copy(update={"encoding": "labels", "ignore": (), "page": None})
    pairs = []
    for item in data.items("test"):
        # Read by the package itself, as masks that people describe.
        predicted = read_label(masks, [tmp_path / f"{item.name}-mask.png"])
        truth = data.read_label(item)
        if fit == "resize":
            assert predicted.shape == (48, 64)
            truth = resize_labels(truth, (64, 48))
        pairs.append((predicted, truth))
    expected = finished.outcome(name)["test"]
    # Of probabilities, which masks do not hold.
    expected.pop("soft_miou", None)
    assert scores_of(meta, pairs) == expected
    assert len({labels.tobytes() for labels, _ in pairs}) > 1


@pytest.mark.parametrize("space", SPACES)
def test_masks_are_a_data_set_in_the_size_of_their_images(
    finished: Finished, predict: Predict, tmp_path: Path, space: str
) -> None:
    name = cell_name("resize", space, "whole")
    data = finished.data(name)
    images = data.root / "images" / "test"
    predict(name, tmp_path / "masks", images)
    legend = read_json(tmp_path / "masks" / LEGEND)
    description = {
        "name": "predicted",
        "classes": SPACES[space]["classes"],
        **{field: legend[field] for field in ("space", "encoding", "reserve_zero")},
        "images": str(images),
        "masks": str(tmp_path / "masks"),
        "mask_suffix": "-mask",
        "fractions": {"val": 0.2, "test": 0.2},
    }
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(description))
    predicted = DataFolder.load(tmp_path)
    items = [item for split in ("train", "val", "test") for item in predicted.items(split)]
    assert len(items) == len(data.items("test"))
    values = {int(value) for item in items for value in np.unique(predicted.read_pair(item)[1])}
    assert values <= {each["value"] for each in legend["classes"]} | {0, 3}


@pytest.mark.parametrize(
    ("space", "meta", "values"),
    [
        ("binary", ["disc"], [(0, "background"), (1, "disc")]),
        ("multiclass", ["a", "b"], [(0, "a"), (1, "b")]),
        ("multiclass", ["void", "a"], [(0, "void"), (1, "a")]),
        ("multilabel", ["a", "b", "c"], [(1, "a"), (2, "b"), (4, "c")]),
    ],
)
def test_a_legend_names_every_value(space: str, meta: list[str], values: Any) -> None:
    legend = class_legend({"space": space, "classes": meta, "outputs": len(meta)})
    assert [(each["value"], each["name"]) for each in legend["classes"]] == values
    assert legend["reserve_zero"] == ("void" in meta)
    colours = [tuple(each["colour"]) for each in legend["classes"]]
    assert len(set(colours)) == len(colours)


def test_samples_of_a_training_show_no_padding(finished: Finished) -> None:
    training = next(finished.folder.glob("runs/stages/pad-binary-whole/**/samples"))
    sizes = [Image.open(path).size for path in sorted(training.glob("*.png"))]
    assert sizes == [(3 * width + 2 * 4, height) for width, height in SIZES[:3]]


def test_images_larger_than_those_of_the_suite_keep_their_scale(
    predict: Predict, tmp_path: Path
) -> None:
    """What is padded when packed, or has its own size, is not resized, whatever its size."""
    large = tmp_path / "large.png"
    pixels = np.random.default_rng(0).integers(0, 256, (70, 101, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(large)
    for name in (PAD, "pad-reserved-shift-logits", "own-reserved-whole"):
        predict(name, tmp_path / name, large)
        assert Image.open(tmp_path / name / "large-mask.png").size == (101, 70)


def test_a_folder_stands_for_the_images_in_it(
    finished: Finished, predict: Predict, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    source = finished.folder / "binary" / "images" / "test" / "te0.png"
    for name in ("b.png", "a.PNG", "notes.txt", ".hidden.png", "more/c.png"):
        (folder / name).write_bytes(source.read_bytes())
    said = predict(PAD, tmp_path / "to", folder, folder / "b.png")
    assert f"{folder / 'more'}, {folder / 'notes.txt'}" in said
    masks = sorted(path.name for path in (tmp_path / "to").glob("*-mask.png"))
    assert masks == ["a-mask.png", "b-mask.png"]
    assert said.count("-mask.png") == 2


def test_paths_without_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty" / "test").mkdir(parents=True)
    with pytest.raises(ImBenchError, match=r"empty: has no images .*; it holds test: name"):
        images_in([tmp_path / "empty"])
    with pytest.raises(ImBenchError, match=r"none.png: does not exist"):
        images_in([tmp_path / "none.png"])


def test_nothing_is_overwritten_unasked(
    finished: Finished, predict: Predict, tmp_path: Path
) -> None:
    test, val = (finished.folder / "binary" / "images" / split for split in ("test", "val"))
    twin = tmp_path / "te0.jpg"
    Image.open(test / "te0.png").save(twin)
    name, to = PAD, tmp_path / "to"
    assert "would be written to the same files" in predict(name, to, test, twin, status=2)
    assert "holds the images" in predict(name, val, val, status=2)
    assert not to.exists()
    predict(name, to, val)
    predict(name, to, test)
    assert "te0-mask.png" in (said := predict(name, to, test / "te0.png", status=2))
    assert "--overwrite" in said
    predict(name, to, test / "te0.png", "--overwrite")
    other = predict("resize-binary-whole", to, twin.rename(tmp_path / "new.jpg"), status=2)
    assert f"{to / LEGEND}: belongs to masks of other networks" in other


def test_an_image_that_cannot_be_read_costs_itself_only(
    finished: Finished, predict: Predict, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(finished.folder / "binary" / "images" / "test", photos)
    (photos / "te2.png").write_bytes((photos / "te2.png").read_bytes()[:90])
    said = predict(PAD, tmp_path / "to", photos, status=1)
    assert f"not predicted: {photos / 'te2.png'}" in said
    assert len(list((tmp_path / "to").glob("*-mask.png"))) == 4


@pytest.mark.parametrize(
    ("method", "teachers", "networks", "told"),
    [
        ("ldt", (), 1, False),
        ("pair", (), 2, False),
        ("pair", ("--teachers", "1"), 1, False),
        ("pair", ("--teachers", "3"), 2, True),
    ],
)
def test_an_ensemble_adds_its_disagreement_and_changes_no_mask(
    finished: Finished,
    predict: Predict,
    tmp_path: Path,
    method: str,
    teachers: tuple[str, ...],
    networks: int,
    told: bool,
) -> None:
    images = finished.folder / "binary" / "images" / "test"
    said = predict(PAD, tmp_path, images, *teachers, method=method)
    scored = finished.outcome(PAD, method)["selected"]
    assert scored in said
    assert ("fewer than --teachers 3" in said) == told
    legend = read_json(tmp_path / LEGEND)
    assert len(legend["networks"]) == networks
    assert legend["networks"][0] == scored
    assert bool(list(tmp_path.glob("*-inconsistency.png"))) == (networks > 1)
