"""Finding, loading and completing a config of MMSegmentation."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError, unknown_name
from im_bench.methods.names import registry_name
from im_bench.tools.name_lists import check_name_list
from im_bench.tuning.tuned import Tuned

ROOT = Path(__file__).resolve().parents[2]
"""The checkout that holds ``mm_configs``."""

_MASK_HOOK = "InconsistencyMaskHook"
_READ_BESIDE_ARGUMENTS = {
    "activation_checkpointing",
    "batch_is_total",
    "compile",
    "custom_imports",
    "efficient_conv_bn_eval",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "runner_type",
    "sync_bn",
}
"""The keys of a config that count, beside the arguments of MMEngine's Runner."""


def find_config(name: str) -> Path:
    """Return the path of a config, given from the working directory or from the checkout.

    Raises:
        ImBenchError: There is no such file.
    """
    for path in (Path(name), ROOT / name):
        if path.is_file():
            return path
    raise ImBenchError(
        f"config {name} does not exist, neither here nor in {ROOT}: name a file such as "
        "mm_configs/im/u2pl_r50_cs_1-4.py"
    )


def load_config(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Return the config of a file, with ``--cfg-options`` merged.

    Its ``work_dir``, if it has none, is named after the config's file and folder: the configs with
    and without masks have the same file names.

    Raises:
        ImBenchError: The file does not exist or is no config, or an option has no place in it.
    """
    from mmengine.config import Config
    from mmengine.config.utils import MODULE2PACKAGE

    path = find_config(name)
    # For `_base_ = "mmseg::..."`: MMEngine looks for the package under its former name.
    MODULE2PACKAGE["mmseg"] = "onedl-mmsegmentation"
    try:
        config = Config.fromfile(path)
    except Exception as error:  # whatever the Python code of a config may raise
        raise ImBenchError(f"config {path} cannot be read: {_reason(error)}: correct it") from error
    options = dict(options or {})
    _check_effect(config, options)
    try:
        config.merge_from_dict(options)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ImBenchError(
            f"--cfg-options do not fit {path}: {_reason(error)}: name keys of the config"
        ) from error
    if config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs", path.resolve().parent.name, path.stem))
    return config


def mask_hooks(config: Mapping[str, Any]) -> list[Any]:
    """Return the configs of the hooks that add Inconsistency Masks, at most one normally."""
    hooks = [*(config.get("custom_hooks") or ()), *(config.get("default_hooks") or {}).values()]
    return [each for each in hooks if _is_mask_hook(each)]


def without_mask_hooks(config: Any) -> None:
    """Remove these hooks from a config, which is then one of evaluation only."""
    hooks = config.get("custom_hooks") or ()
    config.custom_hooks = [each for each in hooks if not _is_mask_hook(each)]
    hooks = config.get("default_hooks") or {}
    for name in [name for name, each in hooks.items() if _is_mask_hook(each)]:
        del hooks[name]


def set_tuned(config: Any, tuned: Tuned) -> None:
    """Give a config the values that a study found: its method's fields, and those of the masks.

    Raises:
        ImBenchError: The config is of another method, or has no masks to set.
    """
    method = (config.get("model") or {}).get("method") or {}
    wanted = registry_name(tuned.method)
    if method.get("name") != wanted:
        raise ImBenchError(
            f"study {tuned.study!r} tuned {wanted!r}, and this config is of "
            f"{method.get('name') or 'no method'!r}: name a config of {wanted}"
        )
    own, masks = {}, {}
    for name, value in tuned.values.items():
        if name.startswith("im."):
            masks[name.removeprefix("im.")] = value
        else:
            own[name] = value
    config.merge_from_dict({f"model.method.{name}": value for name, value in own.items()})
    hooks = mask_hooks(config)
    for name, value in masks.items():
        if not hooks:
            raise ImBenchError(
                f"study {tuned.study!r} tuned masks (im.{name}), and this config has none: name "
                "one of mm_configs/im"
            )
        if name == "teachers":
            continue  # As many as --teachers names, or the hook's config.
        hooks[0][name] = value


def set_teachers(config: Any, checkpoints: Sequence[str]) -> None:
    """Give the hook of Inconsistency Masks trained teachers, in place of those of its config.

    Without checkpoints the config's own teachers stay. Unless the hook says otherwise, teachers of
    a semi-supervised model label all unlabelled images once, into the work dir, and from a
    semi-supervised checkpoint a teacher is the network that the trained method deploys.

    Raises:
        ImBenchError: There is no hook for them, a file is missing, or the hook needs checkpoints
            and none are given.
    """
    from im_bench.training.semi_supervised import online_method

    hooks = mask_hooks(config)
    if checkpoints and not hooks:
        raise ImBenchError(
            "--teachers is for a config with an InconsistencyMaskHook, such as those in "
            "mm_configs/im: use one of them, or leave --teachers out"
        )
    for path in checkpoints:
        if not Path(path).expanduser().is_file():
            raise ImBenchError(
                f"teacher {path} does not exist: name the checkpoints of trained models"
            )
    for hook in hooks:
        teachers = hook.setdefault("teachers", {"type": "CheckpointTeachers"})
        if checkpoints:
            kept = {name: teachers[name] for name in ("models", "part") if name in teachers}
            hook["teachers"] = {
                "type": "CheckpointTeachers",
                "checkpoints": list(checkpoints),
                **kept,
            }
            teachers = hook["teachers"]  # as the config holds it
        if teachers["type"] != "CheckpointTeachers":
            continue
        if not teachers.get("checkpoints"):
            raise ImBenchError(
                "this config has Inconsistency Masks of trained teachers, and none are named: give "
                "--teachers A.pth B.pth"
            )
        if config.model["type"] == "SemiSupervisedSegmentor":
            teachers.setdefault("part", online_method(config.model["method"]).deployed)
            hook.setdefault("cache_dir", str(Path(config.work_dir, "pseudo-labels")))


def check_mask_hook(config: Any) -> None:
    """Raise an ImBenchError if nothing would label the unlabelled images of a plain segmentor."""
    dataset = (config.get("train_dataloader") or {}).get("dataset") or {}
    kind = str(dataset.get("type")).rpartition(".")[2]
    if kind == "LabelledAndUnlabelled" and not mask_hooks(config):
        raise ImBenchError(
            "the training data have unlabelled images, but the config has no InconsistencyMaskHook "
            "to label them: add one to custom_hooks"
        )


def seed_model(config: Any) -> None:
    """Let a semi-supervised model's draws follow the seed of the training."""
    seed = (config.get("randomness") or {}).get("seed")
    if seed is not None and config.model["type"] == "SemiSupervisedSegmentor":
        config.model.setdefault("seed", seed)


def check_data(config: Any, loaders: Sequence[str]) -> None:
    """Check that the folders and lists of data sets exist.

    Args:
        config: The config.
        loaders: Names of the data loaders that will be used.

    Raises:
        ImBenchError: One of them does not exist.
    """
    for loader in loaders:
        dataset = (config.get(loader) or {}).get("dataset") or {}
        for part in _datasets(dataset):
            _check_dataset(part, loader)


def check_parts(config: Any, names: Sequence[str]) -> None:
    """Raise an ImBenchError if a config lacks one of its parts, unless a runner of its own runs."""
    missing = [name for name in names if config.get(name) is None]
    if missing and "runner_type" not in config:
        raise ImBenchError(
            f"config {config.filename} has no {' and no '.join(missing)}: add what is missing, as "
            "the configs of MMSegmentation have it"
        )


def check_work_dir(config: Any) -> None:
    """Raise an ImBenchError if a file stands where the folder of logs and checkpoints belongs."""
    path = Path(config.work_dir)
    found = next((each for each in (path, *path.parents) if each.exists()), Path())
    if not found.is_dir():
        raise ImBenchError(f"work dir {path} cannot be, since {found} is a file: name another one")


def check_optimizer(config: Any) -> None:
    """Raise an ImBenchError for an optimiser that is not registered; MMEngine does not name it."""
    from mmengine.registry import OPTIMIZERS as ALL
    from mmseg.registry import OPTIMIZERS

    kind = ((config.get("optim_wrapper") or {}).get("optimizer") or {}).get("type")
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise unknown_name("optimiser", kind, ALL.module_dict)


def set_amp(config: Any) -> None:
    """Train in bfloat16.

    Raises:
        ImBenchError: The optimiser has a wrapper of its own.
    """
    kind = config.optim_wrapper.get("type", "OptimWrapper")
    if kind == "OptimWrapper":
        config.optim_wrapper.type = "BFloat16OptimWrapper"
    elif kind not in ("BFloat16OptimWrapper", "AmpOptimWrapper"):
        raise ImBenchError(
            f"--amp is for the optim_wrapper OptimWrapper, not {kind}: leave one of them out"
        )


def _check_effect(config: Any, options: Mapping[str, Any]) -> None:
    """Raise an ImBenchError for options that would change nothing.

    Variables with which the file of a config was computed are no longer read.
    """
    from mmengine.runner import Runner

    if "runner_type" in config:  # it may read anything
        return
    known = {*inspect.signature(Runner).parameters, *_READ_BESIDE_ARGUMENTS}
    for key in options:
        name = key.partition(".")[0]
        if name not in known:
            kind = "a variable of the config's file" if name in config else "not known"
            raise ImBenchError(
                f"--cfg-options {key} would change nothing, since {name!r} is {kind}: name what is "
                "built, such as model, optim_wrapper, train_dataloader or train_cfg"
            )


def _reason(error: Exception) -> str:
    first = str(error.args[0] if error.args else error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _is_mask_hook(hook: Any) -> bool:
    return isinstance(hook, Mapping) and str(hook.get("type")).rpartition(".")[2] == _MASK_HOOK


def _datasets(dataset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give the data sets of a config that read files; others may wrap them."""
    if "data_root" in dataset or "ann_file" in dataset:
        yield dataset
    for value in dataset.values():
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(each, Mapping):
                yield from _datasets(each)


def _check_dataset(dataset: Mapping[str, Any], loader: str) -> None:
    root = Path(dataset.get("data_root") or "")
    if not root.is_dir():
        raise ImBenchError(
            f"{loader} reads data from {root}, which is no folder: set data_root in the config, "
            "or the environment variable CITYSCAPES or PASCAL to what im-bench data prepare wrote"
        )
    lists = dataset.get("ann_file")
    if lists and not (root / lists).exists():
        raise ImBenchError(
            f"{loader} needs the list {root / lists}, which does not exist: prepare the folder by "
            "im-bench data prepare cityscapes-semi or pascal, or set ann_file"
        )
    if lists:
        check_name_list(root / lists, dataset)
    for name in (dataset.get("data_prefix") or {}).values():
        if name and not (root / name).is_dir():
            raise ImBenchError(
                f"{loader} reads from {root / name}, which is no folder: see which folders the "
                "data set should have, or set data_prefix"
            )
