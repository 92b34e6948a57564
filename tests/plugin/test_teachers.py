"""Ensembles: what they are made of, what they say, and what survives a stop."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from im_bench.errors import ImBenchError
from im_bench.plugin import CheckpointTeachers, EmaTeachers, SnapshotTeachers
from im_bench.plugin.networks import Student

from .trainings import (
    CLASSES,
    CUSTOM,
    DEEPLABV3PLUS,
    PREPROCESSOR,
    PSPNET,
    SEGFORMER,
    SIZE,
    built,
    checkpoint,
    model_config,
)


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def changed(student: Student, value: float) -> None:
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.fill_(value)


def parameter(teacher) -> float:
    return float(next(teacher.network.parameters()).flatten()[0])


def test_heterogeneous_teachers_say_what_each_would_say_alone(tmp_path: Path):
    kinds = [SEGFORMER, DEEPLABV3PLUS, PSPNET]
    files = [checkpoint(tmp_path / f"{seed}.pth", kind, seed) for seed, kind in enumerate(kinds)]
    own = {**PREPROCESSOR, "mean": [0, 0, 0], "std": [255, 255, 255], "bgr_to_rgb": False}
    models = [model_config(kind) for kind in kinds]
    models[1]["data_preprocessor"] = own
    ensemble = CheckpointTeachers(files, models)
    student = Student.of(built(CUSTOM))
    ensemble.prepare(student)
    unit = images()
    labels = ensemble.labels(unit, student.normalisation(unit))
    assert labels.shape == (3, 2, SIZE, SIZE)
    assert labels.dtype == torch.uint8
    for seed, kind in enumerate(kinds):
        alone = built(kind, seed, data_preprocessor=models[seed]["data_preprocessor"]).eval()
        # As loaded: BGR, in 0..255. The student, and so the ensemble, works on RGB.
        raw = {"inputs": list(unit.flip(1) * 255)}
        with torch.no_grad():
            expected = alone.predict(alone.data_preprocessor(raw)["inputs"])
        said = torch.cat([sample.pred_sem_seg.data for sample in expected])
        assert (labels[seed] == said).float().mean() > 0.999  # rounding in the normalisation


def test_teachers_may_stand_in_checkpoints_of_mmengine(tmp_path: Path):
    model = built(CUSTOM, 1)
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save(
        {
            "state_dict": {f"module.{key}": each for key, each in model.state_dict().items()},
            "message_hub": {"log_scalars": {"train/loss": history}},
            "meta": {"iter": 2},
        },
        tmp_path / "mmengine.pth",
    )
    semi = {f"student.{key}": each for key, each in model.state_dict().items()}
    semi |= {f"companion.{key}": each for key, each in built(CUSTOM, 2).state_dict().items()}
    torch.save({"state_dict": semi}, tmp_path / "semi.pth")
    files = [str(tmp_path / "mmengine.pth"), str(tmp_path / "semi.pth")]
    torch.save({"state_dict": semi, "meta": {"iter": 3}}, tmp_path / "later.pth")
    student = Student.of(built(CUSTOM))
    for part, expected in (("student", model), ("companion", built(CUSTOM, 2))):
        ensemble = CheckpointTeachers([files[1], str(tmp_path / "later.pth")], part=part)
        ensemble.prepare(student)
        for mine, theirs in zip(
            ensemble.teachers[0].network.parameters(), expected.parameters(), strict=True
        ):
            assert torch.equal(mine, theirs)
    ensemble = CheckpointTeachers(files)
    ensemble.prepare(student)
    labels = ensemble.labels(images(), images())
    assert torch.equal(labels[0], labels[1])


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": built(CUSTOM).state_dict(), "meta": Evil()}, "evil.pth")
    with pytest.raises(ImBenchError, match=r"evil\.pth holds PurePosixPath\.touch, which"):
        CheckpointTeachers(["evil.pth"] * 2).prepare(Student.of(built(CUSTOM)))
    assert not Path("executed").exists()


class Gadget:
    def __reduce__(self):
        return (getattr, (HistoryBuffer, "__init__"))


def test_a_checkpoint_reaches_nothing_by_name(tmp_path: Path):
    torch.save({"state_dict": {}, "meta": Gadget()}, tmp_path / "gadget.pth")
    with pytest.raises(ImBenchError, match="__init__"):
        CheckpointTeachers([str(tmp_path / "gadget.pth")] * 2).prepare(Student.of(built(CUSTOM)))


def test_a_teacher_of_another_architecture_is_refused_in_one_sentence(tmp_path: Path):
    files = [checkpoint(tmp_path / "a.pth", PSPNET, 0)] * 2
    with pytest.raises(ImBenchError, match=r"a\.pth does not fit a EncoderDecoder"):
        CheckpointTeachers(files).prepare(Student.of(built(CUSTOM)))


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path):
    head = {**CUSTOM["decode_head"], "num_classes": CLASSES + 1}
    other = {**CUSTOM, "decode_head": head}
    files = [checkpoint(tmp_path / "a.pth", other, 0)] * 2
    ensemble = CheckpointTeachers(files, [model_config(other)] * 2)
    with pytest.raises(ImBenchError, match=f"{CLASSES + 1} outputs, the student {CLASSES}"):
        ensemble.prepare(Student.of(built(CUSTOM)))


def test_a_teacher_named_twice_is_refused(tmp_path: Path):
    files = [checkpoint(tmp_path / "a.pth", CUSTOM, 0), str(tmp_path / "copy.pth")]
    shutil.copy(*files)
    with pytest.raises(ImBenchError, match=r"a\.pth, .*copy\.pth are the same file"):
        CheckpointTeachers(files).prepare(Student.of(built(CUSTOM)))


def test_a_part_that_a_checkpoint_lacks_is_refused(tmp_path: Path):
    weights = {f"student.{key}": each for key, each in built(CUSTOM).state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "a.pth")
    files = [str(tmp_path / "a.pth"), checkpoint(tmp_path / "b.pth", CUSTOM, 0)]
    with pytest.raises(ImBenchError, match=r"a\.pth holds no network 'companion', only student"):
        CheckpointTeachers(files, part="companion").prepare(Student.of(built(CUSTOM)))


def test_each_checkpoint_may_have_a_part_of_its_own(tmp_path: Path):
    networks = [built(CUSTOM, seed) for seed in (1, 2)]
    files = [str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]
    for file, network, part in zip(files, networks, ("student", "companion"), strict=True):
        weights = {f"{part}.{key}": each for key, each in network.state_dict().items()}
        torch.save({"state_dict": weights}, file)
    ensemble = CheckpointTeachers(files, part=["student", "companion"])
    ensemble.prepare(Student.of(built(CUSTOM)))
    for teacher, network in zip(ensemble.teachers, networks, strict=True):
        assert all(map(torch.equal, teacher.network.parameters(), network.parameters()))
    with pytest.raises(ImBenchError, match="2 checkpoints but 1 parts"):
        CheckpointTeachers(files, part=["student"])
    with pytest.raises(ImBenchError, match="did you mean 'companion'"):
        CheckpointTeachers(files, part="companio")


def test_auxiliary_heads_may_be_missing(tmp_path: Path):
    files = [checkpoint(tmp_path / f"{seed}.pth", PSPNET, seed) for seed in (1, 2)]
    bare = {key: each for key, each in PSPNET.items() if key != "auxiliary_head"}
    ensemble = CheckpointTeachers(files, [model_config(bare), None])
    ensemble.prepare(Student.of(built(PSPNET)))
    assert len(ensemble.teachers) == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CheckpointTeachers(["a.pth"]), "at least 2 checkpoints"),
        (lambda: CheckpointTeachers(["a.pth", "b.pth"], [None]), "2 checkpoints but 1 models"),
        (lambda: EmaTeachers([0.9]), "at least 2 decays"),
        (lambda: EmaTeachers([0.9, 1.0]), "between 0 and 1, not 1"),
        (lambda: SnapshotTeachers(1), "at least 2 snapshots"),
        (lambda: SnapshotTeachers(interval=0), "at least 1, not 0"),
    ],
)
def test_bad_options_are_refused(build, message):
    with pytest.raises(ImBenchError, match=message):
        build()


def test_a_resumed_training_refuses_other_checkpoints(tmp_path: Path):
    files = [checkpoint(tmp_path / f"{seed}.pth", CUSTOM, seed) for seed in (1, 2, 3)]
    state = CheckpointTeachers(files[:2]).state_dict()
    student = Student.of(built(CUSTOM))
    CheckpointTeachers(files[:2]).load_state_dict(state, student)
    with pytest.raises(ImBenchError, match="other teachers"):
        CheckpointTeachers(files[1:]).load_state_dict(state, student)


def test_averages_follow_with_their_decay():
    student = Student.of(built(CUSTOM))
    ensemble = EmaTeachers([0.5, 0.75])
    changed(student, 0.0)
    ensemble.prepare(student)
    assert ensemble.ready
    expected = [0.0, 0.0]
    for step in range(1, 5):
        changed(student, 1.0)
        ensemble.after_step(student)
        decays = [min(decay, 1 - 1 / (step + 1)) for decay in (0.5, 0.75)]
        expected = [each * decay + 1 - decay for each, decay in zip(expected, decays, strict=True)]
        assert [parameter(teacher) for teacher in ensemble.teachers] == pytest.approx(expected)


def test_snapshots_are_the_newest_copies():
    student = Student.of(built(CUSTOM))
    ensemble = SnapshotTeachers(count=2, interval=3)
    ensemble.prepare(student)
    for step in range(1, 13):
        changed(student, float(step))
        ensemble.after_step(student)
        assert ensemble.ready == (step >= 6)
    assert [parameter(teacher) for teacher in ensemble.teachers] == [9.0, 12.0]


@pytest.mark.parametrize("make", [lambda: EmaTeachers([0.9, 0.99]), lambda: SnapshotTeachers(2, 1)])
def test_online_teachers_continue_from_their_state(make):
    student = Student.of(built(CUSTOM))
    ensemble, again = make(), make()
    ensemble.prepare(student)
    for value in (1.0, 2.0, 3.0):
        changed(student, value)
        ensemble.after_step(student)
    again.prepare(student)
    again.load_state_dict(ensemble.state_dict(), student)
    for each in (ensemble, again):
        changed(student, 4.0)
        each.after_step(student)
    weights = [
        itertools.chain.from_iterable(t.network.state_dict().values() for t in each.teachers)
        for each in (ensemble, again)
    ]
    for mine, theirs in zip(*weights, strict=True):
        assert torch.equal(mine, theirs)


def test_a_binary_network_without_a_label_space_uses_its_heads_threshold():
    head = {**CUSTOM["decode_head"], "num_classes": 2, "out_channels": 1, "threshold": 0.9}
    model = built({**CUSTOM, "decode_head": head})
    nn.init.zeros_(model.decode_head.conv_seg.weight)
    student = Student.of(model)
    assert student.space == "binary"
    ensemble = SnapshotTeachers(2, 1)
    for logit in (1.0, 3.0):  # probabilities 0.73 and 0.95
        nn.init.constant_(model.decode_head.conv_seg.bias, logit)
        ensemble.after_step(student)
    labels = ensemble.labels(images(), images())
    assert labels.flatten(1).float().mean(1).tolist() == [0, 1]
