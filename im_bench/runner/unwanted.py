"""Which stages of a results folder no suite refers to: in doubt, none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import get_args

from im_bench.errors import ImBenchError
from im_bench.planning.loading import BUILT_IN, load_suite
from im_bench.planning.plan import Plan, make_plan
from im_bench.runner.folder import Spec, StageFolder
from im_bench.runner.store import Store
from im_bench.suites.schema import BudgetName


def unwanted_stages(
    store: Store, folders: Mapping[str, StageFolder], suites: Collection[Path], data_root: Path
) -> tuple[set[str], list[str]]:
    """Return the folders that no suite refers to, and a sentence about each group that stays.

    Suites are the given ones, those that were run into the results folder as far as it remembers,
    and the built-in ones, under every budget and with every seed for which there are results.

    What the first two do not speak of stays: a data set that none of them has, a folder that is no
    stage's, what rests on data that is not at hand, and what a stage needs that stays.

    Args:
        store: The results folder.
        folders: All stages' folders in it, by their names relative to the folder of all stages.
        suites: Their files.
        data_root: Where prepared data sets lie.

    Raises:
        ImBenchError: If a suite is wrong or gone.
    """
    specs = {name: spec for name, folder in folders.items() if (spec := _spec(name, folder))}
    seeds: dict[str, set[int]] = {}
    for spec in specs.values():
        at = spec.coordinates
        if at["seed"] is not None:
            seeds.setdefault(at["data"], set()).add(at["seed"])
    named = _with_remembered(store, suites)
    plans = list(_plans([*named, *sorted(BUILT_IN.glob("*.yaml"))], store, data_root, seeds))
    wanted = {stage.folder for plan in plans for stage in plan.graph}
    spoken_of = {data for path in named for data in load_suite(path)[0].data}
    left_out = {cell.data for plan in plans for cell in plan.cells if cell.problem}
    elsewhere = _from_elsewhere(specs, plans)
    kept = Counter[str]()
    unwanted = set()
    for name in specs.keys() - wanted:
        data = specs[name].coordinates["data"]
        if data not in spoken_of:
            kept[f"stages of the data set {data!r}, which no named suite has"] += 1
        elif data in left_out:
            kept[
                f"stages of the data set {data!r}, which is not at --data-root or whose networks "
                "lack something here: nobody can tell which of them are wanted"
            ] += 1
        elif name in elsewhere:
            kept[
                f"stages of the data set {data!r} made from {elsewhere[name]}, which is not the "
                "one at --data-root"
            ] += 1
        else:
            unwanted.add(name)
    needed = _inputs_of(specs.keys() - unwanted, specs) & unwanted
    kept["stages that others need which are kept"] += len(needed)
    kept["folders that are not called what their stage.json says"] += len(folders) - len(specs)
    return unwanted - needed, [f"{n} {what}" for what, n in sorted(kept.items()) if n]


def _with_remembered(store: Store, suites: Collection[Path]) -> list[Path]:
    """Return the given suites and those that were run into the folder, each once."""
    found = {path.resolve(): path for path in suites}
    names = {path.stem for path in suites}
    for path in store.remembered():
        if path.is_file():
            found.setdefault(path.resolve(), path)
        elif path.stem not in names:
            raise ImBenchError(
                f"the suite {path} was run into {store.out} and is gone, so that nobody can tell "
                f"which stages it wants: say with --suite where it is now, or remove its record in "
                f"{store.out / 'suites'}"
            )
    return list(found.values())


def _plans(
    paths: Iterable[Path], store: Store, data_root: Path, seeds: dict[str, set[int]]
) -> Iterator[Plan]:
    """Give the plans of suites under every budget, with their own seeds and all that were used."""
    for path in dict.fromkeys(path.resolve() for path in paths):
        suite, _ = load_suite(path)
        used = {seed for data in suite.data for seed in seeds.get(data, ())}
        for budget in get_args(BudgetName):
            yield make_plan(
                path, store.out, data_root, budget=budget, seeds=sorted({*suite.seeds, *used})
            )


def _from_elsewhere(specs: dict[str, Spec], plans: Iterable[Plan]) -> dict[str, str]:
    """Return the stages that rest on data which is still there, but is not what the plans read."""
    read = {stage.paths.get("description") for plan in plans for stage in plan.graph}
    made = {}
    for name, spec in specs.items():
        description = spec.paths.get("description")
        if description and description not in read and Path(description).is_file():
            made[name] = description
    origins = dict(made)
    for name in specs:
        for other in _inputs_of({name}, specs):
            if other in made:
                origins[name] = made[other]
    return origins


def _inputs_of(names: Collection[str], specs: dict[str, Spec]) -> set[str]:
    """Return all folders that the stages in these need, near and far."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        spec = specs.get(waiting.pop())
        for inputs in spec.inputs.values() if spec else ():
            waiting += set(inputs) - found
            found |= set(inputs)
    return found


def _spec(name: str, folder: StageFolder) -> Spec | None:
    try:
        spec = folder.spec()
    except ImBenchError:
        return None
    return spec if name == f"{spec.slug}-{spec.key[:8]}" else None
