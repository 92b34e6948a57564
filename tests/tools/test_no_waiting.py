"""Between two log entries Python must not wait for the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import IterBasedTrainLoop
from torch.utils._python_dispatch import TorchDispatchMode

from im_bench.semi import strong_views
from im_bench.tools.commands import run_training

from .conftest import small

READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class CountReads(TorchDispatchMode):
    """Counts what would wait for a GPU: scalars that are read, shapes that depend on data."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.reads += func in READS
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("hooks", "waits"),
    [
        ([], False),
        # MMEngine's own does, so that this test can fail.
        (["default_hooks.another.type=RuntimeInfoHook"], True),
    ],
)
def test_steps_read_nothing_from_the_device(
    hooks: list[str], waits: bool, cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYSCAPES", str(cityscapes))
    reads: list[int] = []
    run_iter = IterBasedTrainLoop.run_iter

    def counted(loop: IterBasedTrainLoop, batch: Any) -> None:
        with CountReads() as mode:
            run_iter(loop, batch)
        reads.append(mode.reads)

    monkeypatch.setattr(IterBasedTrainLoop, "run_iter", counted)
    # On a CPU only, strong views look which operations they can leave out.
    monkeypatch.setattr(strong_views, "wanted", lambda drawn: True)
    options = [
        *(f"default_hooks.{name}.interval=9" for name in ("logger", "checkpoint", "runtime_info")),
        f"experiment_name=test-reads-{waits}",
        *hooks,
    ]
    config, *shrunk = small("mm_configs/im/fixmatch_r50_cs_1-16.py", iterations=3, options=options)
    run_training([config, *shrunk, "--work-dir", str(tmp_path)])
    assert len(reads) == 3
    for count in reads[:2]:  # the last step reads all losses
        assert (count > 0) == waits
