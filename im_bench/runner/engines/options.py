"""The options of each engine, which also make it. They import no library of the engine's."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt

from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from im_bench.runner.engines.base import Engine


class Need(NamedTuple):
    """Something that an engine needs of the machine where ``im-bench run`` is started.

    Attributes:
        what: A sentence's part, such as ``"ray 2.60"`` or ``"needs sbatch, which is not found"``.
        met: Whether it is there.
        remedy: What to do where it is not.
        package: What to install where it is not, instead of a remedy.
    """

    what: str
    met: bool = True
    remedy: str = ""
    package: str = ""


class EngineOptions(BaseModel):
    """Base of every engine's options.

    A subclass is registered by the name of its engine, as its field ``engine`` has it. Its fields
    are what a YAML file for ``--engine`` may set; those that are called like an option of the
    command line (``slots``, ``gpus``, ``slots_per_gpu``, ``address``, ``partition``, ``device``)
    are set by that, too.

    Attributes:
        engine: The engine's name.
        runs: Whether the engine runs stages. One that does not is for printing commands.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: ClassVar[bool] = True

    engine: str

    @abstractmethod
    def make(self, out: Path) -> Engine:
        """Return the engine.

        Args:
            out: The results folder.

        Raises:
            ImBenchError: What it needs is not there: a GPU, a cluster, an optional package.
        """

    @classmethod
    def needs(cls) -> Iterator[Need]:
        """Give what the engine needs, for ``im-bench doctor``; nothing by default."""
        return iter(())


def _package(name: str) -> Need:
    if util.find_spec(name) is not None:
        return Need(f"{name} {metadata.version(name)}")
    return Need(f"needs {name}, which is not installed", False, package=name)


class LocalOptions(EngineOptions):
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

    def make(self, out: Path) -> Engine:
        """Return the engine."""
        from im_bench.runner.engines.local import LocalEngine

        return LocalEngine(self)


class RayOptions(EngineOptions):
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

    def make(self, out: Path) -> Engine:
        """Return the engine."""
        from im_bench.runner.engines.ray.engine import RayEngine

        return RayEngine(self)

    @classmethod
    def needs(cls) -> Iterator[Need]:
        """Give the library."""
        yield _package("ray")


class SlurmOptions(EngineOptions):
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

    def make(self, out: Path) -> Engine:
        """Return the engine."""
        from im_bench.runner.engines.slurm.engine import SlurmEngine

        return SlurmEngine(self, out)

    @classmethod
    def needs(cls) -> Iterator[Need]:
        """Give the library, and the program that submits jobs."""
        yield _package("submitit")
        if path := shutil.which("sbatch"):
            yield Need(path)
        else:
            yield Need(
                "needs sbatch, which is not found here",
                False,
                "run im-bench on a machine from which jobs are submitted",
            )


class PrintOptions(EngineOptions):
    """Nothing is run: the commands are printed, for whatever else can run them.

    Attributes:
        engine: ``print``.
    """

    runs: ClassVar[bool] = False

    engine: Literal["print"] = "print"

    def make(self, out: Path) -> Engine:
        """Raise an error."""
        raise ImBenchError(f"the engine {self.engine!r} runs nothing")
