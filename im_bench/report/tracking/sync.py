"""Uploads what was recorded offline, by ``wandb sync``, each part of a run once.

The recorded files are uploaded rather than the stage folders anew: what stands in them is noted as
sent in each stage's ``wandb.json``, and ``wandb sync`` gives the rows of a file that it broke off
the same numbers when it sends them again.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError
from im_bench.files import read_json, write_json
from im_bench.report.tracking.mirror import wandb_environment

ANSWER_SECONDS = 15.0
PARTS_AT_ONCE = 20
#: After which a batch counts as stuck: so long, and longer by its size at a slow line's speed.
STUCK_SECONDS = 180.0
SLOW_BYTES_PER_SECOND = 50_000


@dataclass(frozen=True)
class Part:
    """What one mirror recorded of a run; after an interruption there are several.

    Attributes:
        file: ``<out>/wandb/offline-run-<start>-<id>/run-<id>.wandb``.
        size: Of the file, in bytes. It only ever grows, so that this says whether it has changed.
    """

    file: Path
    size: int

    @property
    def folder(self) -> Path:
        """The folder, by whose name parts are in order of their start."""
        return self.file.parent

    @property
    def marker(self) -> Path:
        """What ``wandb sync`` leaves when it has sent the file."""
        return self.file.with_suffix(".wandb.synced")


@dataclass(frozen=True)
class Synced:
    """How an upload went.

    Attributes:
        sent: Parts that were sent.
        left: Parts that were not.
    """

    sent: int
    left: int


class OfflineRuns:
    """What lies in a results folder, and what of it was uploaded (``<out>/wandb/synced.json``).

    Args:
        out: The results folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._path = out / "wandb" / "synced.json"
        self._sent: dict[str, int] = read_json(self._path) if self._path.exists() else {}

    @property
    def log(self) -> Path:
        """What ``wandb sync`` said."""
        return self.out / "wandb" / "sync.log"

    def unsent(self) -> list[Part]:
        """Return the parts that were not uploaded, or have grown since, oldest first."""
        files = sorted((self.out / "wandb").glob("offline-run-*/run-*.wandb"))
        parts = [Part(file, file.stat().st_size) for file in files]
        return [one for one in parts if one.size and self._sent.get(one.folder.name) != one.size]

    def upload(self, tell: Callable[[str], None] = lambda sentence: None) -> Synced:
        """Upload what is unsent; stop where nothing of a batch came through.

        Args:
            tell: Told how it goes on.

        Raises:
            ImBenchError: If a mirror is at work in the folder.
        """
        sent = 0
        with _alone(self.out):
            parts = self.unsent()
            for batch in _batches(parts):
                for part in batch:
                    part.marker.unlink(missing_ok=True)
                self._run(batch)
                through = [part for part in batch if part.marker.exists()]
                self._sent.update({part.folder.name: part.size for part in through})
                write_json(self._path, self._sent)
                sent += len(through)
                tell(f"{sent} of {len(parts)} parts are uploaded")
                if not through:
                    break
        return Synced(sent, len(parts) - sent)

    def _run(self, batch: list[Part]) -> None:
        folders = [str(part.folder.resolve()) for part in batch]
        command = [sys.executable, "-m", "wandb", "sync", "--include-synced", *folders]
        environment = {**wandb_environment(self.out), "WANDB_SILENT": "false"}
        environment.pop("WANDB_MODE", None)
        size = sum(
            path.stat().st_size
            for part in batch
            for path in part.folder.rglob("*")
            if path.is_file()
        )
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
            try:
                process.wait(STUCK_SECONDS + size / SLOW_BYTES_PER_SECOND)
            except subprocess.TimeoutExpired:
                pass  # What has no marker was not sent.
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def _batches(parts: list[Part]) -> Iterator[list[Part]]:
    """Yield parts, those of one run together: ``wandb sync`` sends them in order of their start."""
    runs: dict[str, list[Part]] = {}
    for part in parts:
        runs.setdefault(part.file.name, []).append(part)
    batch: list[Part] = []
    for run in runs.values():
        batch += run
        if len(batch) >= PARTS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    with (out / "wandb" / "mirror.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImBenchError(
                f"a run writes to {out / 'wandb'} at this moment: upload when it has ended"
            ) from None
        yield


def check_server() -> str:
    """Return the server's address, if there is a key and the server takes it.

    Raises:
        ImBenchError: Otherwise; it says what to do.
    """
    import wandb

    from im_bench.report.tracking.tracker import find_key, has_key, reachable

    settings = wandb.setup().settings
    url = str(settings.base_url)
    if not has_key(settings):
        raise ImBenchError(f"no key for {url}: run `wandb login`, or set WANDB_API_KEY")
    if not reachable(url):
        raise ImBenchError(f"{url} cannot be reached: try again where there is a network")
    key = find_key(settings)
    if key and not _accepts(url, key):
        raise ImBenchError(f"{url} refuses the key: run `wandb login --relogin`")
    return url


def _accepts(url: str, key: str) -> bool:
    """Ask who we are.

    Raises:
        ImBenchError: If there is no answer.
    """
    import requests

    try:
        answer = requests.post(
            f"{url.rstrip('/')}/graphql",
            json={"query": "query Viewer { viewer { username } }"},
            auth=("api", key),
            timeout=ANSWER_SECONDS,
        )
        if answer.status_code in (401, 403):
            return False
        answer.raise_for_status()
        value: Any = answer.json()
    except requests.Timeout:
        raise ImBenchError(
            f"{url} gives no answer within {ANSWER_SECONDS:.0f} s: try again later"
        ) from None
    except requests.RequestException as error:
        raise ImBenchError(f"{url} gives no proper answer ({error}): try again later") from None
    return bool(isinstance(value, dict) and (value.get("data") or {}).get("viewer"))
