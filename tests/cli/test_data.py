"""``im-bench data`` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from im_bench.cli.data import app
from im_bench.errors import ImBenchError


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    result = run("synth", "isic2018", "--root", tmp_path, "--train", 4, "--val", 2, "--test", 2)
    assert result.exit_code == 0, result.output
    return tmp_path


def test_synth_tells_what_it_made(tmp_path: Path) -> None:
    options = ("--train", 10, "--val", 2, "--test", 3, "--size", "40x32")
    result = run("synth", "isic2018", "--root", tmp_path, *options)
    expected = "isic2018-synth: 10 training images (1 labelled), 2 for validation, 3 for the test"
    assert expected in result.output
    assert (tmp_path / "isic2018-synth/dataset.yaml").is_file()


def test_raw_only_is_what_prepare_reads(tmp_path: Path) -> None:
    options = ("--train", 4, "--val", 2, "--test", 2, "--raw-only")
    assert run("synth", "hela", "--root", tmp_path, *options).exit_code == 0
    assert not (tmp_path / "hela-synth").exists()
    raw = tmp_path / "raw/hela-synth"
    result = run("prepare", "hela", "--root", tmp_path, "--source", raw, "--size", "64x64")
    assert result.exit_code == 0, result.output
    assert "hela: 4 training images (1 labelled)" in result.output


def test_check_of_good_data(root: Path) -> None:
    result = run("check", "isic2018-synth", "--root", root)
    assert result.exit_code == 0
    assert "nothing is wrong" in result.output
    assert "lesion" in result.output


def test_check_of_bad_data_exits_with_one(root: Path) -> None:
    victim = next((root / "isic2018-synth/labels/val").iterdir())
    victim.unlink()
    result = run("check", root / "isic2018-synth")
    assert result.exit_code == 1
    assert victim.name.removesuffix(".png") in result.output


def test_check_of_nothing(tmp_path: Path) -> None:
    result = run("check", "nothing", "--root", tmp_path)
    assert isinstance(result.exception, ImBenchError)
    assert "there is no data set at" in str(result.exception)


@pytest.mark.parametrize("size", ["64", "64x", "0x64", "64×64", "-1x5"])
def test_size_that_is_none(size: str, tmp_path: Path) -> None:
    result = run("synth", "suim", "--root", tmp_path, "--size", size)
    assert isinstance(result.exception, ImBenchError)
    assert "WIDTHxHEIGHT" in str(result.exception)


def test_partial_data_need_a_word(root: Path) -> None:
    raw = root / "raw/isic2018-synth"
    refused = run("prepare", "isic2018", "--root", root, "--source", raw)
    assert "--allow-partial" in str(refused.exception)
    accepted = run("prepare", "isic2018", "--root", root, "--source", raw, "--allow-partial")
    assert accepted.exit_code == 0, accepted.output


def test_list_names_all_data_sets() -> None:
    result = run("list")
    assert all(name in result.output for name in ("isic2018", "hela", "suim", "cityscapes"))
