"""What a page tells of a suite, gathered from its files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from im_bench.planning.plan import Plan
from im_bench.report.page.charts import Chart
from im_bench.report.page.cost import Costs, costs
from im_bench.report.page.curves import CurveReader, inconsistency_charts, learning_charts
from im_bench.report.page.failures import Failures, failures
from im_bench.report.page.gains import Gains, gains
from im_bench.report.page.gallery import Gallery, gallery
from im_bench.report.page.generations import generation_charts, shown_rows
from im_bench.report.page.scores import ClassTable, class_tables, score_charts
from im_bench.report.page.stages import Stages
from im_bench.report.page.styles import MethodStyle, method_styles
from im_bench.report.page.svg import Drawing
from im_bench.report.page.thumbnails import Thumbnails
from im_bench.report.tables.build import generations_table, results_table
from im_bench.report.tables.entries import GenerationsTable, ResultsTable
from im_bench.runner.store import Status, Store

ORDER = (Status.DONE, Status.RUNNING, Status.FAILED, Status.PRUNED, Status.PLANNED)


@dataclass(frozen=True)
class Overview:
    """How far a suite is.

    Attributes:
        cells: How many there are.
        complete: How many have all their seeds.
        stages: How many stand where, those with none left out.
        finished: When the first and the last result was made, if there is any.
    """

    cells: int
    complete: int
    stages: dict[Status, int]
    finished: tuple[datetime, datetime] | None

    @property
    def total(self) -> int:
        """How many stages there are."""
        return sum(self.stages.values())


@dataclass(frozen=True)
class SuiteReport:
    """Everything that the page tells of one suite.

    Attributes:
        id: Names the suite's part of the page in links.
        name: The suite and its budget.
        description: Of the suite.
        overview: How far it is.
        table: Methods by data sets.
        legend: The methods that charts show.
        scores: The table as charts, one for each data set.
        has_references: Whether these show reported numbers.
        gains: What masks add.
        learning: Validation over iterations.
        inconsistency: Inconsistent pixels over iterations.
        generations: From generation to generation, None while there is no number.
        generation_charts: Its charts, by what they show.
        classes: Class by class.
        gallery: Pictures.
        failures: What failed.
        costs: What it took.
    """

    id: str
    name: str
    description: str
    overview: Overview
    table: ResultsTable
    legend: tuple[MethodStyle, ...]
    scores: tuple[Chart, ...]
    has_references: bool
    gains: Gains | None
    learning: tuple[Chart, ...]
    inconsistency: tuple[Chart, ...]
    generations: GenerationsTable | None
    generation_charts: dict[str, tuple[Chart, ...]]
    classes: tuple[ClassTable, ...]
    gallery: Gallery
    failures: Failures
    costs: Costs | None

    @property
    def drawings(self) -> list[Drawing]:
        """All that is drawn: charts, and the legend's swatches."""
        charts = [*self.scores, *self.learning, *self.inconsistency]
        charts += self.gains.charts if self.gains else ()
        charts += (chart for some in self.generation_charts.values() for chart in some)
        return [*(chart.drawing for chart in charts), *(style.swatch for style in self.legend)]

    @property
    def styles(self) -> dict[str, MethodStyle]:
        """The methods that charts show, by name."""
        return {style.method: style for style in self.legend}

    @property
    def left_out(self) -> int:
        """How many methods charts do not show."""
        return len(self.table.rows) - len(self.legend)


def suite_report(plan: Plan, store: Store, thumbnails: Thumbnails) -> SuiteReport:
    """Read the results of a plan.

    Args:
        plan: What was asked for.
        store: What is there.
        thumbnails: Receives the pictures.

    Raises:
        ImBenchError: If the table of reported numbers is wrong.
    """
    stages = Stages(plan, store)
    table = results_table(plan, store)
    styles = method_styles(table)
    reader = CurveReader(stages)
    scores, has_references = score_charts(table, styles)
    generations = generations_table(plan, store)
    numbers = any(entry.scores for row in generations.rows for entry in row.entries)
    return SuiteReport(
        id=plan.name.replace(".", "-"),
        name=plan.name,
        description=plan.suite.description,
        overview=_overview(plan, stages, table),
        table=table,
        legend=tuple(styles.values()),
        scores=scores,
        has_references=has_references,
        gains=gains(table, styles),
        learning=learning_charts(stages, table, styles, reader),
        inconsistency=inconsistency_charts(stages, table, styles, reader),
        generations=shown_rows(generations, styles) if numbers else None,
        generation_charts={
            quantity: charts
            for quantity in ("test", "images_kept", "pixels_kept", "label_accuracy")
            if (charts := generation_charts(generations, styles, quantity))
        },
        classes=class_tables(stages, table, styles),
        gallery=gallery(stages, table, styles, thumbnails),
        failures=failures(stages),
        costs=costs(stages, table),
    )


def _overview(plan: Plan, stages: Stages, table: ResultsTable) -> Overview:
    times = sorted(
        datetime.fromisoformat(str(result["finished"]))
        for stage in stages.existing
        if (result := stages.result(stage)) and result.get("finished")
    )
    return Overview(
        len(plan.cells),
        sum(entry.complete for entry in table.entries.values()),
        {status: n for status in ORDER if (n := stages.counts[status])},
        (times[0], times[-1]) if times else None,
    )
