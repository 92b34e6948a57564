"""ME: the plain ensemble of teachers, the reference that Inconsistency Masks must beat."""

from __future__ import annotations

from typing import Any, ClassVar

from im_bench.schedules.generational import Generational
from im_bench.schedules.references import SOURCE


class ModelEnsemble(Generational):
    """Every pixel gets the ensemble's label, sure or not; no image is dropped.

    Binary: foreground where all teachers say so. Multi-class and multi-label: mean probability.
    """

    title: ClassVar[str] = "Model ensemble (ME)"
    source: ClassVar[str] = SOURCE

    def labelling(self) -> dict[str, Any]:
        """Return how labels are made."""
        return {"mode": "ensemble", "teachers": self.teachers}
