"""Preparation as a whole: archives, counts, resuming, bad input."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from im_bench.data.check import check_folder
from im_bench.data.prepare import prepare
from im_bench.data.synth import PAINTERS, synthesise
from im_bench.errors import ImBenchError

SIZE = (32, 32)
IMAGES = {"train": 6, "val": 3, "test": 3}


@pytest.fixture(scope="session")
def raw_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    for name in PAINTERS:
        synthesise(name, root / name, IMAGES, seed=1, size=SIZE)
    return root


@pytest.fixture
def isic(raw_folders: Path, tmp_path: Path) -> Path:
    """A copy of raw ISIC data that a test may damage."""
    return Path(shutil.copytree(raw_folders / "isic2018", tmp_path / "isic2018"))


def quick(name: str, *sources: Path, root: Path, **options: object) -> Path:
    options = {"size": SIZE, "allow_partial": True, "threads": 1, **options}
    return prepare(name, sources, root=root, **options)  # type: ignore[arg-type]


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, path.relative_to(folder).as_posix())
    return archive


def manifest(folder: Path) -> dict[str, object]:
    return json.loads((folder / "manifest.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", PAINTERS)
def test_prepared_data_pass_the_check(name: str, raw_folders: Path, tmp_path: Path) -> None:
    folder = quick(name, raw_folders / name, root=tmp_path)
    report = check_folder(folder)
    assert report.ok, report.problems
    assert report.sizes == {SIZE: sum(report.counts.values())}
    counts = manifest(folder)["counts"]
    assert isinstance(counts, dict)
    assert report.counts == {split: counts[split] for split in report.counts}
    labelled = (folder / "labelled-10.txt").read_text().split()
    assert len(labelled) == counts["labelled"] > 0


def test_manifest_records_what_was_written(raw_folders: Path, tmp_path: Path) -> None:
    archive = zipped(raw_folders / "isic2018", tmp_path / "raw.zip")
    folder = quick("isic2018", archive, root=tmp_path / "root")
    told = manifest(folder)
    there = {
        path.relative_to(folder).as_posix(): [
            path.stat().st_size,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        ]
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert told["files"] == there
    assert told["sources"] == {"raw.zip": hashlib.sha256(archive.read_bytes()).hexdigest()}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_give_the_same_as_their_folder(
    kind: str, raw_folders: Path, tmp_path: Path
) -> None:
    raw, archive = raw_folders / "suim", tmp_path / f"train_val.{kind}"
    if kind == "zip":
        zipped(raw, archive)
    else:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as file:
            file.add(raw, "SUIM")
    of_archive = quick("suim", archive, root=tmp_path / "a")
    of_folder = quick("suim", raw, root=tmp_path / "b")
    assert manifest(of_archive)["fingerprint"] == manifest(of_folder)["fingerprint"]
    assert not (of_archive / ".extracted").exists()


def test_folder_of_official_archives(raw_folders: Path, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    raw = raw_folders / "suim"
    for part in ("train_val", "TEST"):
        shutil.make_archive(str(tmp_path / "downloads" / part), "zip", raw, part)
    of_archives = quick("suim", tmp_path / "downloads", root=tmp_path / "a")
    of_folder = quick("suim", raw, root=tmp_path / "b")
    assert manifest(of_archives)["fingerprint"] == manifest(of_folder)["fingerprint"]
    assert set(manifest(of_archives)["sources"]) == {"train_val.zip", "TEST.zip"}  # type: ignore[call-overload]


def test_number_of_threads_changes_nothing(raw_folders: Path, tmp_path: Path) -> None:
    one = quick("suim", raw_folders / "suim", root=tmp_path / "a", threads=1)
    four = quick("suim", raw_folders / "suim", root=tmp_path / "b", threads=4)
    assert (one / "manifest.json").read_bytes() == (four / "manifest.json").read_bytes()


def test_preparing_again_changes_nothing(raw_folders: Path, tmp_path: Path) -> None:
    folder = quick("isic2018", raw_folders / "isic2018", root=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert quick("isic2018", raw_folders / "isic2018", root=tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_other_options_in_the_same_folder_are_refused(raw_folders: Path, tmp_path: Path) -> None:
    quick("isic2018", raw_folders / "isic2018", root=tmp_path)
    with pytest.raises(ImBenchError, match=r"with other options: remove the folder"):
        quick("isic2018", raw_folders / "isic2018", root=tmp_path, size=(16, 16))


def test_damage_to_prepared_data_is_noticed(raw_folders: Path, tmp_path: Path) -> None:
    folder = quick("isic2018", raw_folders / "isic2018", root=tmp_path)
    victim = next((folder / "images/train").iterdir())
    victim.write_bytes(b"")
    with pytest.raises(ImBenchError, match=f"{victim.name} is not as it was prepared"):
        quick("isic2018", raw_folders / "isic2018", root=tmp_path)


def test_interrupted_preparation_continues(raw_folders: Path, tmp_path: Path) -> None:
    whole = quick("suim", raw_folders / "suim", root=tmp_path / "whole")

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick("suim", raw_folders / "suim", root=tmp_path / "parts", progress=stop)
    folder = tmp_path / "parts/suim"
    assert not (folder / "manifest.json").exists()
    *_, finished = (folder / ".journal").read_text().splitlines()
    kept = folder / next(iter(json.loads(finished)[2]))
    written = kept.stat().st_mtime_ns
    torn = folder / "images/train/.x.png.1234.tmp"
    torn.write_bytes(b"half")

    quick("suim", raw_folders / "suim", root=tmp_path / "parts")
    assert kept.stat().st_mtime_ns == written
    assert (folder / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == sorted(
        path.relative_to(whole) for path in whole.rglob("*")
    )


def test_killed_preparation_continues(raw_folders: Path, tmp_path: Path) -> None:
    raw = raw_folders / "cityscapes"
    whole = quick("cityscapes", raw, root=tmp_path / "whole")
    script = f"""
        import os, signal
        from pathlib import Path
        from im_bench.data.prepare import prepare
        def kill(done, total):
            if done == 5:
                os.kill(os.getpid(), signal.SIGKILL)
        prepare("cityscapes", [Path({str(raw)!r})], root=Path({str(tmp_path / "killed")!r}),
                size={SIZE}, allow_partial=True, threads=2, progress=kill)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ended.returncode == -signal.SIGKILL
    journal = tmp_path / "killed/cityscapes/.journal"
    assert len(journal.read_text().splitlines()) == 1 + 5
    with journal.open("a") as file:
        file.write('["train/torn", {"images/tr')
    folder = quick("cityscapes", raw, root=tmp_path / "killed")
    assert (folder / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()


def test_files_missing_after_an_interruption_are_made_again(
    raw_folders: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick("isic2018", raw_folders / "isic2018", root=tmp_path, progress=stop)
    for path in (tmp_path / "isic2018/labels").rglob("*.png"):
        path.unlink()
    assert check_folder(quick("isic2018", raw_folders / "isic2018", root=tmp_path)).ok


def test_mended_raw_data_cost_only_what_is_affected(isic: Path, tmp_path: Path) -> None:
    victim = isic / "ISIC2018_Task1-2_Test_Input/ISIC_0200002.jpg"
    content = victim.read_bytes()
    victim.write_bytes(content[:10])
    with pytest.raises(ImBenchError, match=r"ISIC_0200002\.jpg \(10 bytes\) cannot be read"):
        quick("isic2018", isic, root=tmp_path / "root")
    first = tmp_path / "root/isic2018/images/train/ISIC_0000000.png"
    written = first.stat().st_mtime_ns
    victim.write_bytes(content)
    assert check_folder(quick("isic2018", isic, root=tmp_path / "root")).ok
    assert first.stat().st_mtime_ns == written


def test_nothing_is_left_of_an_interrupted_preparation_of_other_data(
    raw_folders: Path, isic: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick("isic2018", raw_folders / "isic2018", root=tmp_path / "root", progress=stop)
    for path in isic.rglob("ISIC_0000001*"):
        path.unlink()
    folder = quick("isic2018", isic, root=tmp_path / "root")
    assert not list(folder.rglob("ISIC_0000001*"))
    assert check_folder(folder).counts["train"] == IMAGES["train"] - 1


def test_folder_with_something_else_is_left_alone(raw_folders: Path, tmp_path: Path) -> None:
    own = tmp_path / "isic2018/images/train/holiday.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(ImBenchError, match="holds files that no preparation has written"):
        quick("isic2018", raw_folders / "isic2018", root=tmp_path)
    assert own.read_bytes() == b"mine"


def test_real_suim_files(shared: Path, tmp_path: Path) -> None:
    images = sorted((shared / "data/suim8/images/test").iterdir())
    for index, image in enumerate(images):
        folder = tmp_path / "raw" / ("TEST" if index < 2 else "train_val")
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder / "images")
        shutil.copy(shared / f"data/suim8/masks/test/{image.stem}.bmp", folder / "masks")
    out = prepare("suim", [tmp_path / "raw"], root=tmp_path / "root", allow_partial=True)
    assert check_folder(out).ok
    assert manifest(out)["counts"] == {"train": 10, "val": 2, "test": 4, "labelled": 2}


def test_labels_of_hela_are_kept_by_crop_and_of_suim_by_image(tmp_path: Path) -> None:
    labelled = {}
    for name in ("hela", "suim"):
        raw = tmp_path / "raw" / name
        synthesise(name, raw, {"train": 12, "val": 2, "test": 1}, seed=1, size=(64, 64))
        folder = quick(name, raw, root=tmp_path)
        labelled[name] = (folder / "labelled-10.txt").read_text().split()
        train = [path.stem for path in (folder / "images/train").iterdir()]
        assert set(labelled[name]) < set(train)
        sources = [stem.rpartition("_")[0] for stem in labelled[name]]
        if name == "hela":
            # Sixteen crops of each photograph; a tenth of them all, from many photographs.
            assert len(train) == 12 * 16
            assert len(sources) == len(train) // 10
            assert len(set(sources)) > 3
        else:
            assert {sources.count(source) for source in sources} == {2}


def test_official_counts_are_required(raw_folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match=r"6 images found where the official data set has 2594"):
        prepare("isic2018", [raw_folders / "isic2018"], root=tmp_path)


def test_too_few_images_for_all_splits(raw_folders: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(raw_folders / "suim", raw)
    for path in sorted(raw.glob("train_val/*/*"))[1:]:
        if "train_00000" not in path.name:
            path.unlink()
    with pytest.raises(ImBenchError, match="no images are left for the train split"):
        quick("suim", raw, root=tmp_path / "root")


def test_unknown_name_is_met_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="did you mean 'cityscapes'"):
        prepare("cityscape", root=tmp_path)


@pytest.mark.parametrize("name", ["hela", "suim", "cityscapes"])
def test_data_sets_without_a_public_address_say_where_to_get_them(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ImBenchError, match=rf"https://.* run: im-bench data prepare {name} --root"):
        prepare(name, root=tmp_path)


def test_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match=r"nowhere\.zip does not exist"):
        quick("isic2018", tmp_path / "nowhere.zip", root=tmp_path)


def test_other_file_instead_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "data.rar").write_bytes(b"Rar!")
    with pytest.raises(ImBenchError, match=r"data\.rar is no archive that can be read"):
        quick("isic2018", tmp_path / "data.rar", root=tmp_path)


def test_sources_without_the_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImBenchError, match=r"no image found, expected files such as ISIC2018_Task"):
        quick("isic2018", tmp_path / "empty", root=tmp_path / "root")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_half_downloaded_archive(kind: str, isic: Path, tmp_path: Path) -> None:
    archive = Path(
        shutil.make_archive(
            str(tmp_path / "half"), "zip" if kind == "zip" else "gztar", root_dir=isic
        )
    )
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImBenchError, match=rf"half\.{kind}.* is not a complete .* download it ag"):
        quick("isic2018", archive, root=tmp_path / "root")


def test_damaged_bytes_inside_an_archive(isic: Path, tmp_path: Path) -> None:
    archive = zipped(isic, tmp_path / "raw.zip")
    content = bytearray(archive.read_bytes())
    content[2000] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(ImBenchError, match=r"raw\.zip .* is not a complete zip archive \(Bad CRC"):
        quick("isic2018", archive, root=tmp_path / "root")


def test_an_encrypted_archive_is_told(isic: Path, tmp_path: Path) -> None:
    archive = zipped(isic, tmp_path / "raw.zip")
    content, at = bytearray(archive.read_bytes()), -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 8] |= 1  # the flag in each entry of the central directory
    archive.write_bytes(content)
    with pytest.raises(ImBenchError, match=r"raw\.zip .*encrypted"):
        quick("isic2018", archive, root=tmp_path / "root")


@pytest.mark.parametrize("member", ["../evil.png", "/etc/evil.png", "a/../../evil", "C:\\evil"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_may_not_leave_their_folder(kind: str, member: str, tmp_path: Path) -> None:
    archive = tmp_path / f"evil.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(zipfile.ZipInfo(member), b"x")
    else:
        with tarfile.open(archive, "w") as file_:
            file_.addfile(tarfile.TarInfo(member))
    with pytest.raises(ImBenchError, match="leads out of the archive's folder"):
        quick("isic2018", archive, root=tmp_path / "deep/root")
    assert not list(tmp_path.rglob("evil.png"))


def test_archives_may_not_hold_links(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as file:
        link = tarfile.TarInfo("images")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        file.addfile(link)
    with pytest.raises(ImBenchError, match="is a link or a device"):
        quick("isic2018", archive, root=tmp_path / "root")


def test_checksum_that_differs(isic: Path, tmp_path: Path) -> None:
    archive = zipped(isic, tmp_path / "ISIC2018_Task1-2_Training_Input.zip")
    with pytest.raises(ImBenchError, match=r"has the sha256 \w+ where 80f98572\w+ is expected"):
        quick("isic2018", archive, root=tmp_path / "root")


def test_checksum_that_is_given(isic: Path, tmp_path: Path) -> None:
    archive = zipped(isic, tmp_path / "ISIC2018_Task1-2_Training_Input.zip")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert quick("isic2018", archive, root=tmp_path / "root", sha256=[digest]).is_dir()
    with pytest.raises(ImBenchError, match="is expected"):
        quick("isic2018", archive, root=tmp_path / "other", sha256=["0" * 64])
    with pytest.raises(ImBenchError, match="2 checksums are given for 1 archives"):
        quick("isic2018", archive, root=tmp_path / "other", sha256=[digest, digest])


def test_unreadable_image(isic: Path, tmp_path: Path) -> None:
    victim = isic / "ISIC2018_Task1-2_Training_Input/ISIC_0000002.jpg"
    victim.write_bytes(victim.read_bytes()[:20])
    with pytest.raises(ImBenchError, match=r"ISIC_0000002\.jpg \(20 bytes\) cannot be read"):
        quick("isic2018", isic, root=tmp_path / "root")


def test_missing_mask(isic: Path, tmp_path: Path) -> None:
    (isic / "ISIC2018_Task1_Training_GroundTruth/ISIC_0000002_segmentation.png").unlink()
    with pytest.raises(ImBenchError, match=r"1 of 6 images have no mask, .*ISIC_0000002\.jpg"):
        prepare("isic2018", [isic], root=tmp_path / "root", size=SIZE)
    folder = quick("isic2018", isic, root=tmp_path / "root")
    assert not (folder / "images/train/ISIC_0000002.png").exists()


def test_mask_of_another_size(isic: Path, tmp_path: Path) -> None:
    mask = isic / "ISIC2018_Task1_Training_GroundTruth/ISIC_0000002_segmentation.png"
    cv2.imwrite(str(mask), np.zeros((16, 24), np.uint8))
    with pytest.raises(ImBenchError, match=r"ISIC_0000002_segmentation\.png has 24x16 pixels"):
        quick("isic2018", isic, root=tmp_path / "root")


def test_same_image_twice(isic: Path, tmp_path: Path) -> None:
    shutil.copytree(isic / "ISIC2018_Task1-2_Test_Input", isic / "b/ISIC2018_Task1-2_Test_Input")
    with pytest.raises(ImBenchError, match="occurs twice in the raw data"):
        quick("isic2018", isic, root=tmp_path / "root")


def test_prepared_data_do_not_go_into_the_raw_data(isic: Path) -> None:
    with pytest.raises(ImBenchError, match="holds the raw data"):
        quick("isic2018", isic, root=isic.parent)


def test_folder_that_cannot_be_written(raw_folders: Path, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file where the folder should be")
    with pytest.raises(ImBenchError, match=r"root.* cannot be read or written \(Not a directory\)"):
        quick("isic2018", raw_folders / "isic2018", root=tmp_path / "root")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX resource limits")
def test_full_disk(raw_folders: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the same kind of OSError."""
    raw = raw_folders / "isic2018"
    script = f"""
        import resource
        from pathlib import Path
        from im_bench.data.prepare import prepare
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        prepare("isic2018", [Path({str(raw)!r})], root=Path({str(tmp_path)!r}),
                size={SIZE}, allow_partial=True, threads=1)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "ImBenchError: there is no room left to write" in ended.stderr
    assert check_folder(quick("isic2018", raw, root=tmp_path)).ok


def test_suim_mask_of_another_size_is_fitted(raw_folders: Path, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(raw_folders / "suim", tmp_path / "raw"))
    path = raw / "TEST/masks/test_00000.bmp"
    mask = cv2.imread(str(path))
    assert mask is not None
    cv2.imwrite(str(path), mask.repeat(2, axis=0).repeat(2, axis=1))
    fitted = quick("suim", raw, root=tmp_path / "a")
    plain = quick("suim", raw_folders / "suim", root=tmp_path / "b")
    assert manifest(fitted)["fingerprint"] == manifest(plain)["fingerprint"]
