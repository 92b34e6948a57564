"""Whether a machine is fit to run suites, and what mends what is not. Nothing heavy is imported."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from im_bench.runner.engines.choice import ENGINES, engine_kind
from im_bench.runner.provenance import DISTRIBUTIONS, gpus_here

ROOT = Path(__file__).resolve().parents[2]
#: Versions that are known to work together; only a checkout has them.
CONSTRAINTS = ROOT / "constraints.txt"
GIB = 2**30
#: Below the first a run fails soon, below the second perhaps later.
FREE_BYTES = (GIB, 20 * GIB)
FREE_FILES = (1_000, 100_000)
OPEN_FILES = (256, 1024)
SHARED_BYTES = 1 * GIB
PROBE_SECONDS = 300.0


class Level(str, Enum):
    """How bad something is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was found about one thing.

    Attributes:
        level: How bad it is.
        text: What was found.
        mend: The command that mends or improves it, or an empty string.
    """

    level: Level
    text: str
    mend: str = ""


def check_python() -> Finding:
    """Compare this Python with those that im-bench is made for."""
    here = Version(".".join(map(str, sys.version_info[:3])))
    text = f"Python {here} ({sys.executable})"
    described = _described()
    if described is None:
        return Finding(Level.WARNING, f"{text}; im-bench itself is not installed", install())
    needs = described["Requires-Python"]
    mend = "python3.13 -m venv .venv"
    if needs and here not in Requirement(f"python{needs}").specifier:
        return Finding(Level.PROBLEM, f"{text}: im-bench needs {needs}", mend)
    tested = [
        line.rpartition(" :: ")[2]
        for line in described.get_all("Classifier") or []
        if line.startswith("Programming Language :: Python :: 3.")
    ]
    if f"{here.major}.{here.minor}" not in tested:
        return Finding(Level.WARNING, f"{text}: tested with {', '.join(tested)} only", mend)
    return Finding(Level.OK, text)


def check_libraries(constraints: Path = CONSTRAINTS) -> Iterator[Finding]:
    """Compare the libraries that im-bench uses with what it needs and what is known to work."""
    known = _known_versions(constraints)
    needed = (
        [Requirement(line) for line in metadata.requires("im-bench") or ()] if _described() else []
    )
    fine = []
    for one in needed:
        if one.marker and not one.marker.evaluate({"extra": ""}):
            continue
        found = _installed(one.name)
        if found is None:
            yield Finding(Level.PROBLEM, f"{one.name} is not installed", install())
            continue
        name, version = found
        pinned = known.get(canonicalize_name(one.name)) if name == one.name else None
        if name != one.name:
            text = f"{name} {version} is installed, and im-bench is tested with {one.name}"
            yield Finding(Level.WARNING, text, install())
        elif version not in one.specifier:
            text = f"{name} {version} is too old: im-bench needs {one.specifier}"
            yield Finding(Level.PROBLEM, text, install())
        elif pinned and version not in pinned.specifier:
            text = f"{name} {version}: known to work is {str(pinned.specifier).lstrip('=')}"
            yield Finding(Level.WARNING, text, install())
        else:
            fine.append(f"{name} {version}")
    if fine:
        against = f" as in {constraints}" if known else ""
        yield Finding(Level.OK, f"libraries{against}: {', '.join(fine)}")


def check_torch() -> Finding:
    """See in a process of its own whether PyTorch starts, and which GPUs it sees."""
    answer, error = probe(
        "import torch; answer = {'version': torch.__version__, 'cuda': torch.version.cuda, 'gpus': "
        "[torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]}"
    )
    if answer is None:
        return Finding(Level.PROBLEM, f"PyTorch does not start: {error}", install())
    there = gpus_here()
    if answer["gpus"]:
        text = f"PyTorch {answer['version']} sees {len(answer['gpus'])} GPU(s): "
        return Finding(Level.OK, text + ", ".join(dict.fromkeys(answer["gpus"])))
    if there and answer["cuda"] is None:
        text = f"PyTorch {answer['version']} has no CUDA and does not see {', '.join(there)}"
        return Finding(Level.PROBLEM, text, pip("--force-reinstall", "torch"))
    if there:
        text = (
            f"PyTorch {answer['version']} (CUDA {answer['cuda']}) does not see "
            f"{', '.join(there)}: its driver may be too old, or CUDA_VISIBLE_DEVICES hides it"
        )
        return Finding(Level.PROBLEM, text, "nvidia-smi")
    text = f"PyTorch {answer['version']}: no GPU here, so stages run on {os.cpu_count()} CPU cores"
    return Finding(Level.OK, text)


def check_mmseg() -> Finding:
    """See in a process of its own whether MMCV and MMSegmentation can be imported."""
    answer, error = probe(
        "import mmcv, mmengine, mmseg, mmseg.models; answer = {'mmcv': mmcv.__version__, "
        "'mmengine': mmengine.__version__, 'mmseg': mmseg.__version__}"
    )
    if answer is None:
        mend = install()
        if "libGL" in error:
            mend = f"{pip('opencv-python-headless')}  # or: apt-get install libgl1"
        return Finding(Level.PROBLEM, f"MMSegmentation cannot be imported: {error}", mend)
    return Finding(Level.OK, "imports: " + ", ".join(f"{k} {v}" for k, v in answer.items()))


def check_out(out: Path) -> Iterator[Finding]:
    """See whether results can be written to a folder, and whether there is room."""
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    where = f"--out {out}" + ("" if place == out.absolute() else f" (will be made in {place})")
    other = "give another folder with --out"
    if not place.is_dir():
        yield Finding(Level.PROBLEM, f"{where}: {place} is no folder", other)
        return
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(b"x")
    except OSError as error:
        mend = f"chmod u+rwx {shlex.quote(str(place))}  # or {other}"
        yield Finding(Level.PROBLEM, f"{where} cannot be written and locked: {error}", mend)
        return
    yield Finding(Level.OK, f"{where} can be written and locked")
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize
    yield _measured(
        _level(free, FREE_BYTES),
        f"disk of {place}: {free / GIB:.1f} GiB are free",
        f"im-bench gc --out {shlex.quote(str(out))}  # or {other}",
    )
    if not room.f_files:
        yield Finding(Level.OK, f"disk of {place}: its number of files is not limited")
        return
    yield _measured(
        _level(room.f_favail, FREE_FILES),
        f"disk of {place}: room for {room.f_favail} more files (inodes)",
        f"df -i {shlex.quote(str(place))}  # remove files there, or {other}",
    )


def check_open_files() -> Finding:
    """See how many files a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count: float = float("inf") if soft == resource.RLIM_INFINITY else soft
    most = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    return _measured(
        _level(count, OPEN_FILES), f"a process may have {count:g} files open", f"ulimit -n {most}"
    )


def check_shared_memory(path: Path = Path("/dev/shm")) -> Finding:  # noqa: S108
    """See how much shared memory there is, through which data loaders hand over batches."""
    if not path.is_dir():
        return Finding(Level.OK, f"shared memory: no {path} here")
    size = shutil.disk_usage(path).total
    return _measured(
        Level.OK if size >= SHARED_BYTES else Level.WARNING,
        f"shared memory ({path}): {size / GIB:.2f} GiB",
        f"mount -o remount,size=8G {path}  # of a container: docker run --shm-size 8g",
    )


def check_engines(wanted: str) -> Iterator[Finding]:
    """See whether what engines need is there; it is a problem for the wanted one only.

    Args:
        wanted: Name of the engine that shall be used.
    """
    for name in ENGINES:
        for need in engine_kind(name).needs():
            level = Level.OK if need.met or name != wanted else Level.PROBLEM
            between = ":" if need.met else ""
            remedy = need.remedy or (pip(need.package) if need.package else "")
            yield Finding(level, f"--engine {name}{between} {need.what}", remedy)


def probe(code: str) -> tuple[dict[str, Any] | None, str]:
    """Run Python code in a process of its own.

    Args:
        code: Sets ``answer`` to what JSON can hold.

    Returns:
        The answer and an empty string, or None and the last line of what went wrong.
    """
    words = [sys.executable, "-c", f"import json; {code}; print(); print(json.dumps(answer))"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return None, f"no answer after {PROBE_SECONDS:.0f} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return None, lines[-1] if lines else f"its process ended with status {done.returncode}"
    said = (line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))
    answer: dict[str, Any] = json.loads(next(said))
    return answer, ""


def pip(*what: str) -> str:
    """Return the command that installs packages in versions that are known to work."""
    known = ("-c", str(CONSTRAINTS)) if CONSTRAINTS.is_file() else ()
    return shlex.join([sys.executable, "-m", "pip", "install", *known, *what])


def install() -> str:
    """Return the command that installs im-bench with all that it needs."""
    return pip("-e", str(ROOT)) if CONSTRAINTS.is_file() else pip("--upgrade", "im-bench")


def _level(found: float, limits: tuple[int, int]) -> Level:
    if found < limits[0]:
        return Level.PROBLEM
    return Level.WARNING if found < limits[1] else Level.OK


def _measured(level: Level, text: str, mend: str) -> Finding:
    return Finding(level, text, "" if level is Level.OK else mend)


def _described() -> metadata.PackageMetadata | None:
    try:
        return metadata.metadata("im-bench")
    except metadata.PackageNotFoundError:
        return None


def _known_versions(constraints: Path) -> dict[str, Requirement]:
    """Return the lines of a file of constraints that hold for this Python, by name."""
    if not constraints.is_file():
        return {}
    lines = (line.partition("#")[0].strip() for line in constraints.read_text().splitlines())
    found = (Requirement(line) for line in lines if line)
    return {
        canonicalize_name(one.name): one for one in found if not one.marker or one.marker.evaluate()
    }


def _installed(name: str) -> tuple[str, str] | None:
    """Return name and version of a distribution, or of another that brings the same module."""
    alike = next((names for names in DISTRIBUTIONS.values() if name in names), ())
    for one in (name, *alike):
        try:
            return one, metadata.version(one)
        except metadata.PackageNotFoundError:
            continue
    return None
