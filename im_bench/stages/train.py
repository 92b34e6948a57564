"""The ``train`` stage: one network, from scratch, on the images that the method chose."""

from __future__ import annotations

from typing import Any

from im_bench.runner.job import Job
from im_bench.training.runner import run_training


def run(job: Job) -> dict[str, Any]:
    """Train, keep the best moment by validation, and return its scores."""
    pseudo = job.inputs.get("pseudo")
    return run_training(
        config=job.config,
        data_dir=job.inputs["data"][0] / "arrays",
        pseudo_dir=pseudo[0] if pseudo else None,
        folder=job.folder,
        device=job.settings.device,
        threads=job.settings.threads,
        progress=job.progress,
        stop=job.stop,
    )
