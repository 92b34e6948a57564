"""The synthetic data sets: layouts, determinism, what the labels mean."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from im_bench.data.check import check_folder
from im_bench.data.prepare import find_recipe
from im_bench.data.prepare.recipe import find_samples
from im_bench.data.synth import PAINTERS, cityscapes, hela, isic2018, make, suim, synthesise
from im_bench.data.synth.canvas import fractal, generator, outline, polygon
from im_bench.errors import ImBenchError

IMAGES = {"train": 3, "val": 2, "test": 2}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", PAINTERS)
def test_raw_layout_is_the_official_one(name: str, tmp_path: Path) -> None:
    synthesise(name, tmp_path, IMAGES, seed=0, size=(48, 40))
    found = find_samples(find_recipe(name), sorted(files(tmp_path)), allow_partial=True)
    used = {path for some in found.values() for s in some for path in (s.image, *s.masks)}
    assert used == set(files(tmp_path))
    assert sum(map(len, found.values())) == sum(IMAGES.values())
    for path in tmp_path.rglob("*.*"):
        pixels = cv2.imread(str(path))
        assert pixels is not None
        assert pixels.shape == ((60, 72, 3) if name == "suim" else (40, 48, 3))


@pytest.mark.parametrize("name", PAINTERS)
def test_drawing_depends_on_seed_split_and_number_only(name: str, tmp_path: Path) -> None:
    synthesise(name, tmp_path / "few", {"train": 1, "val": 1}, seed=0, size=(48, 48))
    synthesise(name, tmp_path / "many", IMAGES, seed=0, size=(48, 48))
    synthesise(name, tmp_path / "other", IMAGES, seed=1, size=(48, 48))
    few, many, other = (files(tmp_path / kind) for kind in ("few", "many", "other"))
    assert few.items() <= many.items()
    assert many.keys() == other.keys()
    first, _ = PAINTERS[name].paths("train", 0)
    assert many[first] != other[first]


@pytest.mark.parametrize("name", PAINTERS)
def test_no_two_images_are_alike(name: str) -> None:
    painter = PAINTERS[name]
    images = [
        painter.draw(generator(0, split, index), (48, 48))[0]
        for split in IMAGES
        for index in range(4)
    ]
    assert len({image.tobytes() for image in images}) == len(images)
    assert min(float(image.std()) for image in images) > 1


def test_lesions_are_one_binary_mask() -> None:
    for index in range(20):
        image, (mask,) = isic2018.draw(generator(0, "train", index), (64, 64))
        assert image.shape == (64, 64, 3)
        assert set(np.unique(mask)) == {0, 255}


def test_cells_have_positions_of_the_right_size() -> None:
    overlapping = 0
    for index in range(10):
        _, (alive, dead, position) = hela.draw(generator(0, "train", index), (96, 96))
        cells = (alive > 0) | (dead > 0)
        count, _, stats, centres = cv2.connectedComponentsWithStats(position)
        assert count > 1
        inside = centres[1:].round().astype(int)
        assert cells[inside[:, 1], inside[:, 0]].mean() > 0.9
        assert stats[1:, cv2.CC_STAT_WIDTH].max() <= 2 * 8 + 1
        assert cKDTree(centres[1:]).query(centres[1:], k=2)[0][:, 1].min() > 6
        overlapping += int(((alive > 0) & (dead > 0)).any())
    assert overlapping > 0


def test_reefs_show_all_classes() -> None:
    seen: set[int] = set()
    for index in range(40):
        _, (mask,) = suim.draw(generator(0, "train", index), (64, 64))
        assert set(np.unique(mask)) <= {0, 255}
        seen |= set(np.unique((mask > 0) @ np.array([1, 2, 4])).tolist())
    assert seen == set(range(8))


def test_streets_use_the_official_label_ids() -> None:
    seen: set[int] = set()
    for index in range(40):
        _, (ids,) = cityscapes.draw(generator(0, "train", index), (128, 64))
        seen |= set(np.unique(ids).tolist())
    names = {cityscapes_class(value) for value in seen}
    assert names >= {"road", "sidewalk", "building", "sky", "car", "person", "vegetation", "pole"}
    assert max(seen) <= 33


def cityscapes_class(value: int) -> str:
    classes = find_recipe("cityscapes").description["classes"]
    return str(classes[value])


@pytest.mark.parametrize("name", PAINTERS)
def test_make_prepares_and_keeps_what_is_there(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path, IMAGES, seed=3, size=(32, 32))
    assert folder == tmp_path / f"{name}-synth"
    assert check_folder(folder).ok
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    make(name, tmp_path, IMAGES, seed=3, size=(32, 32))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_make_refuses_to_replace_other_synthetic_data(tmp_path: Path) -> None:
    make("isic2018", tmp_path, IMAGES, seed=3, size=(32, 32))
    with pytest.raises(ImBenchError, match="prepared from other raw data"):
        make("isic2018", tmp_path, IMAGES, seed=4, size=(32, 32))


def test_unknown_name_and_too_small_size(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="did you mean 'suim'"):
        synthesise("suimm", tmp_path, IMAGES, seed=0, size=(64, 64))
    with pytest.raises(ImBenchError, match="16x64 pixels are too small to draw suim"):
        synthesise("suim", tmp_path, IMAGES, seed=0, size=(16, 64))


def test_fractal_noise_is_centred_and_bounded() -> None:
    noise = np.stack([fractal(np.random.default_rng(i), (64, 48), 6) for i in range(20)])
    assert noise.shape == (20, 48, 64)
    assert abs(noise.mean()) < 0.05
    assert np.abs(noise).max() < 2


def test_outline_has_the_area_of_its_radius() -> None:
    shape = outline(np.random.default_rng(0), (50, 50), 20, stretch=2, roughness=0)
    assert polygon((100, 100), shape).sum() == pytest.approx(np.pi * 20**2, rel=0.06)
