"""The hook that adds Inconsistency Masks to a training of MMSegmentation."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.structures import PixelData
from mmseg.registry import HOOKS
from torch import Tensor

from im_bench.data.label_spaces import IGNORED
from im_bench.errors import ImBenchError, unknown_name
from im_bench.evaluation.windows import WindowOptions
from im_bench.masks import MaskOptions
from im_bench.masks.pseudo_labels import ImageFilter
from im_bench.plugin.cache import image_reader, prepare_cache
from im_bench.plugin.data import UNLABELLED, LabelledAndUnlabelled, check_batch_size, reading_cache
from im_bench.plugin.masking import Fill, Schedule, TeacherMasks, reverses_channels
from im_bench.plugin.networks import Student, heads_of, unwrapped
from im_bench.plugin.teachers import TEACHERS, CheckpointTeachers, TeacherEnsemble

_STATE = "inconsistency_masks"
_SHARE = "train/inconsistent_share"


@HOOKS.register_module()
class InconsistencyMaskHook(Hook):
    """Pseudo-label the unlabelled images of a training where several teachers agree.

    On a plain segmentor the hook fills in the unlabelled samples of each batch before the
    iteration: the teachers' consensus becomes ``gt_sem_seg``, inconsistent pixels are ignored there
    and blanked in the image, and the mask is kept as ``inconsistency``. A semi-supervised segmentor
    of im-bench, recognised by its attribute ``masking``, asks for consensus and mask itself, unless
    they come with the batch from a cache; what is blocked, and by what, is then said in the model's
    ``im``.

    While there are no pseudo-labels (warm-up, or online teachers that do not exist yet), a plain
    segmentor ignores its unlabelled samples wholly, and a semi-supervised method works as without
    masks.

    Args:
        teachers: Config of an ensemble in ``TEACHERS``.
        erode: Side of the square that erodes the mask, in pixels; 0 is off.
        dilate: Side of the square that dilates it afterwards; 0 is off.
        block_input: Blank inconsistent pixels of the image.
        block_output: Ignore inconsistent pixels of the label; otherwise they are taught as 0.
        fill: What a blanked pixel becomes: ``black``, as in the original, or the ``mean`` colour,
            which is 0 after normalisation.
        image_filter: Which images are used: all (``none``), those with more agreed ``foreground``
            than inconsistency, or those in which all teachers see the same ``classes``.
        warmup: Iterations without pseudo-labels.
        ramp: Iterations after that in which the share of unlabelled images that are used grows to
            all of them. For plain segmentors only.
        cache_dir: Folder of pseudo-labels that ``CheckpointTeachers`` make once, before the
            training, for all unlabelled images of a ``LabelledAndUnlabelled`` or ``SemiDataset``.
            The teachers are then let go.
        windows: How the teachers see whole images for the cache: fields of
            :class:`~im_bench.evaluation.windows.WindowOptions`. Default: as each is evaluated, by
            its ``windows`` or MMSegmentation's ``test_cfg``.
        log_interval: Iterations between two entries of ``train/inconsistent_share``.

    Raises:
        ImBenchError: An option is out of range.

    Source: Vorndran and Roeck, "Inconsistency Masks", arXiv 2401.14387.
    """

    def __init__(
        self,
        teachers: Mapping[str, Any] | TeacherEnsemble,
        erode: int = 0,
        dilate: int = 0,
        block_input: bool = True,
        block_output: bool = True,
        fill: Fill = "black",
        image_filter: ImageFilter = "none",
        warmup: int = 0,
        ramp: int = 0,
        cache_dir: str | None = None,
        windows: Mapping[str, Any] | None = None,
        log_interval: int = 50,
    ) -> None:
        if fill not in ("black", "mean"):
            raise unknown_name("fill of blanked pixels", fill, ("black", "mean"))
        self.ensemble: TeacherEnsemble = (
            teachers if isinstance(teachers, TeacherEnsemble) else TEACHERS.build(dict(teachers))
        )
        self._options = MaskOptions(
            erode=erode,
            dilate=dilate,
            block_input=block_input,
            block_output=block_output,
            blocked_label=IGNORED,
            image_filter=image_filter,
        )
        self._fill = fill
        self._schedule = Schedule(warmup, ramp)
        self._cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()
        self._windows = None if windows is None else WindowOptions(**windows)
        if self._windows is not None and (cache_dir is None or self._windows.mode == "center"):
            raise ImBenchError(
                "windows of InconsistencyMaskHook are for what teachers say of whole images: give "
                "a cache_dir and the mode 'slide' or 'whole', or leave windows out"
            )
        self._log_interval = log_interval
        self._resumed: Mapping[str, Any] | None = None
        self._sizes: Tensor | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: Mapping[str, Any]) -> None:
        """Take note of the teachers that a resumed training had."""
        if not runner._resume:
            return
        if _STATE not in checkpoint:
            raise ImBenchError(
                "the checkpoint holds no teachers of InconsistencyMaskHook, so the training cannot "
                "be resumed with it: load it with load_from to start anew from its weights"
            )
        self._resumed = checkpoint[_STATE]

    def before_train(self, runner: Any) -> None:
        """Build or load the teachers: the student has its first weights, or those of a resume."""
        model: Any = unwrapped(runner.model)
        self._student = student = Student.of(model)
        self._asks_itself = hasattr(model, "masking")
        self._check(student)
        check_batch_size(runner.train_dataloader)
        if isinstance(runner.train_dataloader.dataset, LabelledAndUnlabelled):
            runner.train_dataloader.dataset.label_count = student.label_count
        options = self._options
        if self._asks_itself:
            options = replace(options, block_input=False, blocked_label=0)
        elif student.space == "multilabel":
            options = replace(options, blocked_label=0)
        self.masks = TeacherMasks(
            self.ensemble,
            student,
            options,
            self._fill,
            reverse=reverses_channels(model.data_preprocessor),
        )
        self.ensemble.prepare(student)
        if self._resumed is not None:
            self.ensemble.load_state_dict(self._resumed, student)
            self._resumed = None
            runner.logger.info(f"Inconsistency Masks continue with {self.ensemble}")
        if self._cache_dir is not None and isinstance(self.ensemble, CheckpointTeachers):
            self._make_pseudo_labels(runner, self._cache_dir, self.ensemble)
        elif self._asks_itself:
            model.masking = self.masks

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: MutableMapping[str, Any] | None = None
    ) -> None:
        """Fill in the unlabelled samples of a plain segmentor's batch, or mask cached ones."""
        if self._asks_itself:
            self.masks.silent = self._schedule.share(runner.iter) == 0
        if data_batch is None:
            return
        if self._asks_itself:
            if self._cache_dir is not None:
                self._mask_stored(unwrapped(runner.model), data_batch["data_samples"])
            return
        unlabelled = [
            position
            for position, sample in enumerate(data_batch["data_samples"])
            if sample.metainfo.get(UNLABELLED, False)
        ]
        if not unlabelled:
            return
        # What is filled in lies on the model's device, and preprocessors may stack what they get.
        model: Any = unwrapped(runner.model)
        for key in ("inputs", "data_samples"):
            data_batch[key] = list(model.data_preprocessor.cast_data(data_batch[key]))
        speaks = self._cache_dir is not None or self.ensemble.ready
        seed = (runner.seed or 0, get_rank())
        drawn = self._schedule.drawn(runner.iter, len(unlabelled), seed)
        used = [position for position, each in zip(unlabelled, drawn, strict=True) if each]
        for position in unlabelled:
            if not speaks or position not in used:
                _ignore(data_batch["data_samples"][position])
        if speaks:
            # Under the autocast of the model, which has not begun yet.
            with runner.optim_wrapper.optim_context(runner.model):
                self._fill_in(data_batch, used)

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Let online teachers follow the optimiser's steps, and log from time to time."""
        if _has_stepped(runner.optim_wrapper):
            self.ensemble.after_step(self._student)
        if self.every_n_train_iters(runner, self._log_interval) and self._sizes is not None:
            inconsistent, inside = self._sizes.tolist()
            runner.message_hub.update_scalar(_SHARE, inconsistent / max(inside, 1))
            self._sizes = None

    def before_save_checkpoint(self, runner: Any, checkpoint: MutableMapping[str, Any]) -> None:
        """Keep what the teachers need to continue."""
        checkpoint[_STATE] = self.ensemble.state_dict()

    def _make_pseudo_labels(
        self, runner: Any, cache_dir: Path, ensemble: CheckpointTeachers
    ) -> None:
        """Let the teachers say all that they will be asked, before workers load the first image."""
        dataset = reading_cache(runner.train_dataloader.dataset, cache_dir)
        prepare_cache(
            cache_dir,
            ensemble,
            self.masks,
            self._student,
            dataset.unlabelled_files(),
            image_reader(dataset.unlabelled),
            runner.logger,
            self._windows,
        )
        ensemble.teachers.clear()

    def _mask_stored(self, model: Any, samples: MutableMapping[str, Any]) -> None:
        """Make masks for a semi-supervised method of the pseudo-labels that come with a batch."""
        for branch in samples.keys() & {"unlabelled", "partner"}:
            maps = samples[branch]
            if "inconsistent" not in maps:
                raise ImBenchError(
                    "the batch has no cached pseudo-labels, since its worker processes were "
                    "started before these were made: build the data loader anew"
                )
            if self.masks.silent:
                samples[branch] = {"valid": maps["valid"]}
            elif not self.masks.as_stored:
                maps = samples[branch] = model.data_preprocessor.cast_data(maps)
                masks = self.masks.stored(maps["consensus"], maps["inconsistent"])
                maps["consensus"], maps["inconsistent"] = masks

    def _fill_in(self, data_batch: MutableMapping[str, Any], positions: list[int]) -> None:
        images, samples = data_batch["inputs"], data_batch["data_samples"]
        by_size: dict[torch.Size, list[int]] = {}
        for position in positions:
            by_size.setdefault(images[position].shape, []).append(position)
        for alike in by_size.values():
            filled = self.masks.fill_in(
                torch.stack([images[position] for position in alike]),
                torch.cat([samples[position].gt_sem_seg.data for position in alike]).byte(),
                cached=self._cache_dir is not None,
            )
            for index, position in enumerate(alike):
                images[position] = filled.images[index]
                samples[position].gt_sem_seg = PixelData(data=filled.labels[index, None].long())
                samples[position].inconsistency = PixelData(data=filled.inconsistent[index, None])
            sizes = torch.stack([filled.inconsistent.sum(), filled.inside.sum()])
            self._sizes = sizes if self._sizes is None else self._sizes + sizes

    def _check(self, student: Student) -> None:
        """Raise an ImBenchError for options that do not go together."""
        if self._cache_dir is not None and not isinstance(self.ensemble, CheckpointTeachers):
            raise ImBenchError(
                "cache_dir of InconsistencyMaskHook is for CheckpointTeachers: leave it out"
            )
        if self._cache_dir is not None and self._options.image_filter == "classes":
            raise ImBenchError(
                "cached pseudo-labels do not tell which classes each teacher saw: leave out "
                "image_filter='classes' or cache_dir"
            )
        ignores = not self._asks_itself and student.space != "multilabel"
        for head in heads_of(student.network) if ignores else ():
            ignored = getattr(head, "ignore_index", IGNORED)
            if ignored != IGNORED:
                raise ImBenchError(
                    f"InconsistencyMaskHook ignores pixels by the label {IGNORED}, and a "
                    f"{type(head).__name__} of the model has ignore_index={ignored}: give ignored "
                    f"pixels the label {IGNORED}, by label_map or reduce_zero_label of the data "
                    f"set, and leave ignore_index at {IGNORED}"
                )
        if self._asks_itself:
            blocks = self._options.block_input and self._options.block_output
            if self._fill != "black" or not blocks or self._schedule.ramp:
                raise ImBenchError(
                    "block_input, block_output, fill and ramp of InconsistencyMaskHook are for "
                    "plain segmentors: say in the model's 'im' what is blocked"
                )
        elif student.space == "multilabel" and (
            self.ensemble.online
            or self._cache_dir is not None
            or self._schedule != Schedule()
            or self._options.image_filter != "none"
        ):
            raise ImBenchError(
                "multi-label labels cannot be ignored, so that a plain multi-label segmentor takes "
                "only CheckpointTeachers, without warmup, ramp, image_filter and cache_dir: "
                "leave these out, or train a semi-supervised method"
            )


def _ignore(sample: Any) -> None:
    """Let an unlabelled sample teach nothing."""
    sample.gt_sem_seg = PixelData(data=torch.full_like(sample.gt_sem_seg.data, IGNORED))


def _has_stepped(wrapper: Any) -> bool:
    """Return whether the optimiser has just made a step, rather than accumulated gradients."""
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return any(each.should_update() for each in wrappers)
