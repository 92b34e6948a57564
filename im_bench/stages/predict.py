"""The ``predict`` stage: what the best candidates say of the validation images, in probabilities.

Its config: ``count``, how many of the candidates predict, the best by validation. What it leaves is
told in :mod:`im_bench.data.predictions`; a search for how pseudo-labels are best made reads it
instead of training (:mod:`im_bench.tuning.labels`). Test images are not read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from im_bench.data.arrays import extents, images_per_batch, read_meta
from im_bench.data.predictions import describe_predictions, new_predictions
from im_bench.errors import ImBenchError
from im_bench.runner.job import Job, StageInterrupted
from im_bench.stages.selection import best_by_validation
from im_bench.training.inference import load_model, predict_probabilities

BATCH = 64
PART = "val"


def run(job: Job) -> dict[str, Any]:
    """Predict with one network and one batch at a time; see the module for what is left.

    Returns:
        The networks, best one first, and the number of images.
    """
    data = job.inputs["data"][0] / "arrays"
    meta = read_meta(data)
    candidates, count = job.inputs["candidates"], job.config["count"]
    if count > len(candidates):
        raise ImBenchError(
            f"{job.folder.name}: {count} networks shall predict but there are only "
            f"{len(candidates)} candidates: ask for fewer teachers, or train more members"
        )
    folders = best_by_validation(candidates, meta["metric"], count)
    images = np.load(data / f"{PART}_images.npy", mmap_mode="r")
    shape = (count, len(images), meta["outputs"], *images.shape[1:3])
    size, filled = images_per_batch(meta, BATCH), extents(meta, PART)
    with new_predictions(job.folder, shape) as probabilities:
        if filled and meta["space"] == "multiclass":
            probabilities[:, :, 0] = 1  # of padding, which is of no class otherwise
        for k, folder in enumerate(folders):
            model = load_model(folder, data, job.settings.device)
            for start in range(0, len(images), size):
                rows = slice(start, start + size)
                part = filled[start] if filled else ()
                (said,) = predict_probabilities(model, images[(rows, *part)], size)
                probabilities[(k, rows, slice(None), *part)] = said.half().cpu().numpy()
                done = k * len(images) + start + len(said)
                job.progress(done, count * len(images))
                if job.stop_requested:
                    raise StageInterrupted
    networks = [folder.name for folder in folders]
    describe_predictions(job.folder, networks, PART)
    return {"networks": networks, "images": len(images)}
