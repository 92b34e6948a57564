"""IM: where the teachers disagree, the label is filtered and the image is blanked."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt

from im_bench.methods.ranges import Choice
from im_bench.schedules.generational import Generational
from im_bench.schedules.references import SOURCE


class InconsistencyMasks(Generational):
    """Inconsistency Masks from scratch, as the original runs them.

    Attributes:
        erode: Side of the square that erodes the mask of inconsistent pixels; 0 is off (original).
        dilate: Side of the square that dilates it afterwards; 0 is off (original).
        block_input: Blacken inconsistent pixels of the image.
        block_output: Take inconsistent pixels out of the label.
        blocked_label: As ``zero`` (background or the reserved class: original) or as ``ignored``.
        image_filter: Drop images: ``foreground`` those whose inconsistent area is not smaller than
            their agreed foreground, ``classes`` those whose teachers see different sets of classes,
            ``none``, or ``original`` (``foreground`` for binary tasks, ``none`` for others).
    """

    title: ClassVar[str] = "Inconsistency Masks (IM)"
    source: ClassVar[str] = SOURCE
    search: ClassVar = {
        "teachers": Choice((2, 3, 4)),
        "erode": Choice((0, 3, 5)),
        "dilate": Choice((0, 3, 5)),
    }
    label_search: ClassVar = {
        **search,
        "image_filter": Choice(("foreground", "classes", "none")),
    }

    erode: NonNegativeInt = 0
    dilate: NonNegativeInt = 0
    block_input: bool = True
    block_output: bool = True
    blocked_label: Literal["zero", "ignored"] = "zero"
    image_filter: Literal["original", "foreground", "classes", "none"] = "original"

    def labelling(self) -> dict[str, Any]:
        """Return how labels are made."""
        own = self.model_dump(exclude=set(Generational.model_fields))
        return {"mode": "im", "teachers": self.teachers, **own}

    def label_fields(self) -> dict[str, Any]:
        """Return how labels are made: by consensus."""
        return {**super().label_fields(), "labels": "consensus"}
