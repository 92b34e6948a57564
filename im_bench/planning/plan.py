"""From a suite to the cells and stages that it takes: a pure expansion that runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from im_bench.errors import unknown_name
from im_bench.planning.loading import load_suite
from im_bench.planning.preflight import refusal
from im_bench.planning.sources import Source, locate
from im_bench.schedules.base import Schedule
from im_bench.suites.experiment import Experiment, needs_of
from im_bench.suites.graph import Coordinates, Graph, Stage
from im_bench.suites.networks import needs_of_networks
from im_bench.suites.schema import BudgetName, DataSpec, Enters, Suite


@dataclass(frozen=True)
class Cell:
    """One method on one data set and split: one entry of a results table, over several seeds.

    Attributes:
        data: Name of the data set in the suite.
        split: Share of labelled images, or ``file``.
        method: Name of the method in the suite.
        title: What tables call the method.
        finals: Key of the stage that holds the scores, by seed.
        problem: Why the cell cannot run, or an empty string.
    """

    data: str
    split: str
    method: str
    title: str
    finals: dict[int, str]
    problem: str = ""

    @property
    def name(self) -> str:
        """``data/split/method``, by which commands are told of a cell."""
        return f"{self.data}/{self.split}/{self.method}"


@dataclass(frozen=True)
class Plan:
    """All cells of a suite and the graph of stages that they share.

    Attributes:
        suite: What was asked for.
        path: The suite's file.
        budget: Which budget holds.
        cells: In the order of the suite: data sets, then methods.
        graph: The stages, each after those it requires.
        warnings: What of the files of its data sets is hardly meant, by data set.
    """

    suite: Suite
    path: Path
    budget: BudgetName
    cells: list[Cell] = field(default_factory=list)
    graph: Graph = field(default_factory=Graph)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The suite's name and the budget, which tables must not mix."""
        return f"{self.suite.name}-{self.budget}"

    def cell(self, name: str) -> Cell:
        """Return the cell of that name.

        Raises:
            ImBenchError: If there is none.
        """
        cells = {cell.name: cell for cell in self.cells}
        if name not in cells:
            raise unknown_name("cell", name, cells)
        return cells[name]

    def stages_of(self, cell: Cell) -> list[Stage]:
        """Return all stages that a cell needs, each after those it requires."""
        return self.closure(cell.finals.values())

    def closure(self, keys: Collection[str]) -> list[Stage]:
        """Return the stages with these keys and all that they require, in the graph's order."""
        return self.graph.closure(keys)

    def packed(self, data: str) -> Stage | None:
        """Return the stage that packs a data set, which others with the same data share."""
        cells = (cell for cell in self.cells if cell.data == data)
        stages = (stage for cell in cells for stage in self.stages_of(cell))
        return next((stage for stage in stages if stage.kind == "data"), None)

    def uses(self) -> Counter[str]:
        """Count, for each stage, the cells and seeds that need it."""
        return Counter(
            stage.key
            for cell in self.cells
            for key in cell.finals.values()
            for stage in self.closure([key])
        )


def _chosen(kind: str, wanted: Collection[str] | None, known: Collection[str]) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise unknown_name(f"{kind} in this suite", name, known)
    return [name for name in known if not wanted or name in wanted]


def make_plan(
    path: Path,
    out: Path,
    data_root: Path,
    *,
    budget: BudgetName | None = None,
    methods: Collection[str] | None = None,
    data: Collection[str] | None = None,
    seeds: Collection[int] | None = None,
    minutes: float | None = None,
) -> Plan:
    """Expand a suite, or the part of it that is asked for.

    Args:
        path: The suite's file.
        out: The results folder (only a cache of file hashes is kept there).
        data_root: Where prepared data sets lie.
        budget: Instead of the suite's own.
        methods: Names of methods of the suite; all by default.
        data: Names of data sets of the suite; all by default.
        seeds: Instead of the suite's own.
        minutes: Time limit of stages whose ``resources`` have none.

    Raises:
        ImBenchError: If the suite is wrong or a name does not exist. Missing data are no error
            here: they are the ``problem`` of their cells.
    """
    suite, built = load_suite(path)
    plan = Plan(suite, path, budget or suite.budget, graph=Graph(minutes))
    chosen = {name: built[name] for name in _chosen("method", methods, built)}
    plan_cells(plan, chosen, out, data_root, data=data, seeds=seeds)
    return plan


def plan_cells(
    plan: Plan,
    methods: Mapping[str, Schedule],
    out: Path,
    data_root: Path,
    *,
    data: Collection[str] | None = None,
    seeds: Collection[int] | None = None,
) -> list[Cell]:
    """Add the cells of some methods to a plan, with their stages, and return these cells.

    Args:
        plan: What they are added to; its suite says all but the methods.
        methods: By the names that the cells will have.
        out: The results folder (only a cache of file hashes is kept there).
        data_root: Where prepared data sets lie.
        data: Names of data sets of the suite; all by default.
        seeds: Instead of the suite's own.

    Raises:
        ImBenchError: The suite has no data set of that name.
    """
    suite = plan.suite
    cells: list[Cell] = []
    for data_name in _chosen("data set", data, suite.data):
        spec = suite.data[data_name]
        packed, source = data_stage(plan, data_name, out, data_root)
        plan.warnings[data_name] = source.warnings
        for name, method in methods.items():
            finals = {
                seed: method.build(
                    name, Experiment(plan.graph, suite, plan.budget, data_name, packed, spec, seed)
                ).key
                for seed in (seeds or suite.seeds)
            }
            title = method.title_of(name)
            stages = plan.closure(finals.values())
            problem = source.missing
            if source.census is not None:
                problem = refusal(data_name, source.census, stages)
            problem = problem or "; ".join(needs_of_networks(stages).missing)
            cells.append(Cell(data_name, spec.split, name, title, finals, problem))
    plan.cells.extend(cells)
    return cells


def data_stage(plan: Plan, name: str, out: Path, data_root: Path) -> tuple[Stage, Source]:
    """Add the stage that packs a data set to a plan.

    Args:
        plan: Its suite has the data set.
        name: The data set's name there.
        out: The results folder (only a cache of file hashes is kept there).
        data_root: Where prepared data sets lie.

    Returns:
        The stage, and where its data come from.
    """
    spec = plan.suite.data[name]
    source = locate(name, spec, plan.path, data_root, out / "file-hashes.json")
    packing = {
        "source": source.identity,
        **spec.model_dump(mode="json", include=DataSpec.entering(Enters.PACKING)),
    }
    stage = plan.graph.add(
        "data",
        Coordinates("data", data=name),
        packing,
        paths=source.paths,
        needs=needs_of("data", plan.suite, spec),
    )
    return stage, source
