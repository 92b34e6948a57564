"""Where studies are kept: a journal file on one machine, a database for several."""

from __future__ import annotations

import os
import re
import time
import uuid
import warnings
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from im_bench.errors import ImBenchError
from im_bench.runner.locks import HEARTBEAT_SECONDS, STALE_SECONDS, Lock, LockWatch

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.storages.journal import JournalFileOpenLock
    from optuna.study import Study
    from optuna.trial import FrozenTrial

#: Attribute of a trial: who works on it.
WORKER = "worker"
#: Default journal, in the results folder.
JOURNAL = Path("tuning", "studies.journal")


def storage_name(given: str | None, out: Path) -> str:
    """Return the storage that is meant: a database's URL or a journal's path.

    Raises:
        ImBenchError: It is SQLite, which several processes cannot share.
    """
    if given is None:
        return str(out / JOURNAL)
    if re.match(r"sqlite(\+\w+)?:", given):
        raise ImBenchError(
            f"--storage {given}: SQLite cannot be written by several processes: name a file for a "
            "journal, or a PostgreSQL database, postgresql://USER@HOST/NAME"
        )
    return given


def existing_storage(given: str | None, out: Path) -> str:
    """Return the storage that is meant, for those that only look: a journal must be there.

    Raises:
        ImBenchError: It is not.
    """
    name = storage_name(given, out)
    if "://" not in name and not Path(name).is_file():
        raise ImBenchError(
            f"there is no journal of studies at {name}: begin a study with `im-bench tune`, or "
            "say with --storage or --out where it is"
        )
    return name


def shown(name: str) -> str:
    """Return a storage's name without its password."""
    if "://" not in name:
        return name
    from sqlalchemy.engine import make_url

    return make_url(name).render_as_string(hide_password=True)


@dataclass
class StudyStorage:
    """An open storage, and how the death of a worker is noticed there.

    In a database workers leave heartbeats, and one that has left none for the patience of locks
    (45 s) counts as dead. A journal has none: beside it lies a lock of each worker, so that on one
    machine a death is known at once.

    Attributes:
        name: As the user gave it.
        optuna: What Optuna works on.
        worker: Of this process.
    """

    name: str
    optuna: BaseStorage
    worker: str

    @property
    def database(self) -> RDBStorage | None:
        """The storage, if it is a database."""
        from optuna.storages import RDBStorage

        return self.optuna if isinstance(self.optuna, RDBStorage) else None

    def __enter__(self) -> Self:
        self._exit = ExitStack()
        self._watches: dict[str, LockWatch] = {}
        if self.database is None:
            folder = self._workers
            folder.mkdir(parents=True, exist_ok=True)
            self._exit.enter_context(Lock(folder / self.worker))
        return self

    def __exit__(self, *_: Any) -> None:
        self._exit.close()

    @property
    def _workers(self) -> Path:
        return Path(f"{self.name}.workers")

    def beat(self, trial_id: int) -> None:
        """Say that this process still works on a trial."""
        if database := self.database:
            database.record_heartbeat(trial_id)

    def fail_lost(self, study: Study, mine: Collection[int] = ()) -> list[int]:
        """Fail the trials whose worker is dead, and queue the same values anew.

        What their trainings had reached in a results folder that is shared is not lost: the new
        trial's stages are the old one's.

        Args:
            study: The study.
            mine: Numbers of the trials that this process works on.

        Returns:
            The numbers of these trials.
        """
        running = (trial for trial in _running(study) if trial.number not in mine)
        lost = [trial for trial in running if self._is_lost(study, trial)]
        return [trial.number for trial in lost if self._queue_again(study, trial)]

    def give_back(self, study: Study, mine: Collection[int]) -> None:
        """Let others, or the next session, go on with trials that this process works on."""
        for trial in _running(study):
            if trial.number in mine:
                self._queue_again(study, trial)

    def _queue_again(self, study: Study, trial: FrozenTrial) -> bool:
        """Fail a trial and queue its values; return False if another did so, or it is over."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.storages import RetryHeartbeatStaleTrialCallback
        from optuna.trial import TrialState

        # Of several that notice it, one wins.
        with suppress(UpdateFinishedTrialError), no_warnings():
            if self.optuna.set_trial_state_values(trial._trial_id, state=TrialState.FAIL):
                again = deepcopy(trial)  # What Optuna returned is its own, and is changed here.
                again._user_attrs.pop(WORKER, None)  # Else whoever asks next passes for the dead.
                RetryHeartbeatStaleTrialCallback()(study, again)
                return True
        return False

    def _is_lost(self, study: Study, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        if worker == self.worker:
            return True  # The storage could not be reached just when this trial was to begin.
        if worker is None:  # It died between asking for the trial and saying so.
            began = trial.datetime_start or datetime.min
            return datetime.now() - began > timedelta(seconds=STALE_SECONDS)
        if self.database is not None:
            return trial._trial_id in self.database._get_stale_trial_ids(study._study_id)
        watch = self._watches.setdefault(worker, LockWatch(self._workers / worker))
        return not watch.alive()


def _running(study: Study) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def is_outage(error: Exception) -> bool:
    """Return whether a storage could not be reached, which may pass."""
    from optuna.exceptions import StorageInternalError

    if isinstance(error, (StorageInternalError, OSError)):
        return True
    return type(error).__module__.startswith("sqlalchemy")


@contextmanager
def outages_pass() -> Iterator[None]:
    """Leave out the block, or its rest, where the storage cannot be reached."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise


def history_of(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the lost trials that a trial goes on for, oldest first."""
    return list(trial.system_attrs.get("retry_history", ()))


def origin_of(trial: FrozenTrial) -> int:
    """Return the number of the first lost trial that a trial goes on for, or its own."""
    return next(iter(history_of(trial)), trial.number)


def open_storage(name: str) -> StudyStorage:
    """Open a journal file, which is made if need be, or a database.

    Raises:
        ImBenchError: It cannot be opened, or what it needs is not installed.
    """
    quiet()
    worker = f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    if "://" in name:
        return StudyStorage(name, _database(name), worker)
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A file's exclusive creation, which holds on network folders as well.
        lock = JournalFileOpenLock(name)
        _cut_torn_end(path, lock)
        storage = JournalStorage(JournalFileBackend(name, lock))
    except OSError as error:
        raise ImBenchError(
            f"the journal {name} cannot be opened ({error.strerror or error}): name another file "
            "with --storage"
        ) from None
    except Exception as error:
        raise ImBenchError(
            f"{name} is no journal of studies, or is damaged ({error}): name another file with "
            "--storage"
        ) from None
    return StudyStorage(name, storage, worker)


def _cut_torn_end(path: Path, lock: JournalFileOpenLock) -> None:
    """Remove an entry that a full disk or a loss of power has cut short.

    Nobody has acted on it; but the next one would be written behind it, into the same line.
    """
    from optuna.storages.journal._file import get_lock_file

    if not path.is_file():
        return
    with get_lock_file(lock), path.open("r+b") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def _database(name: str) -> RDBStorage:
    try:
        return _connect(name)
    except ImportError as error:
        raise ImBenchError(
            f"{shown(name)} needs a package that is not installed ({error}): for PostgreSQL "
            "install im-bench with its extra, im-bench[postgresql]"
        ) from None
    except Exception as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()
        raise ImBenchError(
            f"the database {_shown_safely(name)} cannot be opened "
            f"({reason[0] if reason else type(error).__name__}): check --storage, and whether its "
            "server runs"
        ) from None


def _connect(name: str, tries: int = 10) -> RDBStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    while True:
        tries -= 1
        try:
            with no_warnings():
                return RDBStorage(
                    # Which driver this means depends on the version of SQLAlchemy.
                    re.sub("^postgres(ql)?://", "postgresql+psycopg://", name),
                    engine_kwargs={"pool_pre_ping": True},
                    heartbeat_interval=max(1, round(HEARTBEAT_SECONDS)),
                    grace_period=max(2, round(STALE_SECONDS)),
                )
        except (IntegrityError, ProgrammingError):
            # Workers that begin together make the same tables, and all but one of them fail.
            if not tries:
                raise
            time.sleep(0.1 + os.getpid() % 10 / 10)


def _shown_safely(name: str) -> str:
    try:
        return shown(name)
    except Exception:
        return f"{name.partition('://')[0]}://..."


def quiet() -> None:
    """Let Optuna report only what goes wrong: what happens is told by the search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)


@contextmanager
def no_warnings() -> Iterator[None]:
    """Be told nothing by Optuna: that parts may still change, that heartbeats are not its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
