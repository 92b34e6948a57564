"""What the benchmarks of semi-supervised steps share: model, batch, this project's step, time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from torch import nn
from transcription import CLASSES, MEAN, STD, Raw

from im_bench.data.label_spaces import IGNORED
from im_bench.models.pointwise import prefer_onednn
from im_bench.models.segmentor import place
from im_bench.semi.preprocessor import SemiPreprocessor
from im_bench.semi.step import Clock
from im_bench.training.semi_supervised import SemiSupervisedSegmentor

MODELS = Path(__file__).parents[2] / "mm_configs/_base_/models"
METHODS: dict[str, dict[str, Any]] = {
    "unimatch": {"name": "unimatch", "threshold": 0.0},
    "u2pl": {"name": "u2pl"},
}
# The middle of a training: U2PL's supervised epochs, and that with a copy for a teacher, are over.
EPOCH, EPOCHS, FIRST = 10_000, 200, 100 * 10_000
SGD: dict[str, Any] = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-4}


class Setting(NamedTuple):
    """What is trained: a method on ``batch`` labelled and as many unlabelled square crops."""

    method: str
    crop: int
    batch: int

    @property
    def min_kept(self) -> int:
        """Hard pixels at least: the share of the original's, 200 000 of two crops of 801."""
        return round(200_000 / (2 * 801**2) * self.batch * self.crop**2)


def segmentor_config(method: str) -> dict[str, Any]:
    """Return the config of the network of a method's code base, without weights to download."""
    config = Config.fromfile(MODELS / f"deeplabv3plus_r50_{method}.py").model
    config.backbone.init_cfg = None
    config.pop("data_preprocessor")
    for part in ("backbone", "decode_head", "auxiliary_head"):
        if part in config:
            config[part].norm_cfg = {"type": "BN", "requires_grad": True}
    result: dict[str, Any] = config.to_dict()
    return result


def build_model(setting: Setting) -> SemiSupervisedSegmentor:
    """Return the model, always the same, as confident as a trained one."""
    MMLogger.get_current_instance().setLevel("ERROR")  # else it lists all weights
    torch.manual_seed(0)
    model = SemiSupervisedSegmentor(
        segmentor=segmentor_config(setting.method),
        method=METHODS[setting.method],
        label_space={"kind": "multiclass", "outputs": CLASSES},
        labelled_loss={"type": "OhemCrossEntropyLoss", "min_kept": setting.min_kept},
        data_preprocessor=SemiPreprocessor(mean=MEAN, std=STD),
    )
    revert_sync_batchnorm(model)
    model.init_weights()
    for network in filter(None, (model.student, model.companion)):
        nn.init.normal_(network.decode_head.conv_seg.weight, std=0.3)
    if "memory" in model.state:  # as late in a training
        memory: Any = model.state["memory"]
        memory.rows.normal_()
        memory.written.copy_(memory.capacity)
    place(model, torch.device("cpu"))
    return model.train()


def draw_raw(setting: Setting) -> Raw:
    """Return smooth random weak crops and random blocks of labels."""
    rng = np.random.default_rng(0)
    shape, size = (setting.batch, 3, 8, 8), (setting.crop, setting.crop)

    def images() -> Any:
        coarse = torch.from_numpy(rng.random(shape, dtype=np.float32))
        fine = nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
        return fine.mul(255).byte().permute(0, 2, 3, 1).contiguous().numpy()

    blocks = torch.from_numpy(rng.integers(0, CLASSES, (setting.batch, 1, 8, 8), dtype=np.uint8))
    labels = nn.functional.interpolate(blocks, size).squeeze(1)
    labels[:, : setting.crop // 8] = IGNORED
    return Raw(images(), labels.numpy(), images(), images())


class Ours:
    """This project's step."""

    def __init__(self, setting: Setting) -> None:
        self.model = build_model(setting)
        prefer_onednn(self.model)  # as the hook does before a training
        self.raw = draw_raw(setting)
        self.partner = getattr(self.model.method, "partner", "none") != "none"
        optimiser = torch.optim.SGD(self.model.parameters(), fused=True, **SGD)
        self.wrapper = OptimWrapper(optimiser)
        self.iteration = FIRST

    def data(self) -> dict[str, Any]:
        """Return a batch as the data loader gives it."""
        raw = self.raw
        branches = {"unlabelled": raw.unlabelled}
        if self.partner:
            branches["partner"] = raw.partner
        valid = torch.ones(raw.labels.shape, dtype=torch.bool)
        return {
            "inputs": {
                name: torch.from_numpy(images)
                for name, images in {"labelled": raw.labelled, **branches}.items()
            },
            "data_samples": {
                "labelled": torch.from_numpy(raw.labels),
                **{name: {"valid": valid} for name in branches},
            },
        }

    def step(self, data: dict[str, Any] | None = None) -> None:
        """Make one step, as MMEngine's loop and the hook do."""
        model = self.model
        model.clock = Clock(self.iteration, EPOCHS * EPOCH, EPOCH)
        model.data_preprocessor.iteration = self.iteration
        model.train_step(data or self.data(), self.wrapper)
        model.after_step()
        self.iteration += 1

    def losses(self) -> dict[str, float]:
        """Return the losses of the next step without making it."""
        model = self.model
        model.clock = Clock(FIRST, EPOCHS * EPOCH, EPOCH)
        found = model(**model.data_preprocessor(self.data(), True), mode="loss")
        return {
            name.removesuffix(".loss"): loss.item()
            for name, loss in found.items()
            if "loss" in name
        }


class Seconds(NamedTuple):
    """How long something took: by the clock on the wall, and of this process's CPU time."""

    wall: float
    cpu: float


@contextmanager
def stopwatch(results: list[Seconds]) -> Iterator[None]:
    """Append how long the block takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    results.append(Seconds(time.perf_counter() - wall, time.process_time() - cpu))


def spread(numbers: list[float]) -> dict[str, Any]:
    """Return the median of some numbers, and the quartiles."""
    lower, middle, upper = statistics.quantiles(numbers, n=4)
    return {"median": round(middle, 3), "quartiles": [round(lower, 3), round(upper, 3)]}
