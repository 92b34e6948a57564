"""Finds a suite by name or by file."""

from __future__ import annotations

from pathlib import Path

from im_bench.errors import ImBenchError, unknown_name
from im_bench.methods.names import MASKED, registry_name
from im_bench.schedules.base import Schedule
from im_bench.schedules.online import OnlineSchedule
from im_bench.schedules.registry import schedule_class
from im_bench.suites.schema import Suite
from im_bench.yaml_files import load_document

#: Suites that come with the repository.
BUILT_IN = Path(__file__).resolve().parents[2] / "benchmarks" / "suites"


def suite_path(name: str) -> Path:
    """Return the file of a suite that comes with im-bench, or of the user's own.

    Args:
        name: ``quickstart``, ``from-scratch``, ... or a path that ends in ``.yaml`` or ``.yml``.

    Raises:
        ImBenchError: If there is none.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ImBenchError(f"there is no suite file {path}: check the path after --suite")
        return path
    known = {path.stem: path for path in BUILT_IN.glob("*.yaml")}
    if name not in known:
        raise unknown_name("suite", name, known)
    return known[name]


def load_suite(path: Path) -> tuple[Suite, dict[str, Schedule]]:
    """Read and validate a suite file and the fields of its methods.

    Returns:
        The suite, and its methods by the names they have there.

    Raises:
        ImBenchError: With file and line of what is wrong.
    """
    document = load_document(path)
    suite = document.validate(Suite)
    if suite.name != path.stem:
        raise document.error(
            f"the suite calls itself {suite.name!r} and its file {path.stem!r}: make them the same",
            ["name"],
        )
    methods = {}
    for name, fields in suite.methods.items():
        at = ["methods", name]
        try:
            kind = schedule_class(registry_name(str((fields or {}).get("method", name))))
        except ImBenchError as error:
            raise document.error(str(error), at) from None
        method = document.validate(kind, at)
        if name.endswith(MASKED):
            if not isinstance(method, OnlineSchedule):
                raise document.error(
                    f"{name!r}: only methods that train with unlabelled images take "
                    f"{MASKED}, and {registry_name(name)!r} does not: remove it",
                    at,
                )
            method = method.masked()
        methods[name] = method
    return suite, methods
