"""Teachers of different architectures, by the commands of the pages."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from im_bench.files import read_json
from im_bench.models.checkpoints import load_checkpoint
from im_bench.tools.commands import run_training

from .conftest import UNLABELLED, small

RESNET = "mm_configs/fixmatch/fixmatch_r50_cs_1-8.py"
DINOV2 = "mm_configs/unimatch_v2/unimatch-v2_dinov2-s_cs_1-8.py"
SEGKC = "mm_configs/segkc/segkc_dinov2-s_cs_1-8.py"
_names = itertools.count()


@pytest.fixture(scope="module")
def trained(cityscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The work dirs of a training of each method."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYSCAPES", str(cityscapes))
        for config in (RESNET, DINOV2, SEGKC):
            named = [f"experiment_name=teacher-{next(_names)}"]
            arguments = small(config, iterations=1, options=named)
            run_training([*arguments, "--work-dir", str(root / Path(config).stem)])
    return {config: root / Path(config).stem for config in (RESNET, DINOV2, SEGKC)}


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [(RESNET, DINOV2, "[student,companion]"), (DINOV2, SEGKC, "[companion,companion]")],
)
def test_teachers_of_two_architectures_label_for_a_student_of_either(
    first: str,
    second: str,
    parts: str,
    trained: dict[str, Path],
    cityscapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CITYSCAPES", str(cityscapes))
    folders = [trained[first], trained[second]]
    # Every training leaves its config in its work dir.
    models = ",".join(str(folder / f"{folder.name}.py") for folder in folders)
    options = [
        f"custom_hooks.0.teachers.models=[{models}]",
        f"custom_hooks.0.teachers.part={parts}",
        f"experiment_name=student-{next(_names)}",
    ]
    config = f"mm_configs/im/{Path(DINOV2).name}"
    teachers = [str(folder / "iter_1.pth") for folder in folders]
    arguments = [*small(config, iterations=1, options=options), "--work-dir", str(tmp_path)]
    run_training([*arguments, "--teachers", *teachers])
    made = read_json(tmp_path / "pseudo-labels" / "manifest.json")
    assert len(made["teachers"]) == 2
    assert len(list((tmp_path / "pseudo-labels").glob("*.png"))) == UNLABELLED
    history = load_checkpoint(tmp_path / "iter_1.pth")["message_hub"]["log_scalars"]
    assert 0 < history["train/inconsistent"].current() <= 1
