"""Imported once by the process from which stages are forked, so that none pays for it.

Nothing here may start threads or initialise CUDA: neither survives a fork.
"""

from __future__ import annotations

import gc
import os
import warnings

# Read when NumPy is loaded; each stage sets its own number of threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Otherwise asking whether there is a GPU, as mmengine does on import, initialises the driver.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cv2  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.pyplot  # noqa: F401 - mmengine's runner makes a visualizer, which takes 0.6 s
    import mmengine.runner  # noqa: F401
    import mmseg.models  # noqa: F401
    import numpy  # noqa: F401
    import torch
    import torch._dynamo  # noqa: F401 - an optimiser's first step imports it, which takes a second

    import im_bench.stages.data
    import im_bench.stages.evaluate
    import im_bench.stages.predict
    import im_bench.stages.pseudo_label
    import im_bench.stages.train  # noqa: F401
    from im_bench.runner.provenance import code_state, versions

# The code that is loaded now is what all stages run, whatever is edited meanwhile.
code_state()
versions()
# What stages share with the server stays shared: their garbage collection does not touch it.
gc.freeze()
