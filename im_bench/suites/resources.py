"""What a stage needs of a machine. It decides where and when it runs, and is part of no key."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from typing_extensions import Self


class Resources(BaseModel):
    """What one stage needs.

    Attributes:
        gpus: Share of a GPU (0.25: four of its kind share one), or a number of GPUs, which a
            training divides its batch among; 0 for a stage that computes on CPUs only. Default: one
            slot of a GPU, where there are GPUs.
        processes: Of a training that computes on CPUs. On GPUs there is one for each GPU.
        cpus: CPU cores, of all processes. Default: an equal share of the machine.
        memory: Main memory in GiB. Default: not accounted for.
        minutes: Longest time that an attempt may take; then it stops at its next safe point, and
            is killed a grace period later. Default: no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpus: Annotated[float, Field(ge=0)] | None = None
    processes: PositiveInt | None = None
    cpus: PositiveInt | None = None
    memory: PositiveFloat | None = None
    minutes: PositiveFloat | None = None

    @property
    def workers(self) -> int:
        """The number of processes among which a training divides its batch."""
        gpus = self.gpus or 0
        return int(gpus) if gpus > 1 else self.processes or 1

    @model_validator(mode="after")
    def _one_process_per_gpu(self) -> Self:
        if self.gpus and self.processes and self.processes != max(1, int(self.gpus)):
            raise ValueError(
                f"processes: {self.processes} and gpus: {self.gpus:g} contradict each other: on "
                "GPUs there is one process for each, so leave processes out"
            )
        return self

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("more than one GPU must be a whole number of them")
        return value


#: For stages that declare nothing.
ANY = Resources()
