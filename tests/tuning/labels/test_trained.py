"""From a suite to a front: networks are trained, predict, and are searched on."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
import yaml

from im_bench.data.arrays import read_meta
from im_bench.files import write_json
from im_bench.planning.plan import Plan, make_plan
from im_bench.runner.job import Job, Settings
from im_bench.schedules.registry import schedule_class
from im_bench.stages.pseudo_label import label
from im_bench.suites.experiment import Experiment
from im_bench.suites.graph import Stage
from im_bench.suites.recipes import RECIPES
from im_bench.training.inference import load_model
from im_bench.tuning.labels.declaration import label_space, predict_stage
from im_bench.tuning.labels.search import tune_labels

from .conftest import best, front_of

METHOD = {"members": 3, "students": 3, "generations": 1}
SUITE = {
    "name": "tiny",
    "training": {"batch": 4, "validations": 2},
    "budget": "equal",
    "budgets": {"equal": {"iterations": 20}},
    "data": {
        "lesions": {
            "synth": {"like": "isic2018", "train": 16, "val": 6, "test": 2},
            "size": [32, 32],
            "labelled": 0.5,
            "model": {"width": 0.25, "norm_momentum": 0.1},
        }
    },
    "methods": {"im": METHOD},
}


def done(plan: Plan, stage: Stage, out: Path) -> Path:
    """Run a stage and all that it requires in this process; return its folder."""
    for each in plan.closure([stage.key]):
        folder = out / each.folder
        inputs = {
            role: [out / plan.graph[key].folder for key in keys]
            for role, keys in each.inputs.items()
        }
        write_json(folder / "stage.json", {"kind": each.kind, "config": dict(each.config)})
        module, _, function = RECIPES[each.kind].target.partition(":")
        job = Job(folder, each.config, inputs, Settings(device="cpu"), each.paths)
        outcome: Any = getattr(import_module(module), function)(job)
        write_json(folder / "result.json", {"outcome": outcome})
    return out / stage.folder


def test_a_search_on_trained_networks_scores_the_labels_that_they_would_make(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(SUITE))
    plan = make_plan(path, tmp_path, tmp_path / "data")
    data = next(stage for stage in plan.graph if stage.kind == "data")
    spec = plan.suite.data["lesions"]
    experiment = Experiment(plan.graph, plan.suite, plan.budget, "lesions", data, spec, 9)
    method = schedule_class("im")(**METHOD)
    space = label_space(method)
    stage = predict_stage("im", method, experiment, space)
    predictions = done(plan, stage, tmp_path / "stages")

    arrays = tmp_path / "stages" / data.folder / "arrays"
    study = optuna.create_study(directions=["maximize"] * 2)
    tune_labels(study, space, arrays, predictions, method.label_fields(), 500, "cpu")
    assert len(study.trials) == 2 * 3 * 3 * 3, "all that there are"
    assert best(study) in front_of(study)
    assert any(trial.values[1] for trial in study.trials), "some filter keeps some image"

    meta = read_meta(arrays)
    folders = [tmp_path / "stages" / plan.graph[key].folder for key in stage.inputs["candidates"]]
    by_name = {folder.name: folder for folder in folders}
    networks = yaml.safe_load((predictions / "predictions.json").read_text())["networks"]
    teachers = [load_model(by_name[name], arrays, "cpu") for name in networks]
    images = torch.from_numpy(np.load(arrays / "val_images.npy"))
    truth = torch.from_numpy(np.load(arrays / "val_labels.npy"))
    for trial in study.trials[::7]:
        config = {**method.labelling(), **trial.params}
        made, _ = label(images, teachers[: config["teachers"]], config, meta)
        kept = (truth != 255) & ~made.inconsistent & made.keep[:, None, None]
        coverage = kept.sum() / (truth != 255).sum()
        # Where float16 rounds a probability to one half, a label may be another.
        assert trial.values[1] == pytest.approx(float(coverage), abs=0.01)
        if kept.any():
            accuracy = (made.labels == truth)[kept].double().mean()
            assert trial.user_attrs["accuracy"] == pytest.approx(float(accuracy), abs=0.01)
