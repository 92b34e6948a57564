"""The example of a data set in a package of its own, installed as its README says."""

from __future__ import annotations

from .conftest import EXAMPLES


def test_example_is_prepared_and_trained_on(install, shorter):
    suite = shorter("tiny_dataset", "tiny.yaml", "iterations: 60")
    im_bench = install("tiny_dataset")
    im_bench(str(EXAMPLES / "tiny_dataset" / "tiny_dataset.py"), "raw")
    assert "Bright discs on a dark ground" in im_bench("data", "list")
    said = im_bench("data", "prepare", "tiny", "--root", "data", "--source", "raw")
    assert "24 training images (2 labelled), 8 for validation, 8 for the test" in said
    im_bench("data", "check", "data/tiny")
    said = im_bench("run", "--suite", str(suite), "--no-tracking")
    assert "IoU % ↑" in said
    assert "10 of 10" not in said
    assert "FixMatch" in said


def test_without_the_package_the_sentence_names_what_there_is(install):
    said = install("echo_engine")("data", "prepare", "tiny", "--root", "data", code=2)
    assert "unknown data set 'tiny'" in said
    assert "isic2018" in said
