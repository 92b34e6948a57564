"""Runs a plan: every stage once all that it needs is done, whatever else fails."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from im_bench.errors import ImBenchError
from im_bench.planning.plan import Plan
from im_bench.runner.engines.base import Engine
from im_bench.runner.events import Event, Summary
from im_bench.runner.folder import Status
from im_bench.runner.interrupt import StopRequest
from im_bench.runner.plan_run import Guide, PlanRun, Retries, checked
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage


class Policy(str, Enum):
    """What to do with what exists."""

    ONLY_MISSING = "only-missing"
    RETRY_FAILED = "retry-failed"
    ALWAYS = "always"
    NEVER = "never"


def run_plan(
    plan: Plan,
    store: Store,
    engine: Engine,
    policy: Policy = Policy.ONLY_MISSING,
    on_event: Callable[[Event], None] = lambda event: None,
    stop: StopRequest | None = None,
    grace: float = 20.0,
    retries: Retries | None = None,
    guide: Guide | None = None,
) -> Summary:
    """Run what a plan needs and has not.

    Ready stages with the longest chain of others behind them go first, among these the ones that
    most cells share. A stage that another living process runs is waited for. A failed one is tried
    again if that may help, and takes with it only those that need it.

    Args:
        plan: What is wanted.
        store: Where it lies.
        engine: What runs it.
        policy: What to do with what exists. ``always`` first discards all results of the plan, so
            that an interrupted run is continued by ``only-missing``.
        on_event: Told of everything, in order, in this thread.
        stop: Asked all the time whether to end.
        grace: Seconds that running stages have to reach a safe point before they are killed.
        retries: How often a stage is tried.
        guide: Adds cells to the plan and takes stages back while it runs. Without it, the plan is
            all there is.

    Raises:
        ImBenchError: If nothing can run: no cell has its data, the results folder cannot be
            written, or it holds other stages under the plan's names.
    """
    stages = wanted_stages(plan) if plan.cells or guide is None else []
    refused = {cell.name: cell.problem for cell in plan.cells if cell.problem}
    summary = Summary(total=len(stages), refused=refused)
    if policy is Policy.NEVER:
        summary.present = sum(store.status(stage) is Status.DONE for stage in stages)
        return summary
    store.make()
    existing = checked(stages, plan, store)
    if policy is Policy.ALWAYS:
        for stage in existing:
            store.folder(stage).discard()
    retry = policy is not Policy.ONLY_MISSING
    run = PlanRun(plan, store, engine, retry, on_event, summary, retries or Retries())
    run.take_up(stages, plan.uses())
    run.loop(stop or StopRequest(), grace, guide)
    return summary


def wanted_stages(plan: Plan) -> list[Stage]:
    """Return the stages of all cells that have their data.

    Raises:
        ImBenchError: If no cell has; it says what is missing.
    """
    runnable = [cell for cell in plan.cells if not cell.problem]
    if not runnable:
        problems = dict.fromkeys(cell.problem for cell in plan.cells)
        raise ImBenchError("; ".join(problems) or "the plan has no cells")
    return plan.closure([key for cell in runnable for key in cell.finals.values()])
