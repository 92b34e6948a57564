"""Volumes of electron microscopy, in both forms in which they are published."""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from im_bench.data.check import check_folder
from im_bench.data.prepare import mitochondria, prepare
from im_bench.data.prepare.recipe import find_samples
from im_bench.data.prepare.sources import open_raw
from im_bench.data.prepare.volumes import with_slices
from im_bench.errors import ImBenchError

SLICES = 23
SIZE = (40, 32)


def volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return grey slices and masks of 0/255; the slices hold their own number."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (SLICES, SIZE[1], SIZE[0]), np.uint8)
    images[:, 0, 0] = np.arange(SLICES)
    masks = 255 * (rng.random(images.shape) < 0.2).astype(np.uint8)
    masks[3] = 0  # without mitochondria
    return images, masks


def write_tiff(path: Path, slices: np.ndarray, **options: object) -> None:
    pages = [Image.fromarray(each) for each in slices]
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)


@pytest.fixture
def tiffs(tmp_path: Path) -> Path:
    folder = tmp_path / "epfl"
    folder.mkdir()
    for seed, name in enumerate(("training", "testing")):
        images, masks = volume(seed)
        write_tiff(folder / f"{name}.tif", images)
        write_tiff(folder / f"{name}_groundtruth.tif", masks, compression="tiff_lzw")
    # The whole stack lies beside them, without labels: it is not looked at.
    (folder / "volumedata.tif").write_bytes(b"gigabytes")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "Lucchi++"
    for seed, name in enumerate(("Train", "Test")):
        images, masks = volume(seed)
        for part in ("In", "Out"):
            (root / f"{name}_{part}").mkdir(parents=True)
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            cv2.imwrite(str(root / f"{name}_In/mask{number:04d}.png"), image)
            colours = cv2.cvtColor(mask, cv2.COLOR_GRAY2BGRA)
            colours[..., 3] = 255
            cv2.imwrite(str(root / f"{name}_Out/{number}.png"), colours)
    return root


def quick(*sources: Path, root: Path, **options: object) -> Path:
    options = {"allow_partial": True, "threads": 2, **options}
    return prepare("mitochondria", sources, root=root, **options)  # type: ignore[arg-type]


def pixels(folder: Path, kind: str, split: str) -> dict[str, np.ndarray]:
    return {
        path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        for path in sorted((folder / kind / split).glob("*.png"))
    }


def test_slices_are_written_as_they_are(tiffs: Path, tmp_path: Path) -> None:
    folder = quick(tiffs, root=tmp_path / "root")
    report = check_folder(folder)
    assert report.ok, report.problems
    assert report.counts == {"train": 20, "val": 3, "test": 23}
    images, masks = volume(1)
    for number, image in enumerate(pixels(folder, "images", "test").values()):
        assert (image == images[number]).all()
    for number, label in enumerate(pixels(folder, "labels", "test").values()):
        assert (label == (masks[number] == 255)).all()


def test_validation_is_the_end_of_the_training_volume(tiffs: Path, tmp_path: Path) -> None:
    folder = quick(tiffs, root=tmp_path / "root")
    val = pixels(folder, "images", "val")
    assert list(val) == ["0020", "0021", "0022"]
    assert [int(image[0, 0]) for image in val.values()] == [20, 21, 22]
    assert list(pixels(folder, "images", "train"))[:11][-1] == "0010"
    labelled = (folder / "labelled-10.txt").read_text().split()
    assert len(labelled) == 2
    assert set(labelled) <= set(pixels(folder, "images", "train"))


def test_volumes_folders_and_archives_give_the_same(
    tiffs: Path, folders: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "both.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(tiffs.glob("t*.tif")):
            file.write(path, f"data/{path.name}")
    prepared = [
        quick(source, root=tmp_path / str(number))
        for number, source in enumerate((tiffs, folders, archive))
    ]
    prints = [json.loads((each / "manifest.json").read_text())["fingerprint"] for each in prepared]
    assert len(set(prints)) == 1


def test_two_forms_at_once_are_refused(tiffs: Path, folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="occurs twice in the raw data"):
        quick(tiffs, folders, root=tmp_path / "root")


def test_masks_of_0_and_1_are_known() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    mask = np.eye(4, dtype=np.uint8)
    for white in (1, 255):
        (piece,) = mitochondria.convert(image, [white * mask], "train", None, None)  # type: ignore[arg-type]
        assert (piece.label == mask).all()


def test_a_smaller_size_keeps_labels_hard(tiffs: Path, tmp_path: Path) -> None:
    folder = quick(tiffs, root=tmp_path / "root", size=(20, 16))
    for kind in ("images", "labels"):
        assert {each.shape for each in pixels(folder, kind, "test").values()} == {(16, 20)}
    assert {v for each in pixels(folder, "labels", "test").values() for v in np.unique(each)} == {
        0,
        1,
    }


def test_the_official_number_of_slices_is_asked_for(tiffs: Path, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match=r"23 images found where the official data set has 165"):
        quick(tiffs, root=tmp_path / "root", allow_partial=False)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", r"training\.tif \(0 bytes\) is no readable TIFF volume"),
        (lambda content: b"PNG" + content, "is no readable TIFF volume"),
        (lambda content: content[:200], r"training\.tif.*get (it|the file) again"),
    ],
)
def test_a_damaged_volume_is_said(tiffs: Path, tmp_path: Path, damage, message: str) -> None:
    path = tiffs / "training.tif"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ImBenchError, match=message):
        quick(tiffs, root=tmp_path / "root")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.filterwarnings("ignore:Truncated File")
def test_wherever_a_volume_is_cut_off_it_is_noticed(tiffs: Path, tmp_path: Path) -> None:
    path = tiffs / "training_groundtruth.tif"
    content = path.read_bytes()
    assert readable_slices(path) == SLICES
    for size in (*range(0, 60, 7), *range(60, len(content), len(content) // 40)):
        path.write_bytes(content[:size])
        # Fewer of them are images without masks, which preparation refuses.
        assert readable_slices(path) < SLICES


def readable_slices(path: Path) -> int:
    """Return how many slices of a volume can be read, up to the first that is said to be bad."""
    count = 0
    with open_raw([path.parent], path.parent) as files, suppress(ImBenchError):
        raw = with_slices(files, str(mitochondria.RECIPE.volumes))
        for each in raw.paths:
            if each.startswith(path.name):
                raw.read(each)
                count += 1
    return count


def test_a_volume_without_labels_is_said(tiffs: Path, tmp_path: Path) -> None:
    (tiffs / "training_groundtruth.tif").unlink()
    with pytest.raises(ImBenchError, match="23 of 23 images have no mask"):
        quick(tiffs, root=tmp_path / "root", allow_partial=False)


def test_nothing_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(ImBenchError, match=r"expected files such as Train_In/mask0000\.png"):
        quick(tmp_path / "raw", root=tmp_path / "root")


def test_official_names_are_found() -> None:
    paths = [
        f"Lucchi++/{path}"
        for part in ("Train", "Test")
        for number in range(165)
        for path in (f"{part}_In/mask{number:04d}.png", f"{part}_Out/{number}.png")
    ]
    divided = mitochondria.divide(find_samples(mitochondria.RECIPE, paths, False))
    assert {split: len(some) for split, some in divided.items()} == {
        "train": 148,
        "val": 17,
        "test": 165,
    }
    assert divided["val"][-1].masks == ("Lucchi++/Train_Out/164.png",)
    assert mitochondria.RECIPE.labelled_count(148) == 14
