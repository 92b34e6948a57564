"""What a trial turns: the fields of any method that decide about pseudo-labels, under one name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from im_bench.errors import ImBenchError, unknown_name

Labels = Literal["consensus", "own"]
_IM = "im."


@dataclass(frozen=True)
class Knobs:
    """How pseudo-labels are kept and corrected.

    Attributes:
        threshold: Confidence of the best network from which a pixel is kept, in 0..1.
        teachers: The best networks, which must agree.
        erode: Side of the square that erodes the inconsistency mask; 0 is off.
        dilate: Side of the square that dilates it afterwards; 0 is off.
        image_filter: As of :class:`im_bench.schedules.inconsistency_masks.InconsistencyMasks`.
    """

    threshold: float = 0.0
    teachers: int = 1
    erode: int = 0
    dilate: int = 0
    image_filter: str = "none"

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Knobs:
        """Return the knobs among a method's fields, which may be dotted: ``im.erode``.

        Args:
            fields: As of :meth:`im_bench.schedules.base.Schedule.label_fields`.

        Raises:
            ImBenchError: A field is none of the above.
        """
        known = cls.__dataclass_fields__
        values = {name.removeprefix(_IM): value for name, value in fields.items()}
        values.pop("labels", None)
        for name in values:
            if name not in known:
                raise unknown_name("field that decides about pseudo-labels", name, known)
        return cls(**values)


def require_knobs(names: Collection[str], fields: Mapping[str, Any]) -> None:
    """Refuse to search for what decides nothing about this method's pseudo-labels.

    Args:
        names: The fields that shall be searched for.
        fields: As of :meth:`im_bench.schedules.base.Schedule.label_fields`.

    Raises:
        ImBenchError: There is such a field, or there is none at all.
    """
    known = sorted(set(fields) - {"labels"})
    strange = [name for name in names if name not in known]
    if strange:
        raise ImBenchError(
            f"{strange[0]!r} decides nothing about this method's pseudo-labels, so that no value "
            f"would be better than another: search for {' or '.join(known) or 'another method'}"
        )
    if not names:
        raise ImBenchError("there is nothing to search for: name at least one field")
