"""``docs/coverage.md``: current, and right about what runs and what was measured."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
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


FROM_SCRATCH = {
    "method": "im",
    "data": "hela",
    "family": "random",
    "split": "1/10",
    "metric": "mcce",
    "unit": "cells",
    "backbone": "1x1 U-Net",
}


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
        ({"metric": "dice"}, "other protocol: metric dice, not miou_dataset"),
        ({"method": "supervised", "split": "all"}, "other protocol: all labels, not some"),
        ({**FROM_SCRATCH, "generation": "2"}, "other protocol: generation 2, not the last one"),
        ({**FROM_SCRATCH, "metric": "miou_ad"}, "other protocol: metric miou_ad, not mcce"),
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

    assert ("cityscapes", "cityscapes-1-8") in [(suite, cell.data) for suite, cell in found]
    assert not why


def test_the_last_generation_is_the_one_that_is_comparable(coverage: ModuleType) -> None:
    found, _ = coverage.runs_of(coverage.read_known(), number(**FROM_SCRATCH, generation="5"))

    assert [(suite, cell.data) for suite, cell in found] == [("from-scratch", "hela")]


def test_a_line_has_the_configs_of_its_own_splits(coverage: ModuleType) -> None:
    known = coverage.read_known()

    def configs(*splits: str) -> list[str]:
        found: list[str] = coverage.configs_of(known, "u2pl", "ResNet-50", "pascal", splits)
        return found

    assert configs("92", "183") == ["u2pl/u2pl_r50_voc_183.py", "u2pl/u2pl_r50_voc_92.py"]
    assert configs("1/8") == ["u2pl/u2pl_r50_voc_1-8.py"]
    assert not configs("all")


def test_numbers_that_differ_in_more_than_their_split_have_lines_of_their_own(
    coverage: ModuleType,
) -> None:
    numbers = [number(), number(split="1/4"), number(selection="last epoch"), number(metric="dice")]
    text = coverage.page(coverage.read_known(), numbers)

    assert (
        "| miou_dataset, 1/8: 70, 1/4: 70 % | `cityscapes` cityscapes-1-8, cityscapes-1-4 |" in text
    )
    assert "| `u2pl`, last epoch | miou_dataset, 1/8: 70 % | `cityscapes` cityscapes-1-8 |" in text
    assert "Of 4 reported numbers, 3 have" in text
    assert "| other protocol | 1 |" in text


def test_a_result_of_the_suite_stands_beside_the_number(
    coverage: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "cityscapes.md"
    file.write_text("| method | cityscapes 1/8 ↑ |\n| --- | ---: |\n| U2PL | 74.0 ± 0.3 |\n")
    known = coverage.read_known()
    assert "not measured" in coverage.page(known, [number()])

    known = replace(known, measured=coverage.measured_in([file]))
    text = coverage.page(known, [number()])

    assert "| cityscapes 1/8 74.0 ± 0.3 ([cityscapes.md]" in text
    assert "not measured" not in text


def test_every_method_is_on_the_page_with_its_recordings(coverage: ModuleType) -> None:
    known = coverage.read_known()
    text = coverage.page(known, [])

    assert all(f"### `{name}`:" in text for name in BUILT_IN)
    for name in ("daw", "rankmatch", "unimatch-v2", "imas", "im"):
        assert coverage.recordings_of(known, name), name
    given = {one for names in known.recordings.values() for one in names}
    shown = {one for name in BUILT_IN for one in coverage.recordings_of(known, name)}
    assert shown == given


def test_results_are_read_from_the_files_that_have_them(
    coverage: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "some.md"
    file.write_text(
        "# Some\n\n## Equal budget: 600\n\n"
        "| method | nuclei<br>IoU % ↑ | em<br>mIoU % ↑ | + IM | kept |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| FixMatch | **74.3 ± 1.2** | failed | 9.1 | 80 % |\n| *with all labels* |  |  |  |  |\n\n"
        "| suite | seconds |\n| --- | --- |\n| x | 3 |\n"
    )

    assert coverage.measured_in([file]) == {
        "FixMatch": [("some.md", "Equal budget", "nuclei IoU %", "74.3 ± 1.2")],
        "FixMatch + IM": [("some.md", "Equal budget", "em mIoU %", "9.1")],
    }
    real = coverage.measured_in((ROOT / "benchmarks" / "results").glob("*.md"))
    assert any(file == "real-small.md" for file, *_ in real["Inconsistency Masks (IM)"])
