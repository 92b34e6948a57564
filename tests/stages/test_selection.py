from __future__ import annotations

from pathlib import Path

import pytest

from im_bench.files import write_json
from im_bench.stages import evaluate
from im_bench.stages.selection import best_by_validation

from .conftest import FinishedTraining, MakeJob


def test_the_best_come_first_and_the_earlier_of_equals(finished_training: FinishedTraining) -> None:
    a, b, c, d = (
        finished_training(name, iou=value)
        for name, value in {"a": 0.3, "b": 0.5, "c": 0.5, "d": 0.4}.items()
    )
    assert best_by_validation([a, b, c, d], "iou", 3) == [b, c, d]
    assert best_by_validation([c, b], "iou", 1) == [c]


def test_few_miscounted_cells_are_better_than_many(finished_training: FinishedTraining) -> None:
    many, few = finished_training("many", mcce=9.0), finished_training("few", mcce=2.0)
    assert best_by_validation([many, few], "mcce", 1) == [few]


@pytest.mark.parametrize(("report", "chosen"), [("last", 2), ("best", 1)])
def test_validation_chooses_and_each_choice_is_tested_once(
    report: str,
    chosen: int,
    finished_training: FinishedTraining,
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Test scores run against those of validation: whoever looked at them would choose otherwise.
    val = {"g1-a": 0.8, "g1-b": 0.3, "g2-a": 0.4, "g2-b": 0.5}
    folders = {name: finished_training(name, iou=score) for name, score in val.items()}
    labels = tmp_path / "labels"
    write_json(labels / "result.json", {"outcome": {"images_kept": 0.25, "pixels_kept": 0.5}})
    scored: list[tuple[str, str]] = []

    def score(model: Path, data: Path, part: str) -> dict[str, float]:
        scored.append((model.name, part))
        return {"iou": 1 - val[model.name]}

    monkeypatch.setattr(evaluate, "load_model", lambda folder, data, device: folder)
    monkeypatch.setattr(evaluate, "score", score)
    outcome = evaluate.run(
        make_job(
            {"report": report},
            {
                "generation-1": [folders["g1-a"], folders["g1-b"]],
                "generation-2": [folders["g2-a"], folders["g2-b"]],
                "labels-2": [labels],
            },
        )
    )
    assert scored == [("g1-a", "test"), ("g2-b", "test")]
    assert outcome["selected_generation"] == chosen
    assert outcome["test"] == outcome["generations"][chosen - 1]["test"]
    assert "images_kept" not in outcome["generations"][0]
    assert outcome["generations"][1]["images_kept"] == 0.25


@pytest.mark.parametrize(("report", "chosen"), [("last", 2), ("best", 1)])
def test_scores_of_a_search_read_no_test_image(
    report: str,
    chosen: int,
    finished_training: FinishedTraining,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The data stage has no test arrays here, and the trainings have no networks."""
    val = {"g1-a": 0.8, "g1-b": 0.3, "g2-a": 0.4, "g2-b": 0.5}
    folders = {name: finished_training(name, iou=score) for name, score in val.items()}
    read: list[str] = []
    monkeypatch.setattr(evaluate, "score", lambda *_: read.append("test"))
    outcome = evaluate.run(
        make_job(
            {"report": report, "part": "val"},
            {
                "generation-1": [folders["g1-a"], folders["g1-b"]],
                "generation-2": [folders["g2-a"], folders["g2-b"]],
            },
        )
    )
    assert not read
    assert outcome["part"] == "val"
    assert outcome["selected_generation"] == chosen
    assert outcome["val"] == {"iou": 0.8 if chosen == 1 else 0.5}
    assert "test" not in str(outcome)
