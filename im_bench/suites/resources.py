"""What a stage needs of a machine. It decides where and when it runs, and is part of no key."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator


class Resources(BaseModel):
    """What one stage needs.

    Attributes:
        gpus: Share of a GPU (0.25: four of its kind share one), at most 1 in a suite; 0 for a stage
            that computes on CPUs only. Default: one slot of a GPU, where there are GPUs.
        cpus: CPU cores. Default: an equal share of the machine.
        memory: Main memory in GiB. Default: not accounted for.
        minutes: Longest time that an attempt may take; then it stops at its next safe point, and
            is killed a grace period later. Default: no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpus: Annotated[float, Field(ge=0)] | None = None
    cpus: PositiveInt | None = None
    memory: PositiveFloat | None = None
    minutes: PositiveFloat | None = None

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("more than one GPU must be a whole number of them")
        return value


#: For stages that declare nothing.
ANY = Resources()
