"""The stage that does nothing, for ``runner_overhead.py``; light, as a stage's own module is."""

from __future__ import annotations

import time
from typing import Any

from im_bench.runner.job import Job


def sleep(job: Job) -> dict[str, Any]:
    """Do nothing for a while; say when it began."""
    began = time.time()
    time.sleep(job.config["seconds"])
    return {"began": began}
