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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from im_bench.methods.names import MASKED, registry_name
from im_bench.methods.registry import BUILT_IN, method_class
from im_bench.planning.loading import BUILT_IN as SUITES
from im_bench.planning.plan import Cell, Plan, make_plan
from im_bench.report.reference import ReportedNumber, load_references
from im_bench.report.results import rows_of
from im_bench.report.tables.columns import columns_of
from im_bench.report.tables.entries import Column, Row
from im_bench.report.tables.matching import compare

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
        runs: The cells that are comparable, by suite.
        reasons: Why numbers have no such cell, with how many these are.
    """

    numbers: list[ReportedNumber] = field(default_factory=list)
    runs: dict[str, list[Cell]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)


class Score(NamedTuple):
    """An entry of a table in ``benchmarks/results``: under which heading and column it stands."""

    file: str
    heading: str
    column: str
    score: str


@dataclass(frozen=True)
class Planned:
    """A suite, expanded, and what its results table would have."""

    plan: Plan
    columns: Mapping[str, Column]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Known:
    """What there is, read once.

    Attributes:
        suites: All suites, by name.
        configs: Names of the configs, relative to ``mm_configs``.
        recordings: Names of recordings, by the module of tests that compares with them.
        measured: Scores in ``benchmarks/results`` by a method's title.
    """

    suites: Mapping[str, Planned]
    configs: tuple[str, ...]
    recordings: Mapping[str, list[str]]
    measured: Mapping[str, list[Score]]


def read_known(root: Path = ROOT) -> Known:
    """Read registries, suites, configs, recordings and results."""
    return Known(
        {path.stem: planned(path) for path in sorted(SUITES.glob("*.yaml"))},
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


def planned(path: Path) -> Planned:
    """Expand a suite, without data, and say what its tables would measure."""
    with tempfile.TemporaryDirectory() as empty:
        plan = make_plan(path, Path(empty), Path(empty))
    metrics = {name: metric_of(spec.folder or name) for name, spec in plan.suite.data.items()}
    return Planned(plan, columns_of(plan, metrics), rows_of(plan))


def metric_of(folder: str, root: Path = ROOT) -> str:
    """Return the headline metric of an official data set, as its recipe writes it; else nothing."""
    name = folder.partition("/")[0].replace("-", "_")
    recipe = root / "im_bench" / "data" / "prepare" / f"{name}.py"
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    match = re.search(r'"metric": "(\w+)"', text)
    return match[1] if match else ""


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


def measured_in(paths: Iterable[Path]) -> dict[str, list[Score]]:
    """Return the scores of Markdown tables whose first column is ``method``, by its entries.

    Columns of scores have an arrow; a column such as ``+ IM`` is of the method with that addition,
    in the metric of the column before.
    """
    found: dict[str, list[Score]] = {}
    for path in paths:
        heading, header = "", list[str]()
        for text in path.read_text(encoding="utf-8").splitlines():
            if text.startswith("## "):
                heading = text.removeprefix("## ").partition(":")[0]
            entries = [plain(entry) for entry in text.strip().strip("|").split("|")]
            if not text.startswith("|"):
                header = []
            elif entries[0] == "method":
                header = entries
            elif len(entries) == len(header):
                metric = ""
                for column, score in zip(header[1:], entries[1:], strict=True):
                    added = column if column.startswith("+ ") else ""
                    metric = metric if added else column
                    if re.match(r"\d", score) and re.search("[↑↓]", metric):
                        title = f"{entries[0]} {added}".strip()
                        name = re.sub(" [↑↓]", "", metric)
                        found.setdefault(title, []).append(Score(path.name, heading, name, score))
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
        row = (number.method, number.variant, number.metric, *said_of(number).values())
        line = tables.setdefault(table, {}).setdefault(row, Line())
        line.numbers.append(number)
        found, reason = runs_of(known, number)
        for suite, cell in found:
            cells = line.runs.setdefault(suite, [])
            if cell not in cells:
                cells.append(cell)
        if not found:
            line.reasons[reason] += 1
    return {table: list(rows.values()) for table, rows in tables.items()}


def said_of(number: ReportedNumber) -> dict[str, str]:
    """Return what else separates a method's lines: whatever is not its split or its value."""
    return {
        "crop": number.crop,
        "output stride": number.output_stride,
        "generation": number.generation,
        "selection": number.selection,
    }


def runs_of(known: Known, number: ReportedNumber) -> tuple[list[tuple[str, Cell]], str]:
    """Return the cells, with their suites, that a number is comparable to; or why there is none."""
    if registry_name(number.method) not in BUILT_IN:
        return [], "method not in im-bench"
    if number.variant:
        return [], f"variant: {number.variant}"
    found: list[tuple[str, Cell]] = []
    others: list[tuple[str, ...]] = []
    on_data = False
    for name, suite in known.suites.items():
        cells = {cell.data: cell for cell in suite.plan.cells if cell.method == number.method}
        if not cells:
            continue
        references = (suite.plan.suite.data[data].reference or "" for data in cells)
        on_data |= any(one.partition("/")[0] == number.data for one in references)
        comparison = compare(suite.plan, suite.columns, suite.rows, [number])
        found += [(name, cells[data]) for _, data in comparison.chosen]
        others += [differences for _, differences in comparison.other]
    if found:
        return found, ""
    if others:
        nearest = min(others, key=len)
        return [], "other protocol: " + "; ".join(nearest)
    if not on_data:
        return [], f"no suite has it on {number.data}"
    if number.generation:
        return [], f"other protocol: generation {number.generation}, not the last one"
    return [], "other protocol: " + (
        "all labels, not some" if number.split == "all" else "some labels, not all"
    )


def configs_of(
    known: Known, method: str, backbone: str = "", data: str = "", splits: Iterable[str] = ()
) -> list[str]:
    """Return the configs of a method, of one network, data set and some splits if those are named.

    Which of the published lists a split is of is a variable of the configs and not in their names.
    """
    folder = "im/" if method.endswith(MASKED) else ""
    network = NETWORKS.get(backbone, "") if backbone else "[^_]+"
    short = DATA.get(data, "") if data else "[^_]+"
    if not network or not short:
        return []
    split = "|".join(re.escape(one.replace("/", "-")) for one in splits) or "[^_]+"
    pattern = re.compile(
        rf"{folder or '(?!im/)[^/]+/'}{registry_name(method)}_{network}_{short}_({split})\.py"
    )
    return [name for name in known.configs if pattern.fullmatch(name)]


def recordings_of(known: Known, method: str) -> list[str]:
    """Return the recordings of a method: those whose names begin as its file is called."""
    module = BUILT_IN[registry_name(method)].partition(":")[0].rpartition(".")[2]
    family = {"inconsistency_masks": "im", "model_ensemble": "im"}.get(module, module)
    prefix = family.replace("_", "") + "__"
    return [
        one
        for names in known.recordings.values()
        for one in sorted(names)
        if one.startswith(prefix)
    ]


def page(known: Known, numbers: Sequence[ReportedNumber]) -> str:
    """Return the text of ``docs/coverage.md``."""
    tables = lines_of(known, numbers)
    everything = [line for lines in tables.values() for line in lines]
    reasons = sum((line.reasons for line in everything), Counter[str]())
    kinds = Counter[str]()
    for reason, count in reasons.items():
        kinds[re.sub(r":.*|(?<=no suite has it) on .*", "", reason)] += count
    measured = sum(bool(scores_of(known, line)) for line in everything)
    parts = [
        "# Coverage",
        f"What of the source papers' tables runs in im-bench. Written by `{COMMAND}` from the "
        "registry of methods, the suites, the configs, `benchmarks/reference`, the recordings that "
        "the tests name, and `benchmarks/results`; the tests fail where this page is not what that"
        " command writes.",
        f"Of {len(numbers)} reported numbers, {len(numbers) - reasons.total()} have a cell of a "
        "suite that is run with the same backbone, lists, split and metric, and may stand beside "
        "it in a table. The others have none, and this is why:",
        "| why not | numbers |\n| --- | ---: |\n"
        + "\n".join(f"| {kind} | {count} |" for kind, count in kinds.most_common()),
        f"**{measured or 'None'} of the {sum(bool(line.runs) for line in everything)} lines with "
        "such a cell has a committed result on the official data.** What was measured on small "
        "real data stands under 'Methods'.",
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
            for suite, planned in known.suites.items()
            if any(registry_name(cell.method) == name for cell in planned.plan.cells)
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
    for shown, what in ((title, "measured"), (f"{title} + IM", "measured with masks")):
        places: dict[tuple[str, str], list[str]] = {}
        for score in known.measured.get(shown, ()):
            place = places.setdefault((score.file, score.heading), [])
            place.append(f"{score.column} {score.score}")
        for (file, heading), values in places.items():
            found = True
            named = f"{heading}: " if heading else ""
            yield what, f"{named}{'; '.join(values)} ({link(file)})"
    if not found:
        yield "measured", "no committed result"


def scores_of(known: Known, line: Line) -> list[Score]:
    """Return what was measured of a line: in the results file that is called like its suite."""
    return [
        score
        for suite, cells in line.runs.items()
        for score in known.measured.get(cells[0].title, ())
        if score.file == f"{suite}.md"
    ]


def link(file: str) -> str:
    """Return a link to a page of results."""
    return f"[{file}](../benchmarks/results/{file})"


def _who(line: Line) -> tuple[str, ...]:
    first = line.numbers[0]
    return first.method, first.variant, first.metric


def table_of(known: Known, lines: Iterable[Line]) -> str:
    """Return the Markdown table of the lines of one reported table."""
    lines = list(lines)
    alike: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for line in lines:
        alike.setdefault(_who(line), []).append(said_of(line.numbers[0]))
    several_metrics = len({line.numbers[0].metric for line in lines}) > 1
    rows = [
        "| method | reported | run by | config | recordings | measured |",
        "| --- | --- | --- | --- | ---: | --- |",
    ]
    for line in lines:
        first = line.numbers[0]
        name = f"`{first.method}`" + (f" ({first.variant})" if first.variant else "")
        name += "".join(
            f", {said if key == 'selection' else f'{key} {said}'}"
            for key, said in said_of(first).items()
            if said and (key == "generation" or len({one[key] for one in alike[_who(line)]}) > 1)
        )
        reported = ", ".join(
            f"{number.split}: {'~' if number.approximate else ''}{number.value:g}"
            for number in line.numbers
        )
        metric = f"{first.metric}, " if several_metrics else ""
        runs = "; ".join(
            f"`{suite}` {', '.join(cell.data for cell in cells)}"
            for suite, cells in line.runs.items()
        )
        reasons = "; ".join(line.reasons)
        splits = [number.split for number in line.numbers]
        configs = configs_of(known, first.method, first.backbone, first.data, splits)
        scores = "; ".join(
            f"{one.column} {one.score} ({link(one.file)})" for one in scores_of(known, line)
        )
        rows.append(
            f"| {name} | {metric}{reported} {first.unit} "
            f"| {'; '.join(one for one in (runs, reasons and f'*{reasons}*') if one)} "
            f"| {f'{len(configs)}, `{configs[0]}`' if configs else ''} "
            f"| {len(recordings_of(known, first.method)) or ''} "
            f"| {scores or ('not measured' if runs else '')} |"
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
