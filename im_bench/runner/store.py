"""The results folder as the rest of im-bench sees it: what is known of each stage of a plan."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError
from im_bench.files import read_json, sealed, sha256_json, write_json
from im_bench.runner.folder import OldStageError, Spec, StageFolder, Status
from im_bench.suites.graph import Graph, Stage
from im_bench.suites.recipes import RECIPES

__all__ = ["Status", "Store"]

#: Fields of ``stage.json`` that may change without changing a result.
UNHASHED = ("target", "paths", "coordinates")


class Store:
    """Stage folders under ``<out>/stages``. Everything is read from files; nothing imports torch.

    Args:
        out: The results folder. It need not exist.

    Raises:
        ImBenchError: An earlier version wrote it, so that none of its results could be found.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.stages = out / "stages"
        self._folder = cache(StageFolder)
        if _is_old(self.stages):
            raise ImBenchError(
                f"the results folder {out} was written by an earlier version of im-bench, whose "
                "results this one cannot read: choose another with --out, or read it with that "
                "version"
            )

    def folder(self, stage: Stage) -> StageFolder:
        """Return the stage's folder, which need not exist."""
        return self._folder(self.stages / stage.folder)

    def existing(self, stages: Iterable[Stage]) -> list[Stage]:
        """Return those of the stages that have a folder.

        Each folder that could hold some is listed once, and what lies below a missing one is not
        asked for: on a network a plan of 100,000 cells would else cost as many round trips.
        """
        names: dict[Path, set[str]] = {}

        def exists(path: Path) -> bool:
            if path == self.stages:
                return path.is_dir()
            parent = path.parent
            if parent not in names:
                names[parent] = set(_listed(parent)) if exists(parent) else set()
            return path.name in names[parent]

        return [stage for stage in stages if exists(self.stages / stage.folder)]

    def namesakes(self, stages: Iterable[Stage]) -> int:
        """Return how many stages are not here, but others are that have their names.

        An earlier version of im-bench, other settings or other data made them.
        """
        names: dict[Path, list[str]] = {}
        count = 0
        for stage in stages:
            path = self.stages / stage.folder
            if path.parent not in names:
                names[path.parent] = _listed(path.parent)
            if path.name in names[path.parent]:
                continue
            start = path.name.rpartition("-")[0]
            count += any(name.rpartition("-")[0] == start for name in names[path.parent])
        return count

    def status(self, stage: Stage) -> Status:
        """Return where the stage stands."""
        return self.folder(stage).status

    def statuses(self, stages: Iterable[Stage]) -> dict[str, Status]:
        """Return where each of the stages stands, by key; cheap where little exists yet."""
        stages = list(stages)
        known = dict.fromkeys((stage.key for stage in stages), Status.PLANNED)
        known.update((stage.key, self.status(stage)) for stage in self.existing(stages))
        return known

    def result(self, stage: Stage) -> dict[str, Any] | None:
        """Return the content of the stage's ``result.json``, or None if it is not done."""
        return self.folder(stage).result()

    def errors(self, stage: Stage) -> list[dict[str, Any]]:
        """Return the errors of the stage's failed attempts, oldest first."""
        return self.folder(stage).errors()

    def progress(self, stage: Stage) -> dict[str, Any] | None:
        """Return the last progress of the stage: step, total, loss, images_per_second, eta_s."""
        return self.folder(stage).progress()

    def check(self, stage: Stage, graph: Graph) -> bool:
        """Compare what lies in the stage's folder with what the plan says belongs there.

        Returns:
            Whether the folder says what it holds: else its ``stage.json`` is missing or damaged.

        Raises:
            ImBenchError: If another stage lies there, or an earlier version wrote it.
        """
        try:
            found = asdict(self.folder(stage).spec())
        except OldStageError:
            raise
        except ImBenchError:
            return False
        wanted = asdict(self._spec(stage, graph))
        for value in (found, wanted):
            for name in UNHASHED:
                del value[name]
        if found != wanted:
            raise ImBenchError(
                f"{self.stages / stage.folder} holds another stage than the plan's (a default has "
                "changed without a new recipe version, or two keys begin alike): remove the folder "
                f"or choose another --out. The difference:\n{_difference(found, wanted)}"
            )
        return True

    def prepare(self, stage: Stage, graph: Graph) -> StageFolder:
        """Make the stage's folder ready to run, and return it.

        Raises:
            ImBenchError: If another stage lies there, or the folder cannot be written.
        """
        self.check(stage, graph)
        folder = self.folder(stage)
        try:
            write_json(folder.path / "stage.json", sealed(asdict(self._spec(stage, graph))))
            folder.want()
        except OSError as error:
            raise ImBenchError(
                f"{folder.path} cannot be written ({error.strerror}): make room or give write "
                "permission, or choose another folder with --out"
            ) from error
        return folder

    def make(self) -> None:
        """Create the results folder.

        Raises:
            ImBenchError: If that is impossible.
        """
        try:
            write_json(self.stages / ".writable", True)
            (self.stages / ".writable").unlink(missing_ok=True)  # Others begin at the same time.
        except OSError as error:
            raise ImBenchError(
                f"the results folder {self.out} cannot be written ({error.strerror}): choose "
                "another with --out"
            ) from error

    def remember(self, suite: Path) -> None:
        """Note that a suite was run into this folder: its stages are never taken for garbage."""
        path = suite.resolve()
        name = f"{path.stem}-{sha256_json(str(path))[:8]}.json"
        write_json(self.out / "suites" / name, {"path": str(path)})

    def remembered(self) -> list[Path]:
        """Return the files of the suites that were run into this folder; some may be gone.

        Raises:
            ImBenchError: If a record cannot be read.
        """
        found = []
        for record in sorted((self.out / "suites").glob("*.json")):
            try:
                found.append(Path(read_json(record)["path"]))
            except (ValueError, KeyError, TypeError):
                raise ImBenchError(
                    f"{record} should say which suite was run here and is damaged: remove it, and "
                    "name that suite with --suite"
                ) from None
        return found

    def _spec(self, stage: Stage, graph: Graph) -> Spec:
        recipe = RECIPES[stage.kind]
        return Spec(
            kind=stage.kind,
            slug=stage.slug,
            coordinates=asdict(stage.coordinates),
            key=stage.key,
            recipe=recipe.version,
            target=recipe.target,
            # Through JSON, so that it equals what is read back: tuples are lists there.
            config=json.loads(json.dumps(stage.config)),
            inputs={role: [graph[k].folder for k in keys] for role, keys in stage.inputs.items()},
            paths=dict(stage.paths),
        )


def _is_old(stages: Path) -> bool:
    """Return whether the first stage that is found was written by an earlier version."""
    for folder, _, files in os.walk(stages):
        if "stage.json" in files:
            try:
                StageFolder(Path(folder)).spec()
            except OldStageError:
                return True
            except ImBenchError:
                continue  # Damaged: others can tell.
            return False
    return False


def _listed(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _difference(found: Any, wanted: Any, most: int = 20) -> str:
    """Return the first lines in which two JSON values differ, as a unified diff."""
    before, after = (
        json.dumps(value, indent=2, sort_keys=True).splitlines() for value in (found, wanted)
    )
    lines = list(difflib.unified_diff(before, after, "folder", "plan", n=0, lineterm=""))
    more = f"\n... and {len(lines) - most} more lines" if len(lines) > most else ""
    return "\n".join(lines[:most]) + more
