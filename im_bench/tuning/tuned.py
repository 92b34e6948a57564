"""What a study found: frozen as a config, and used in suites and in trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict

from im_bench.errors import ImBenchError, unknown_name
from im_bench.evaluation.registry import higher_is_better
from im_bench.files import write_text
from im_bench.methods.names import registry_name, tuned_name
from im_bench.methods.online import OnlineMethod
from im_bench.methods.registry import method_class
from im_bench.planning.loading import load_suite
from im_bench.suites.schema import Suite
from im_bench.tuning.labels.balance import balance
from im_bench.tuning.space import with_values
from im_bench.tuning.storage import open_storage
from im_bench.tuning.study import Definition, TrialRecord, TrialState, load_study, records_of
from im_bench.tuning.suite_file import study_folder, write_suite
from im_bench.tuning.trials import variant_fields
from im_bench.yaml_files import load_document

if TYPE_CHECKING:
    from optuna.study import Study

#: Where frozen values lie, as configs of MMEngine: in the working folder.
FROZEN = Path("tuned")


class Tuned(BaseModel):
    """The best values of a study, and where they come from.

    Attributes:
        study: Its name.
        suite: The suite whose method was tuned.
        method: The method's name there.
        data: Data sets whose scores were averaged.
        seeds: Repetitions whose scores were averaged; no result may be of one of them.
        hold_out: Share of the labelled images that were scored, or None for validation images.
        budget: The suite's budget.
        objective: ``training`` or ``pseudo-labels``.
        metric: What the score is of.
        sampler: How values were chosen.
        pruner: How trials were given up.
        trials: How many trials stand where.
        trial: Number of the best one.
        score: Its score, one number per objective.
        default_score: That of the method's own values, if they were tried.
        space: What was searched, in words.
        values: The best ones, by the dotted names of fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    suite: str
    method: str
    data: tuple[str, ...]
    seeds: tuple[int, ...]
    hold_out: float | None = None
    budget: str
    objective: str
    metric: str
    sampler: str
    pruner: str
    trials: dict[str, int]
    trial: int
    score: tuple[float, ...]
    default_score: tuple[float, ...] | None = None
    space: dict[str, str]
    values: dict[str, bool | int | float | str]

    @property
    def origin(self) -> str:
        """A sentence for the footer of tables."""
        scored = "held-out labelled" if self.hold_out else "validation"
        return (
            f"{tuned_name(self.method)}: values of study {self.study} "
            f"({sum(self.trials.values())} trials on the {scored} images of "
            f"{', '.join(self.data)}, seeds {', '.join(map(str, self.seeds))}, budget "
            f"'{self.budget}')."
        )


class _FrozenFile(BaseModel):
    """A file of frozen values; as a config, its ``model`` is merged into another's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tuned: Tuned
    model: dict[str, Any] = {}


def best_of(definition: Definition, records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the best complete trial, the earlier one of two equals; None if there is none.

    Of pseudo-labels it is the one with the best balance of quality and coverage.
    """
    return next(iter(ranked(definition, records)), None)


def ranked(definition: Definition, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials that keep to the constraints, as `best_of` ranks them."""
    complete = [
        record for record in records if record.state is TrialState.COMPLETE and record.feasible
    ]
    if definition.objective == "pseudo-labels":
        return sorted(complete, key=lambda record: balance(*record.values), reverse=True)
    higher = higher_is_better(definition.metric)
    return sorted(complete, key=lambda record: record.values[0], reverse=higher)


def tuned_of(study: Study) -> Tuned:
    """Return what a study has found so far.

    Raises:
        ImBenchError: None of its trials is complete.
    """
    definition, records = Definition.read(study), records_of(study)
    best = best_of(definition, records)
    if best is None:
        raise ImBenchError(
            f"study {study.study_name!r} has no complete trial yet: continue it with "
            "`im-bench tune`"
        )
    counts: dict[str, int] = {}
    for record in records:
        if record.counts:
            counts[record.state.value] = counts.get(record.state.value, 0) + 1
    default = default_of(definition, records)
    return Tuned(
        study=study.study_name,
        trials=counts,
        trial=best.number,
        score=best.values,
        default_score=default.values if default and default.values else None,
        values=dict(best.params),
        **{
            name: getattr(definition, name)
            for name in (
                *("suite", "method", "data", "seeds", "hold_out", "budget", "objective"),
                *("metric", "sampler", "pruner"),
            )
        },
        space=dict(definition.space),
    )


def default_of(definition: Definition, records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the trial that had the method's own values, or None if they were not tried."""
    for record in records:
        own = {name: own_value(definition.fields, name) for name in record.params}
        if record.params and record.counts and dict(record.params) == own:
            return record
    return None


def own_value(fields: Mapping[str, Any], name: str) -> Any:
    """Return a value of the method's own, by its dotted name; None where a part is not set."""
    value: Any = fields
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def freeze(tuned: Tuned, folder: Path = FROZEN) -> Path:
    """Write the values as a config, with where they come from, and return its path.

    Trainings take it with ``--use-tuned``; a config may also name it in its ``_base_``, for the
    fields of the method (those of masks belong to a hook there).
    """
    own = {name: value for name, value in tuned.values.items() if not name.startswith("im.")}
    if not issubclass(method_class(registry_name(tuned.method)), OnlineMethod):
        own = {}  # No config of MMSegmentation has this method.
    model = {"method": with_values({}, own)} if own else {}
    value = {"tuned": tuned.model_dump(mode="json"), "model": model}
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    path = folder / f"{tuned.study}.yaml"
    head = f"# Written by `im-bench tune freeze {tuned.study}`: the best values of that study.\n"
    write_text(path, head + text)
    return path


def read_frozen(path: Path) -> Tuned:
    """Read frozen values.

    Raises:
        ImBenchError: The file is missing or wrong.
    """
    return load_document(path).validate(_FrozenFile).tuned


def find_tuned(name: str, storage: str) -> Tuned:
    """Return the values of a study: of a file, frozen under its name, or as the study stands.

    Args:
        name: A path that ends in ``.yaml``, or a study's name. A frozen one is looked for in
            :data:`FROZEN`.
        storage: Where studies are kept.

    Raises:
        ImBenchError: There is no such file or study, or it has found nothing yet.
    """
    if name.endswith((".yaml", ".yml")):
        return read_frozen(Path(name).expanduser())
    frozen = FROZEN / f"{name}.yaml"
    if frozen.is_file():
        return read_frozen(frozen)
    if "://" not in storage and not Path(storage).is_file():
        known = [path.stem for path in FROZEN.glob("*.yaml")]
        raise ImBenchError(
            f"{unknown_name('frozen study', name, known)} in {FROZEN.absolute()}; and there is no "
            f"journal {storage}"
        )
    return tuned_of(load_study(open_storage(storage), name))


def tuned_suite(
    path: Path, found: Sequence[Tuned], *, seeds: Sequence[int] | None = None, beside: bool = False
) -> Suite:
    """Return a suite with tuned methods.

    Args:
        path: The suite's file.
        found: The values, of different methods of the suite.
        seeds: Instead of the suite's own.
        beside: Whether the methods with their own values stay; else tuned ones take their place.

    Raises:
        ImBenchError: The suite has no such method, two studies are of one, or a seed is one that
            was tuned on.
    """
    suite, _ = load_suite(path)
    by_method: dict[str, Tuned] = {}
    for tuned in found:
        if tuned.method not in suite.methods:
            raise unknown_name("method in this suite", tuned.method, suite.methods)
        if tuned.method in by_method:
            raise ImBenchError(
                f"studies {by_method[tuned.method].study!r} and {tuned.study!r} are both of "
                f"{tuned.method!r}: use one of them"
            )
        by_method[tuned.method] = tuned
    reported = tuple(seeds or suite.seeds)
    for tuned in found:
        if shared := sorted(set(reported) & set(tuned.seeds)):
            raise ImBenchError(
                f"seed {shared[0]} is one that study {tuned.study!r} was tuned on, so its result "
                "would be none: report others, with --seeds"
            )
    methods: dict[str, dict[str, Any] | None] = {}
    for name, fields in suite.methods.items():
        if beside or name not in by_method:
            methods[name] = fields
        if name in by_method:
            values = by_method[name].values
            methods[tuned_name(name)] = variant_fields(name, fields or {}, values)
    return suite.model_copy(
        update={
            "name": f"{suite.name}-tuned",
            "methods": methods,
            "seeds": reported,
            "notes": (*suite.notes, *(tuned.origin for tuned in found)),
        }
    )


def write_tuned_suite(suite: Suite, origin: Path, out: Path) -> Path:
    """Write a tuned suite into the results folder, and return its file."""
    return write_suite(suite, study_folder(out, suite.name) / f"{suite.name}.yaml", origin)
