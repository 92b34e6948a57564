"""The commands: options, what they change in the config, and what the shell is told of errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

from im_bench.errors import ImBenchError
from im_bench.tools import configs
from im_bench.tools.processes import LAUNCHERS, count_processes, run_connected
from im_bench.tools.weights import set_backbone_weights
from im_bench.training.batch import divide_batch
from im_bench.tuning.tuned import find_tuned


def run_training(arguments: Sequence[str] | None = None) -> None:
    """Train by a config; the options are those of MMSegmentation's ``tools/train.py``, and more.

    Args:
        arguments: Of the command line; default: the process's own.

    Raises:
        ImBenchError: Something that the user can mend.
    """
    options = _parsed(_train_parser(), arguments)
    config = _load(options)
    configs.check_parts(config, ("model", "train_dataloader", "train_cfg", "optim_wrapper"))
    configs.check_work_dir(config)
    configs.check_optimizer(config)
    set_backbone_weights(config, options.backbone_weights or ())
    if options.use_tuned:
        configs.set_tuned(config, find_tuned(options.use_tuned, options.storage))
    configs.set_teachers(config, options.teachers or ())
    configs.check_mask_hook(config)
    configs.check_data(config, ("train_dataloader", "val_dataloader"))
    configs.seed_model(config)
    divide_batch(config, count_processes(options.launcher))
    if options.amp:
        configs.set_amp(config)

    said = _choose_checkpoint(config, options.resume)

    def train() -> None:
        runner = _runner(config)
        if said:
            runner.logger.warning(said)
        if config.resume:
            _check_resumable(runner, Path(config.load_from))
        _checked_training(runner, config, options.data_check)

    run_connected(config, train)


def run_test(arguments: Sequence[str] | None = None) -> None:
    """Evaluate a checkpoint by a config, as MMSegmentation's ``tools/test.py`` does.

    In contrast to that, a checkpoint must hold exactly what the network that is evaluated needs.

    Args:
        arguments: Of the command line; default: the process's own.

    Raises:
        ImBenchError: Something that the user can mend.
    """
    options = _parsed(_test_parser(), arguments)
    config = _load(options)
    checkpoint = Path(_existing(options.checkpoint))
    configs.check_parts(config, ("model", "test_dataloader", "test_cfg", "test_evaluator"))
    configs.without_mask_hooks(config)
    configs.check_data(config, ("test_dataloader",))
    config.load_from, config.resume = None, False
    if options.show_dir:
        _draw(config, options.show_dir)

    def test() -> None:
        runner = _runner(config)
        _load_weights(runner.model, checkpoint)
        if options.out:
            runner.register_hook(_prediction_writer(options.out))
        if options.data_check:
            from im_bench.tools.data_check import check_test

            check_test(runner)
        runner.test()

    run_connected(config, test)


def main(command: Callable[[], None]) -> None:
    """Run a command. Wrong input is one sentence and status 2, Ctrl-C is status 130."""
    try:
        command()
    except (ImBenchError, OSError, UnpicklingError) as error:
        sys.stderr.write(f"error: {_sentence(error)}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _sentence(error: Exception) -> str:
    if isinstance(error, URLError):
        return (
            f"a download failed ({error.reason}): for initial weights name a file in init_cfg, or "
            "set model.segmentor.backbone.init_cfg=None to do without"
        )
    if isinstance(error, UnpicklingError):  # from one of MMEngine's downloads
        from im_bench.models.checkpoints import refusal

        return str(refusal("that was downloaded", error))
    lines = str(error).splitlines()
    if "Original Traceback" in str(error):  # from a worker of a data loader
        return lines[-1].partition(": ")[2]
    return " ".join(lines)


def _parser(description: str) -> argparse.ArgumentParser:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", help="a config; mm_configs/... is found from anywhere")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="settings instead of the config's, such as train_cfg.max_iters=1000 or key=[a,b]",
    )
    parser.add_argument(
        "--no-data-check",
        dest="data_check",
        action="store_false",
        help="begin without opening all images and masks first",
    )
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none")
    # Older launchers of PyTorch pass it; newer ones set the variable.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def _train_parser() -> argparse.ArgumentParser:
    parser = _parser("Train a segmentor.")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="continue from a checkpoint; default: the latest one in the work dir, if any",
    )
    parser.add_argument("--amp", action="store_true", help="compute in bfloat16 where it is safe")
    parser.add_argument(
        "--teachers",
        nargs="+",
        metavar="CHECKPOINT",
        help="trained models whose disagreement makes the Inconsistency Masks",
    )
    parser.add_argument(
        "--backbone-weights",
        nargs="+",
        metavar="FILE",
        help="initial weights of the backbone, and of the twin's; 'random' to begin without",
    )
    parser.add_argument(
        "--use-tuned",
        metavar="STUDY",
        help="values that a study found: its name, or a file that `im-bench tune freeze` wrote",
    )
    parser.add_argument(
        "--storage",
        metavar="FILE_OR_URL",
        default="runs/tuning/studies.journal",
        help="where the study is kept, if it is not frozen; default: %(default)s",
    )
    return parser


def _test_parser() -> argparse.ArgumentParser:
    parser = _parser("Evaluate a segmentor.")
    parser.add_argument("checkpoint", help="a checkpoint of a training by the same config")
    parser.add_argument("--out", help="folder for the predicted label maps")
    parser.add_argument("--show-dir", help="folder for pictures of the predictions")
    return parser


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        return parser.parse_args(arguments)
    except (AssertionError, SyntaxError, ValueError) as error:  # by MMEngine's reading of KEY=VALUE
        raise ImBenchError(
            f"--cfg-options cannot be read ({error}): write KEY=VALUE, as in train_cfg.max_iters=10"
        ) from error


def _load(options: argparse.Namespace) -> Any:
    """Return the config that the options name, in a process that is ready for it."""
    os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    configs.find_config(options.config)  # before the slow imports
    _prepare_process()
    config = configs.load_config(options.config, options.cfg_options)
    config.launcher = options.launcher
    if options.work_dir:
        config.work_dir = options.work_dir
    return config


def _prepare_process() -> None:
    """Register im-bench's parts, and see to it that no checkpoint can run code."""
    import im_bench.tools.registrations
    import im_bench.training.runner  # noqa: F401
    from im_bench.models.checkpoints import refuse_pickled_code

    refuse_pickled_code()


def _choose_checkpoint(config: Any, resume: str | None) -> str:
    """Say in a config from which checkpoint it goes on, if any; return what is to be told.

    Args:
        config: Is changed.
        resume: A file, ``auto`` for the latest one of the work dir, or None for a new training.
    """
    from im_bench.training.resuming import latest_checkpoint

    said = ""
    if resume == "auto":
        path, said = latest_checkpoint(config)
        resume = None if path is None else str(path)
        config.load_from = resume
    elif resume is not None:
        config.load_from = _existing(resume)
    config.resume = resume is not None
    return said


def _check_resumable(runner: Any, path: Path) -> None:
    from im_bench.plugin.networks import unwrapped
    from im_bench.training.resuming import check_resumable

    check_resumable(unwrapped(runner.model), path)


def _runner(config: Any) -> Any:
    from im_bench.training.runner import build_runner

    return build_runner(config)


def _checked_training(runner: Any, config: Any, data_check: bool) -> None:
    """Train, after a look at what would go wrong in the middle, or go wrong in silence."""
    from mmengine.runner import Runner

    from im_bench.tools.data_check import check_training
    from im_bench.tools.label_rules import check_heads
    from im_bench.tools.step_errors import check_batches, explained_steps

    if isinstance(runner, Runner):  # runners of another kind may hold anything
        check_heads(runner.model)
        check_batches(runner)
        if data_check:
            check_training(runner, config)
    with explained_steps():
        runner.train()


def _existing(checkpoint: str) -> str:
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise ImBenchError(f"checkpoint {checkpoint} does not exist: name a file")
    return str(path)


def _load_weights(model: Any, path: Path) -> None:
    """Load the network that a model is evaluated as."""
    from im_bench.models.checkpoints import load_checkpoint
    from im_bench.models.segmentor import deployed
    from im_bench.models.weights import fitted, network_weights
    from im_bench.plugin.networks import unwrapped

    model = unwrapped(model)
    method = getattr(model, "method", None)
    part = "student" if method is None else method.deployed
    network = deployed(model)
    fit = fitted(network_weights(load_checkpoint(path), path, part), network)
    if not fit.exact:
        raise ImBenchError(
            f"checkpoint {path} does not fit the network of the config ({fit}): name the config by "
            "which it was trained, and the same --cfg-options"
        )
    network.load_state_dict(fit.weights, strict=False)


def _prediction_writer(folder: str) -> Any:
    from im_bench.tools.prediction_files import PredictionWriter

    return PredictionWriter(Path(folder))


def _draw(config: Any, folder: str) -> None:
    """Let every predicted image be drawn into a folder."""
    hooks = config.get("default_hooks") or {}
    if "visualization" not in hooks:
        raise ImBenchError(
            "--show-dir needs a SegVisualizationHook: add "
            "default_hooks=dict(visualization=dict(type='SegVisualizationHook')) to the config"
        )
    hooks["visualization"]["draw"] = True
    config.visualizer["save_dir"] = folder
