"""Write ``docs/coverage.md``: what of the papers' tables runs here, and what was measured.

    python benchmarks/coverage.py            # write the page
    python benchmarks/coverage.py --check    # exit 1 if the committed page would be another

All of it is read from the registry of methods, the suites, the configs, the reported numbers, the
recordings that tests name, and the tables in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from im_bench.methods.online import MASKED, registry_name
from im_bench.methods.registry import BUILT_IN, method_class
from im_bench.report.reference import ReportedNumber, load_references
from im_bench.report.tables.matching import Protocol, protocol_of
from im_bench.suites.loading import BUILT_IN as SUITES
from im_bench.suites.plan import Cell, Plan, make_plan

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "coverage.md"
NETWORKS = {
    "ResNet-50": "r50",
    "ResNet-101": "r101",
    "DINOv2-S": "dinov2-s",
    "DINOv2-B": "dinov2-b",
}
DATA = {"cityscapes": "cs", "pascal": "voc"}
COMMAND = "python benchmarks/coverage.py"


@dataclass
class Line:
    """Reported numbers of one method that differ in their split only.

    Attributes:
        numbers: In the order of the source.
        runs: Names of the cells that are comparable, by suite.
        reasons: Why a number has no such cell.
        covered: How many numbers have one.
    """

    numbers: list[ReportedNumber] = field(default_factory=list)
    runs: dict[str, list[str]] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    covered: int = 0


@dataclass(frozen=True)
class Known:
    """What there is, read once.

    Attributes:
        cells: Cells and protocols of all suites, by suite.
        configs: Names of the configs, relative to ``mm_configs``.
        recordings: Names of recordings, by the module of tests that compares with them.
        measured: Scores in ``benchmarks/results``: (file, column, score) by a method's title.
    """

    cells: Mapping[str, list[tuple[Cell, Protocol | None]]]
    configs: tuple[str, ...]
    recordings: Mapping[str, list[str]]
    measured: Mapping[str, list[tuple[str, str, str]]]


def read_known(root: Path = ROOT) -> Known:
    """Read registries, suites, configs, recordings and results."""
    return Known(
        {path.stem: list(cells_of(path)) for path in sorted(SUITES.glob("*.yaml"))},
        tuple(
            sorted(
                str(path.relative_to(root / "mm_configs"))
                for path in (root / "mm_configs").glob("[!_]*/*.py")
            )
        ),
        {
            path.stem: names
            for path in sorted((root / "tests" / "golden").glob("*.py"))
            if (names := recordings_in(path))
        },
        measured_in(sorted((root / "benchmarks" / "results").glob("*.md"))),
    )


def cells_of(path: Path) -> Iterator[tuple[Cell, Protocol | None]]:
    """Yield a suite's cells, each with what a number must agree with to be comparable."""
    with tempfile.TemporaryDirectory() as empty:
        plan: Plan = make_plan(path, Path(empty), Path(empty))
    for cell in plan.cells:
        yield cell, protocol_of(plan.suite.data[cell.data], "")


def recordings_in(path: Path) -> list[str]:
    """Return the recordings that a module of tests compares with: keys such as ``u2pl__ema``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {
        key.value: None
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
        and isinstance(key.value, str)
        and re.fullmatch(r"[a-z0-9]+__\w+", key.value)
    }
    return list(found)


def measured_in(paths: Iterable[Path]) -> dict[str, list[tuple[str, str, str]]]:
    """Return the scores of Markdown tables whose first column is ``method``, by its entries."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for path in paths:
        header: list[str] = []
        for text in path.read_text(encoding="utf-8").splitlines():
            entries = [plain(entry) for entry in text.strip().strip("|").split("|")]
            if not text.startswith("|"):
                header = []
            elif entries[0] == "method":
                header = entries
            elif header and len(entries) == len(header) and not set(entries[0]) <= set("-: "):
                for column, score in zip(header[1:], entries[1:], strict=True):
                    if re.match(r"\d", score):
                        found.setdefault(entries[0], []).append((path.name, column, score))
    return found


def plain(entry: str) -> str:
    """Return a table's entry without Markdown and HTML."""
    text = re.sub(r"<br>", " ", entry)
    return re.sub(r"<[^>]+>|\*", "", text).strip()


def lines_of(known: Known, numbers: Iterable[ReportedNumber]) -> dict[tuple[str, ...], list[Line]]:
    """Return the reported numbers by table: source, data set, backbone and lists."""
    tables: dict[tuple[str, ...], dict[tuple[str, ...], Line]] = {}
    for number in numbers:
        table = (number.source, number.data, number.backbone, number.family)
        row = (number.method, number.variant, number.metric, number.generation, number.crop)
        line = tables.setdefault(table, {}).setdefault(row, Line())
        line.numbers.append(number)
        found, reason = runs_of(known, number)
        line.covered += bool(found)
        for suite, cell in found:
            line.runs.setdefault(suite, []).append(cell)
        if not found and reason not in line.reasons:
            line.reasons.append(reason)
    return {table: list(rows.values()) for table, rows in tables.items()}


def runs_of(known: Known, number: ReportedNumber) -> tuple[list[tuple[str, str]], str]:
    """Return the cells, with their suites, that a number is comparable to; or why there is none."""
    if number.method.removesuffix(MASKED) not in BUILT_IN:
        return [], "method not in im-bench"
    if number.variant:
        return [], f"variant: {number.variant}"
    found: list[tuple[str, str]] = []
    reasons: list[tuple[str, ...]] = []
    for suite, cells in known.cells.items():
        for cell, protocol in cells:
            if protocol is None or cell.method != number.method or protocol.data != number.data:
                continue
            differences = protocol.differences(number)
            if differences:
                reasons.append(differences)
            else:
                found.append((suite, cell.data))
    if found:
        return found, ""
    if reasons:
        return [], "other protocol: " + "; ".join(min(reasons, key=len))
    return [], f"no suite has it on {number.data}"


def configs_of(known: Known, method: str, backbone: str = "", data: str = "") -> list[str]:
    """Return the configs of a method, of one network and data set if they are named."""
    folder = "im/" if method.endswith(MASKED) else ""
    network = NETWORKS.get(backbone, "") if backbone else "[^_]+"
    short = DATA.get(data, "") if data else "[^_]+"
    if not network or not short:
        return []
    pattern = re.compile(rf"{folder or '(?!im/)[^/]+/'}{registry_name(method)}_{network}_{short}_")
    return [name for name in known.configs if pattern.match(name)]


def recordings_of(known: Known, method: str) -> list[str]:
    """Return the recordings of a method: of the module of tests that is called like its file."""
    module = BUILT_IN[registry_name(method)].partition(":")[0].rpartition(".")[2]
    family = {"inconsistency_masks": "im", "model_ensemble": "im"}.get(module, module)
    return known.recordings.get(family, [])


def page(known: Known, numbers: Sequence[ReportedNumber]) -> str:
    """Return the text of ``docs/coverage.md``."""
    tables = lines_of(known, numbers)
    covered = sum(line.covered for lines in tables.values() for line in lines)
    parts = [
        "# Coverage",
        f"What of the source papers' tables runs in im-bench. Written by `{COMMAND}` from the "
        "registry of methods, the suites, the configs, `benchmarks/reference`, the recordings that "
        "the tests name, and `benchmarks/results`; the tests fail where this page is not what that"
        " command writes.",
        f"Of {len(numbers)} reported numbers, {covered} have a cell of a suite that is run with "
        "the same backbone, lists, split and metric. The others are listed with the reason. **None "
        "of the official data sets was at hand**, so no cell of the tables under 'Reported' "
        "was measured; what was measured, on small real data, stands under 'Methods'.",
        "## Methods",
        *methods_part(known),
        "## Reported",
    ]
    missing: dict[str, dict[str, int]] = {}
    # The two studies of Inconsistency Masks first.
    ordered = sorted(tables.items(), key=lambda table: ", Study " not in table[0][0])
    for (source, data, backbone, family), lines in ordered:
        shown = [one for one in lines if registry_name(one.numbers[0].method) in BUILT_IN]
        for line in lines:
            if line not in shown:
                methods = missing.setdefault(source, {})
                name = line.numbers[0].method
                methods[name] = methods.get(name, 0) + len(line.numbers)
        if shown:
            named = ", ".join(one for one in (data, backbone, family and f"lists {family}") if one)
            parts += [f"### {source}: {named}", table_of(known, shown)]
    parts += [
        "## Reported, and not implemented",
        "Other papers' baselines and methods that are not of the studies, with how many numbers "
        "are theirs.",
        "\n".join(f"- {source}: {_counts(methods)}" for source, methods in missing.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _counts(methods: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(methods.items()))


def methods_part(known: Known) -> Iterator[str]:
    """Yield the paragraphs of each method of the registry."""
    for name in BUILT_IN:
        kind = method_class(name)
        file = BUILT_IN[name].partition(":")[0].replace(".", "/") + ".py"
        suites = [
            suite
            for suite, cells in known.cells.items()
            if any(registry_name(cell.method) == name for cell, _ in cells)
        ]
        plain_configs, masked = (configs_of(known, one) for one in (name, name + MASKED))
        recordings = recordings_of(known, name)
        rows = [
            ("source", kind.source),
            ("code", f"[{file}](../{file})"),
            ("suites", ", ".join(suites) or "none"),
            ("configs", counted(plain_configs, masked)),
            ("recordings", ", ".join(f"`{one}`" for one in recordings) or "none"),
            *measured_rows(known, kind.title),
        ]
        lines = "\n".join(f"| {key} | {value} |" for key, value in rows)
        yield f"### `{name}`: {kind.title}\n\n| | |\n| --- | --- |\n{lines}"


def counted(plain_configs: list[str], masked: list[str]) -> str:
    """Return how many configs there are, and what they are called."""
    if not plain_configs:
        return "none"
    first = plain_configs[0]
    with_masks = f", and {len(masked)} with masks in `im/`" if masked else ""
    return f"{len(plain_configs)} such as `mm_configs/{first}`{with_masks}"


def measured_rows(known: Known, title: str) -> Iterator[tuple[str, str]]:
    """Yield what was measured of a method, with and without masks, by the file that has it."""
    found = False
    for shown, scores in known.measured.items():
        if shown not in (title, f"{title} + IM"):
            continue
        files: dict[str, list[str]] = {}
        for file, column, score in scores:
            files.setdefault(file, []).append(
                f"{column.replace(' ↑', '').replace(' ↓', '')} {score}"
            )
        for file, values in files.items():
            found = True
            what = "measured with masks" if shown != title else "measured"
            yield what, f"{'; '.join(values)} ([{file}](../benchmarks/results/{file}))"
    if not found:
        yield "measured", "no committed result"


def table_of(known: Known, lines: Iterable[Line]) -> str:
    """Return the Markdown table of the lines of one reported table."""
    rows = [
        "| method | reported | run by | config | recordings |",
        "| --- | --- | --- | --- | ---: |",
    ]
    for line in lines:
        first = line.numbers[0]
        name = f"`{first.method}`" + (f" ({first.variant})" if first.variant else "")
        extra = [f"crop {first.crop}" if first.crop else ""]
        extra.append(f"generation {first.generation}" if first.generation else "")
        said = ", ".join(one for one in extra if one)
        reported = ", ".join(
            f"{number.split}: {'~' if number.approximate else ''}{number.value:g}"
            for number in line.numbers
        )
        runs = "; ".join(f"`{suite}` {', '.join(cells)}" for suite, cells in line.runs.items())
        reasons = "; ".join(line.reasons)
        configs = configs_of(known, first.method, first.backbone, first.data)
        rows.append(
            f"| {name}{f', {said}' if said else ''} | {reported} {first.unit} "
            f"| {'; '.join(one for one in (runs, reasons and f'*{reasons}*') if one)} "
            f"| {f'{len(configs)}, `{configs[0]}`' if configs else ''} "
            f"| {len(recordings_of(known, first.method)) or ''} |"
        )
    return "\n".join(rows)


def main() -> int:
    """Write the page, or check it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    text = page(read_known(), load_references())
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if before == text:
        return 0
    changes = difflib.unified_diff(
        before.splitlines(), text.splitlines(), "docs", "now", "", "", 0, ""
    )
    print("\n".join(changes))
    print(f"{PAGE} is not what the registries say: write it with `{COMMAND}`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
