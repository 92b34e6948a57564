"""What of a method can be searched without training, and the predictions that this takes."""

from __future__ import annotations

from im_bench.errors import ImBenchError
from im_bench.schedules.base import Schedule
from im_bench.suites.experiment import Experiment
from im_bench.suites.graph import Coordinates, Stage
from im_bench.tuning.labels.knobs import Knobs
from im_bench.tuning.space import Space, declared_space


def label_space(method: Schedule) -> Space:
    """Return the ranges that a method declares for what decides about its pseudo-labels.

    Raises:
        ImBenchError: Nothing of this method can be searched so.
    """
    ranges = method.label_ranges()
    if not ranges:
        raise ImBenchError(
            f"nothing of {method.title} can be scored on cached predictions: search with "
            "`--objective training`, or a method with a confidence threshold or masks"
        )
    return declared_space(method, ranges)


def predict_stage(name: str, method: Schedule, experiment: Experiment, space: Space) -> Stage:
    """Declare the teachers of a method and the stage that keeps what they say.

    Args:
        name: The method's name in the suite.
        method: Whose pseudo-labels are scored.
        experiment: The data set, split and seed.
        space: What is searched; it decides how many teachers there may be.

    Raises:
        ImBenchError: The method has no teachers, or fewer than the space wants.
    """
    teachers = method.teacher_stages(name, experiment)
    count = most_teachers(method, space)
    if count > len(teachers):
        raise ImBenchError(
            f"method {name!r} trains {len(teachers)} candidates, but the search is for up to "
            f"{count} teachers: raise its members, or search for fewer teachers"
        )
    return experiment.predict(Coordinates(f"predictions-{count}", method=name), teachers, count)


def most_teachers(method: Schedule, space: Space) -> int:
    """Return the greatest number of teachers that a trial can have; 1 without masks."""
    fields = method.label_fields()
    values = [{name: one} for name, tried in space.ranges.items() for one in tried.ends]
    return max(Knobs.of({**fields, **each}).teachers for each in [{}, *values])
