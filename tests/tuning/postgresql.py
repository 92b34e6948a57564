"""A PostgreSQL server of the tests' own: real, on a socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("initdb", "postgres")
#: Who runs it where the tests are root's, whom it refuses.
USERS = ("postgres", "nobody")


def missing() -> str:
    """Return what a server lacks on this machine, or an empty string."""
    absent = [name for name in PROGRAMS if not _found(name)]
    return f"no {', '.join(absent)} here: see tests/system-packages.txt" if absent else ""


@dataclass
class Server:
    """A server, which can be stopped and started again.

    Attributes:
        folder: Its files, and its socket.
    """

    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "postgres.out").open("ab") as out:
            self._process = subprocess.Popen(
                [
                    *_as_other_user(), "--pdeathsig", "KILL", _found("postgres"),
                    "-D", str(self.folder / "data"), "-k", str(self.folder),
                    "-c", "listen_addresses=", "-c", "fsync=off",
                ],
                stdout=out,
                stderr=out,
                cwd=self.folder,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._answers():
            said = (self.folder / "postgres.out").read_text()[-2000:]
            assert self._process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def database(self) -> str:
        """Return the URL of a new database."""
        import psycopg

        name = f"d{uuid.uuid4().hex[:8]}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._address(name)

    def _address(self, name: str) -> str:
        return f"postgresql://bench@/{name}?host={self.folder}"

    def _answers(self) -> bool:
        import psycopg

        with suppress(psycopg.OperationalError), psycopg.connect(self._address("postgres")):
            return True
        return False


@contextmanager
def server() -> Iterator[Server]:
    """Run a server for as long as the block does."""
    # Not below pytest's folder: another user must enter it, and sockets want a short name.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    prefix = _as_other_user()
    if len(prefix) > 1:
        shutil.chown(folder, *_other_user())
    made = Server(folder)
    try:
        subprocess.run(
            [
                *prefix, _found("initdb"), "-D", str(folder / "data"), "-U", "bench",
                "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C",
            ],
            check=True, stdout=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
        made.start()
        yield made
        made.stop()
    finally:
        if made._process is not None and made._process.poll() is None:
            made._process.kill()
            made._process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _as_other_user() -> list[str]:
    if os.getuid() != 0:
        return ["setpriv"]
    user, group = _other_user()
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


def _other_user() -> tuple[int, int]:
    import pwd

    for name in USERS:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise AssertionError(f"none of the users {USERS} is there")


def _found(name: str) -> str:
    """Return the path of a program, which Debian has outside of everybody's."""
    folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *reversed(folders)])) or ""
