"""How an engine is chosen: by options of the command line, or by a small YAML file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalOptions(_Options):
    """Stages on this machine.

    Attributes:
        engine: ``local``.
        device: ``auto``, ``cpu``, ``cuda``, or one torch device.
        gpus: GPUs to use, as ``CUDA_VISIBLE_DEVICES`` names them; by default all that are visible.
        slots_per_gpu: Into how many slots a GPU is divided; a stage that declares no share of a GPU
            takes one.
        slots: Stages at a time in all. Default: the GPUs' slots, or the CPU cores.
    """

    engine: Literal["local"] = "local"
    device: str = "auto"
    gpus: tuple[str, ...] | None = None
    slots_per_gpu: PositiveInt = 1
    slots: PositiveInt | None = None


class RayOptions(_Options):
    """Stages on a Ray cluster whose machines share the results folder under the same path.

    Attributes:
        engine: ``ray``.
        address: Of the cluster, as ``ray.init`` takes it.
        device: As for the local engine, on each node.
        slots_per_gpu: A stage that declares no share of a GPU takes one of so many.
        cpus: Cores for a stage that declares none.
        ahead: Stages that wait in Ray's own queue, so that a node that becomes free has work.
    """

    engine: Literal["ray"] = "ray"
    address: str = "auto"
    device: str = "auto"
    slots_per_gpu: PositiveInt = 1
    cpus: PositiveInt = 1
    ahead: NonNegativeInt = 4


class SlurmOptions(_Options):
    """Stages as jobs of a Slurm cluster, submitted from a machine that can run ``sbatch``.

    Attributes:
        engine: ``slurm``.
        partition: Slurm's own, as ``account``, ``qos`` and ``constraint`` are.
        account: Whom to charge.
        qos: Quality of service.
        constraint: Features that nodes must have.
        device: As for the local engine, within a job.
        minutes: Time limit of a job whose stage declares none.
        cpus: Cores for a stage that declares none.
        gpus: GPUs for a stage that declares none; shares are rounded up to whole GPUs.
        most: Jobs at a time, waiting ones included.
        poll_seconds: Between two questions to Slurm about all jobs together.
        setup: Lines of the job script before the stage, such as ``module load cuda``.
        extra: Further options of ``sbatch`` by name, such as ``{nodelist: gpu01}``.
    """

    engine: Literal["slurm"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    device: str = "auto"
    minutes: PositiveInt = 1440
    cpus: PositiveInt = 4
    gpus: NonNegativeInt = 1
    most: PositiveInt = 500
    poll_seconds: PositiveFloat = 10.0
    setup: tuple[str, ...] = ()
    extra: dict[str, str] = {}


class PrintOptions(_Options):
    """Nothing is run: the commands are printed, for whatever else can run them.

    Attributes:
        engine: ``print``.
    """

    engine: Literal["print"] = "print"


EngineOptions = Annotated[
    LocalOptions | RayOptions | SlurmOptions | PrintOptions, Field(discriminator="engine")
]
