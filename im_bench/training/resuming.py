"""Which checkpoint of a work dir is the latest, and whether a training can go on from it.

MMEngine notes the latest checkpoint by its absolute path. That is wrong once the folder has been
moved, and another folder's once it has been copied: here only the file's name counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import BrokenCheckpoint, load_checkpoint
from im_bench.models.weights import fitted

_POINTER = "last_checkpoint"
_NEEDED = {"meta", "message_hub", "optimizer", "state_dict"}


def checkpoint_folder(config: Any) -> Path:
    """Return the folder in which MMEngine's ``CheckpointHook`` keeps a training's checkpoints."""
    work_dir = Path(config.work_dir)
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    return work_dir if hook.get("out_dir") is None else Path(hook["out_dir"], work_dir.name)


def latest_checkpoint(config: Any) -> tuple[Path | None, str]:
    """Return the latest whole checkpoint of a training's own folder, and what there is to say.

    The latest is the one that the training noted last, whatever else lies in the folder. Where it
    is missing or damaged, the whole one that was written before it counts.

    Returns:
        The file, or None if the folder has no checkpoint; and a sentence, empty if all is well.

    Raises:
        ImBenchError: There are checkpoints, or traces of some, and none is whole.
    """
    folder = checkpoint_folder(config)
    noted = _noted(Path(config.work_dir, _POINTER))
    candidates = list(_candidates(folder, noted))
    odd = "" if noted is None or noted in candidates else f"{noted} is missing"
    for name in candidates:
        try:
            load_checkpoint(folder / name)
        except BrokenCheckpoint as error:
            odd = odd or f"{name} cannot be used ({error})"
        else:
            return folder / name, odd and f"{odd}: going on from {name}, the last whole checkpoint"
    if odd:
        raise ImBenchError(
            f"{folder} has no whole checkpoint to resume from, since {odd}: name one by --resume "
            f"CHECKPOINT, or remove {_POINTER} and the damaged files to begin anew"
        )
    return None, f"{folder} has no checkpoint: the training begins anew"


def check_resumable(model: nn.Module, path: Path) -> None:
    """Raise an ImBenchError if a checkpoint is not one of such a training.

    MMEngine only logs weights that do not fit, and goes on without what is missing.
    """
    content = load_checkpoint(path)
    missing = _NEEDED - content.keys()
    if missing:
        raise ImBenchError(
            f"checkpoint {path} holds no training that could be resumed (it lacks "
            f"{', '.join(sorted(missing))}): name one that the training has left (iter_*.pth), or "
            f"begin with its weights by --cfg-options load_from={path}"
        )
    weights = {name.removeprefix("module."): each for name, each in content["state_dict"].items()}
    fit = fitted(weights, model)
    if not fit.exact:
        raise ImBenchError(
            f"checkpoint {path} is one of another model ({fit}): resume by the config of its "
            "training, with the same --cfg-options"
        )


def keep_own_pointers(state: Any, folder: Path) -> None:
    """Let the paths of checkpoints in a resumed state mean the files of a folder.

    Otherwise a copy of a training would remove the original's best checkpoint once it has a better
    one.

    Args:
        state: Of MMEngine's message hub.
        folder: Where the training keeps its checkpoints.
    """
    notes = state.get("runtime_info", {})
    for key in [each for each in notes if each.startswith(("best_ckpt", "last_ckpt"))]:
        own = folder / _file_name(str(notes[key]))
        if own.is_file():
            notes[key] = str(own)
        else:
            del notes[key]


def _noted(pointer: Path) -> str | None:
    """Return the name of the checkpoint that a work dir's note speaks of; None without one."""
    try:
        return _file_name(pointer.read_text(encoding="utf-8").strip()) or None
    except (OSError, ValueError):
        return None


def _file_name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]  # of whatever system the folder was on before


def _candidates(folder: Path, noted: str | None) -> Iterator[str]:
    """Give the names of checkpoints that could be resumed, the latest first."""
    kind = r"(?:iter|epoch)_(\d+)\.pth"
    count = re.search(r"(\d+)(\D*)$", noted or "")
    if noted and count:
        kind = rf"{re.escape(noted[: count.start()])}(\d+){re.escape(count[2])}"
    names = [path.name for path in folder.glob("*") if path.is_file()]
    found = {name: int(match[1]) for name in names if (match := re.fullmatch(kind, name))}
    if noted in names:
        yield noted
    limit = int(count[1]) if count else None  # later ones are of an earlier training
    for name in sorted(found, key=found.__getitem__, reverse=True):
        if limit is None or found[name] < limit:
            yield name
