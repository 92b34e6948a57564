"""The ``train`` stage: one network, from scratch, on the images that the method chose."""

from __future__ import annotations

from functools import partial
from typing import Any

from im_bench.runner.job import Job, StageInterrupted
from im_bench.training.cell import train_cell
from im_bench.training.control import Control, TrainingStopped
from im_bench.training.description import parse_training
from im_bench.training.together import train_together


def run(job: Job) -> dict[str, Any]:
    """Train, keep the best moment by validation, and return its scores."""
    pseudo = job.inputs.get("pseudo")
    processes = job.settings.processes
    train = train_cell if processes == 1 else partial(train_together, processes)
    try:
        return train(
            parse_training(job.config),
            job.inputs["data"][0] / "arrays",
            job.folder,
            pseudo[0] if pseudo else None,
            device=job.settings.device,
            threads=job.settings.threads,
            control=Control(job.progress, job.stop),
        )
    except TrainingStopped as stopped:
        raise StageInterrupted(str(stopped)) from None
