"""``docs/coverage.md``: current, and right about what runs and what was measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from im_bench.methods.registry import BUILT_IN
from im_bench.report.reference import ReportedNumber, load_references

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    path = ROOT / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for their types
    spec.loader.exec_module(module)
    return module


def number(**fields: object) -> ReportedNumber:
    usual: dict[str, object] = {
        "method": "u2pl",
        "data": "cityscapes",
        "family": "u2pl",
        "split": "1/8",
        "metric": "miou_dataset",
        "value": 70.0,
        "unit": "%",
        "backbone": "ResNet-50",
        "source": "a paper",
        "url": "https://example.org",
    }
    return ReportedNumber.model_validate({**usual, **fields})


def test_the_committed_page_is_what_the_command_writes(coverage: ModuleType) -> None:
    written = coverage.page(coverage.read_known(), load_references())

    assert coverage.PAGE.read_text(encoding="utf-8") == written, (
        f"docs/coverage.md is out of date: run `{coverage.COMMAND}`"
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"method": "nobody"}, "method not in im-bench"),
        ({"variant": "without contrast"}, "variant: without contrast"),
        ({"data": "moon"}, "no suite has it on moon"),
        ({"backbone": "ResNet-18"}, "other protocol: backbone ResNet-18, not ResNet-50"),
        ({"split": "1/3"}, "split 1/3"),
    ],
)
def test_a_number_that_no_cell_is_comparable_to_has_a_reason(
    coverage: ModuleType, fields: dict[str, str], reason: str
) -> None:
    found, why = coverage.runs_of(coverage.read_known(), number(**fields))

    assert not found
    assert reason in why


def test_a_number_is_found_in_the_suites_that_run_it(coverage: ModuleType) -> None:
    found, why = coverage.runs_of(coverage.read_known(), number(method="u2pl+im"))

    assert ("cityscapes", "cityscapes-1-8") in found
    assert not why


def test_every_method_is_on_the_page_with_its_recordings(coverage: ModuleType) -> None:
    known = coverage.read_known()
    text = coverage.page(known, [])

    assert all(f"### `{name}`:" in text for name in BUILT_IN)
    for name in ("daw", "rankmatch", "unimatch-v2", "imas", "im"):
        assert coverage.recordings_of(known, name), name


def test_results_are_read_from_the_files_that_have_them(
    coverage: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "some.md"
    file.write_text(
        "# Some\n\n| method | nuclei<br>IoU % ↑ | em<br>mIoU % ↑ |\n| --- | ---: | ---: |\n"
        "| FixMatch | **74.3 ± 1.2** | failed |\n| *with all labels* |  |  |\n\n"
        "| suite | seconds |\n| --- | --- |\n| x | 3 |\n"
    )

    assert coverage.measured_in([file]) == {
        "FixMatch": [("some.md", "nuclei IoU % ↑", "74.3 ± 1.2")]
    }
    real = coverage.measured_in((ROOT / "benchmarks" / "results").glob("*.md"))
    assert any(file == "real-small.md" for file, *_ in real["Inconsistency Masks (IM)"])
