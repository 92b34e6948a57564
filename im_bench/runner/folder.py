"""A stage's folder: its files, and the status that they say."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError
from im_bench.files import is_whole, read_json, write_json
from im_bench.runner.failures import Cause, Failure
from im_bench.runner.job import PRUNED, Settings
from im_bench.runner.locks import Lock, LockedError, LockWatch


class Status(str, Enum):
    """Where a stage stands. Read from its files, never stored."""

    PLANNED = "planned"
    RUNNING = "running"
    FAILED = "failed"
    PRUNED = "pruned"
    DONE = "done"


class OldStageError(ImBenchError):
    """The folder of a stage was written by an earlier version."""


@dataclass(frozen=True)
class Spec:
    """What ``stage.json`` says: everything that is needed to run the stage.

    Attributes:
        kind: Name of the recipe.
        slug: Readable name.
        coordinates: Where it stands in its suite: the fields of
            :class:`~im_bench.suites.graph.Coordinates`. Not hashed.
        key: SHA-256 of what determines the output.
        recipe: Version of the recipe.
        target: ``module:function`` that does the work. Not hashed.
        config: Hashed config.
        inputs: Names of the folders that are read, by role, relative to the folder of all stages.
        paths: Where files outside the results folder lie. Not hashed.
    """

    kind: str
    slug: str
    coordinates: Mapping[str, Any]
    key: str
    recipe: int
    target: str
    config: Mapping[str, Any]
    inputs: Mapping[str, list[str]]
    paths: Mapping[str, str]


class StageFolder:
    """The files of one stage.

    Args:
        path: The folder. It need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _watch(self) -> LockWatch:
        return LockWatch(self.path / "lock")

    @property
    def log(self) -> Path:
        """The output of all attempts."""
        return self.path / "log.txt"

    def spec(self) -> Spec:
        """Return what the stage is.

        Raises:
            ImBenchError: If the folder holds no stage.
            OldStageError: If an earlier version wrote it.
        """
        value = self._described()
        if "key" in value and "coordinates" not in value:
            raise OldStageError(
                f"{self.path} was written by an earlier version of im-bench, whose stages this one "
                "does not know: choose another folder with --out, or read it with that version"
            )
        try:
            return Spec(**{field.name: value[field.name] for field in fields(Spec)})
        except KeyError:
            raise ImBenchError(
                f"{self.path} is no stage folder: it has no readable stage.json"
            ) from None

    def settings(self) -> Settings:
        """Return the settings of the next attempt."""
        value = _read(self.path / "settings.json")
        known = {field.name for field in fields(Settings)}
        return Settings(**{name: v for name, v in value.items() if name in known})

    def write_settings(self, settings: Settings) -> None:
        """Say with which settings the next attempt runs."""
        write_json(self.path / "settings.json", asdict(settings))

    def lock(self) -> Lock:
        """Return the lock that whoever runs the stage must hold."""
        return Lock(self.path / "lock")

    @property
    def status(self) -> Status:
        """Where the stage stands."""
        if not self.path.exists():
            return Status.PLANNED
        if self.result() is not None:
            return Status.DONE
        if self._watch.alive():
            return Status.RUNNING
        if self.pruned is not None:
            return Status.PRUNED
        return Status.FAILED if self._numbers("error") else Status.PLANNED

    @property
    def pruned(self) -> dict[str, Any] | None:
        """Why nobody waits for the stage any more, or None."""
        return _read(self.path / PRUNED) or None

    def prune(self, why: str) -> None:
        """Say that nobody waits for the stage any more; whoever runs it stops at a safe point.

        Whoever wants it later goes on from there.
        """
        write_json(self.path / PRUNED, {"why": why})

    def want(self) -> None:
        """Take that back."""
        (self.path / PRUNED).unlink(missing_ok=True)

    def result(self) -> dict[str, Any] | None:
        """Return the content of ``result.json``, or None if the stage is not done."""
        return self._result()[0]

    @property
    def damage(self) -> str:
        """Why an existing ``result.json`` does not count, or an empty string."""
        return self._result()[1]

    def _result(self) -> tuple[dict[str, Any] | None, str]:
        path = self.path / "result.json"
        try:
            value = read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            return None, ""
        except (OSError, ValueError) as error:
            return None, f"{path} cannot be read ({error}), so its stage counts as not done"
        if not isinstance(value, dict) or not isinstance(value.get("outcome"), dict):
            return None, f"{path} is not a result, so its stage counts as not done"
        if not is_whole(value):
            return None, f"{path} was changed or damaged, so its stage counts as not done"
        key = self._described().get("key")
        if key is not None and value.get("key") != key:
            return None, f"{path} belongs to another stage, so its stage counts as not done"
        return value, ""

    def _described(self) -> dict[str, Any]:
        """Return what ``stage.json`` says, which is nothing if it is damaged."""
        value = _read(self.path / "stage.json")
        return value if is_whole(value) else {}

    def progress(self) -> dict[str, Any] | None:
        """Return the last thing that the running attempt said of itself."""
        return _read(self.path / "progress.json") or None

    def errors(self) -> list[dict[str, Any]]:
        """Return the errors of failed attempts, oldest first, each with its ``attempt``."""
        found = [(k, _read(self.path / f"error-{k}.json")) for k in self._numbers("error")]
        unknown = {"type": "unknown", "cause": Cause.ERROR.value, "message": "not recorded"}
        return [{**unknown, "attempt": k, **error} for k, error in found]

    def provenances(self) -> list[dict[str, Any]]:
        """Return where and with what each attempt ran, oldest first, each with its ``attempt``."""
        return [
            {"attempt": k, **_read(self.path / f"provenance-{k}.json")}
            for k in self._numbers("provenance")
        ]

    def seconds_spent(self) -> float:
        """Return the seconds that all attempts have taken, of a killed one as far as it told."""
        last: dict[str, Any] = next(reversed(self.provenances()), {})
        ended = {error["attempt"]: error.get("seconds") for error in self.errors()}
        seconds = ended.get(last.get("attempt")) or (self.progress() or {}).get("seconds")
        return float(last.get("spent_before") or 0) + float(seconds or 0)

    @property
    def attempts(self) -> int:
        """How many attempts were begun."""
        return max(self._numbers("provenance") + self._numbers("error"), default=0)

    @property
    def restarts(self) -> int:
        """How many attempts ended neither well nor in an error: interrupted, or killed."""
        result = self.result()
        ended = len(self._numbers("error")) + (1 if result else 0)
        return max(0, self.attempts - ended)

    def record_error(self, attempt: int, **error: Any) -> None:
        """Write ``error-<attempt>.json``."""
        write_json(self.path / f"error-{attempt}.json", {**error, "attempt": attempt})

    def record_death(self, failure: Failure) -> None:
        """Write the error of an attempt whose process could not do so itself."""
        recorded = self._numbers("error")
        attempt = max(self.attempts, 1)
        self.record_error(
            attempt + 1 if attempt in recorded else attempt,
            type="ProcessDied",
            cause=failure.cause.value,
            message=failure.message,
            traceback="",
            seconds=None,
        )

    def discard(self) -> bool:
        """Remove all but ``stage.json``, unless somebody runs the stage; return whether it went."""
        if not self.path.is_dir():
            return True
        try:
            with self.lock():
                # First, so that a stage that is killed amid this does not count as done.
                (self.path / "result.json").unlink(missing_ok=True)
                for path in self.path.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.name not in ("stage.json", "lock"):
                        path.unlink(missing_ok=True)  # The mirror's temporary files come and go.
        except LockedError:
            return False
        return True

    def _numbers(self, name: str) -> list[int]:
        """Return k of all files ``<name>-<k>.json``, ascending."""
        pattern = re.compile(rf"{name}-(\d+)\.json")
        try:
            found = [pattern.fullmatch(path.name) for path in self.path.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(match[1]) for match in found if match)


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object; whatever is absent or damaged reads as an empty one."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
