"""What users do wrong is told in one sentence, before anything slow or harmful happens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from im_bench.errors import ImBenchError
from im_bench.tools.commands import main, run_test, run_training

from .conftest import ROOT, small

FIXMATCH = "mm_configs/fixmatch/fixmatch_r50_cs_1-16.py"
MASKED = "mm_configs/im/fixmatch_r50_cs_1-16.py"


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture(autouse=True)
def _data(cityscapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYSCAPES", str(cityscapes))


def refused(message: str, *arguments: str, command: Callable[..., None] = run_training) -> None:
    with pytest.raises(ImBenchError, match=message) as caught:
        command([*arguments])
    assert "\n" not in str(caught.value)


def test_the_command_says_one_sentence_and_fails(tmp_path: Path) -> None:
    script = ROOT / "tools" / "train.py"
    done = subprocess.run(
        [sys.executable, script, "mm_configs/im/u2p.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: config mm_configs/im/u2p.py does not exist")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ImBenchError("this is wrong: do that"), "this is wrong: do that"),
        (
            FileNotFoundError(
                "Caught FileNotFoundError in DataLoader worker process 0.\n"
                "Original Traceback (most recent call last):\n"
                "  File ...\nFileNotFoundError: [Errno 2] No such file: 'a.png'\n"
            ),
            "[Errno 2] No such file: 'a.png'",
        ),
        (URLError("no network"), "a download failed (no network): for initial weights"),
    ],
)
def test_errors_are_one_line(
    error: Exception, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {sentence}")
    assert told.count("\n") == 1


def test_configs_are_found_from_any_folder_and_data_must_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CITYSCAPES", "nowhere")
    refused("train_dataloader reads data from nowhere, which is no folder", FIXMATCH)


def test_a_missing_list_says_how_to_get_it(
    cityscapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTITIONS", "cps")
    refused("cps-1-16/labelled.txt, which does not exist: .*prepare cityscapes-semi", FIXMATCH)


def test_a_missing_folder_of_images_is_named(tmp_path: Path) -> None:
    option = "val_dataloader.dataset.data_prefix.img_path=imags"
    refused("val_dataloader reads from .*imags", FIXMATCH, "--cfg-options", option)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.method.name=fixmach"], "did you mean 'fixmatch'"),
        (["model.method.threshold=2"], "field 'threshold'"),
        (["model.segmentor.type=EncoderDecodr"], "cannot be built .*EncoderDecodr"),
        (["param_scheduler.3.type=X"], "--cfg-options do not fit"),
        (["train_cfg.type=NoLoop"], "cannot be built .*NoLoop"),
        (["optim_wrapper.type=NoWrapper"], "cannot be built .*NoWrapper"),
        (["optim_wrapper.optimizer.type=Adm"], "unknown optimiser 'Adm': did you mean 'Adam'"),
        (["param_scheduler.0.type=PolyLRR"], r"cannot be built .*PolyLRR is not in .* registry\)"),
        (["param_scheduler.0.end=-3"], "cannot be built .*end should be larger"),
        (["val_evaluator.type=IoUMetrik"], "cannot be built .*IoUMetrik"),
        (["train_dataloader.batch_size=many"], "batch_size is 'many': name a number"),
        (["model.segmentor.decode_head.num_classes=5"], "decode_head has 5 outputs, .* 19"),
        (["epochs=3"], "'epochs' is a variable of the config's file"),
        (["randomnes.seed=3"], "'randomnes' is not known"),
    ],
)
def test_wrong_options_are_refused(options: list[str], message: str, tmp_path: Path) -> None:
    arguments = small(FIXMATCH, options=[*options, f"work_dir={tmp_path}"])
    refused(message, *arguments)


def test_an_unknown_metric_of_an_evaluation_is_refused(tmp_path: Path) -> None:
    run_training(small(FIXMATCH, 1, options=[f"work_dir={tmp_path}"]))
    wrong = ["test_evaluator.type=IoUMetrik", f"work_dir={tmp_path}"]
    config, *options = small(FIXMATCH, options=wrong)
    refused(
        "cannot be built .*IoUMetrik", config, f"{tmp_path}/iter_1.pth", *options, command=run_test
    )


@pytest.mark.parametrize("below", ["", "/further/below"])
def test_a_work_dir_that_is_a_file_is_refused(below: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    refused(f"since {path} is a file: name another", *small(FIXMATCH), f"--work-dir={path}{below}")


def test_a_config_needs_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("model = dict(type='EncoderDecoder')\ntrain_dataloader = dict()")
    refused("config .*config.py has no train_cfg and no optim_wrapper", str(path), "--amp")
    checkpoint = tmp_path / "a.pth"
    checkpoint.touch()
    arguments = [str(path), str(checkpoint), "--out", str(tmp_path)]
    refused("has no test_dataloader and no test_cfg and no", *arguments, command=run_test)


def test_a_broken_config_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("model = dict(")
    refused("cannot be read: SyntaxError", str(path))


@pytest.mark.parametrize(
    ("config", "teachers", "message"),
    [
        (MASKED, ["missing.pth", "missing.pth"], "teacher missing.pth does not exist"),
        (FIXMATCH, ["missing.pth"], "--teachers is for a config with an InconsistencyMaskHook"),
    ],
)
def test_teachers_must_exist_and_be_wanted(config: str, teachers: list[str], message: str) -> None:
    refused(message, config, *(["--teachers", *teachers] if teachers else []))


def test_unlabelled_images_of_a_plain_segmentor_need_the_hook() -> None:
    example = "examples/plain_segmentor/with_ema_teachers.py"
    refused("no InconsistencyMaskHook to label", example, "--cfg-options", "custom_hooks=[]")


def test_trained_teachers_must_be_named() -> None:
    option = "custom_hooks.0.teachers.type=CheckpointTeachers"
    refused("none are named: give --teachers A.pth B.pth", MASKED, "--cfg-options", option)


def test_amp_is_refused_beside_another_wrapper() -> None:
    arguments = [FIXMATCH, "--amp", "--cfg-options", "optim_wrapper.type=ApexOptimWrapper"]
    refused("--amp is for the optim_wrapper OptimWrapper", *arguments)


@pytest.mark.parametrize("resume", [True, False])
def test_a_checkpoint_that_holds_code_is_refused(resume: bool, tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "mark"
    torch.save({"state_dict": {}, "meta": {"epoch": 0, "iter": 1}, "message_hub": Evil(mark)}, path)
    config, *options = small(FIXMATCH, options=[f"work_dir={tmp_path}"])
    if resume:
        refused(
            r"evil\.pth holds \w+\.mkdir, which could run code",
            config,
            *options,
            "--resume",
            str(path),
        )
    else:
        refused(
            r"evil\.pth holds \w+\.mkdir, which could run code",
            config,
            str(path),
            *options,
            command=run_test,
        )
    assert not mark.exists()


def test_a_checkpoint_must_exist_and_fit(tmp_path: Path) -> None:
    config, *options = small(FIXMATCH, options=[f"work_dir={tmp_path}"])
    refused("checkpoint a.pth does not exist", config, *options, "--resume", "a.pth")
    refused("checkpoint a.pth does not exist", config, "a.pth", *options, command=run_test)
    other = tmp_path / "other.pth"
    torch.save({"state_dict": {"student.backbone.x": torch.zeros(1)}}, other)
    refused("does not fit", config, str(other), *options, command=run_test)


def test_a_checkpoint_without_its_training_cannot_be_resumed(tmp_path: Path) -> None:
    config, *options = small(FIXMATCH, options=[f"work_dir={tmp_path}"])
    path = tmp_path / "weights.pth"
    content = {"state_dict": {}, "meta": {}}
    torch.save(content, path)
    refused(
        r"no training that could be resumed \(it lacks message_hub, optimizer\)",
        *(config, *options, "--resume", str(path)),
    )
    torch.save({**content, "message_hub": {}, "optimizer": {}}, path)
    refused("is one of another model", config, *options, "--resume", str(path))


@pytest.mark.parametrize("option", ["train_cfg.max_iters", "train_cfg.max_iters=[1,2"])
def test_an_option_that_cannot_be_read_is_refused(option: str) -> None:
    refused("write KEY=VALUE", FIXMATCH, "--cfg-options", option)


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    refused("a batch of 8 images cannot be divided among 3", FIXMATCH, "--launcher", "pytorch")


def test_a_launcher_without_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("MMEngine's launchers are for GPUs")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    refused("start the command by torchrun", *small(FIXMATCH), "--launcher", "pytorch")
