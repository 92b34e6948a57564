"""A segmentor that a semi-supervised method trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
from mmengine.model import BaseModule
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from im_bench.data.augment import generator_at
from im_bench.data.label_spaces import IGNORED, LabelSpace
from im_bench.data.label_spaces import label_space as build_label_space
from im_bench.data.seeds import process_seed
from im_bench.errors import ImBenchError, unknown_name
from im_bench.methods.online import OnlineMethod
from im_bench.methods.registry import method_class
from im_bench.semi.ema import averaged_copy, update_average
from im_bench.semi.losses import share
from im_bench.semi.masking import Masking
from im_bench.semi.network import Network
from im_bench.semi.registered_losses import OhemCrossEntropyLoss
from im_bench.semi.step import Clock, Step, View

_EMA = "_ema"

Fields = TypeVar("Fields", bound=BaseModel)


class MaskSource(Protocol):
    """Who knows where the teachers of Inconsistency Masks disagree."""

    def mask(self, images: Tensor, normalised: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return consensus (label bytes) and inconsistency (bool), (B, H, W), or None: no masks.

        Args:
            images: In 0..1, float32 (B, C, H, W).
            normalised: The same as the student takes them.
        """


@MODELS.register_module()
class SemiSupervisedSegmentor(BaseSegmentor):
    """Wrap a segmentor, so that a method trains it with labelled and unlabelled images.

    In validation and tests it is the network that the method deploys: the student, or the companion
    (an EMA copy or a twin). Checkpoints hold student, companion and the method's own state.

    Attributes:
        clock: Where the training is, which ``SemiSupervisedHook`` sets.
        masking: Set by the hook of Inconsistency Masks; None: no masks but those in the data.

    Args:
        segmentor: Config of an encoder-decoder of MMSegmentation.
        method: ``name`` of a registered method, and its fields.
        twin: Config of a segmentor for the method's twin; default: as ``segmentor``.
        label_space: As for :class:`~im_bench.models.segmentor.LabelSpaceSegmentor`; needed unless
            the segmentor is one.
        labelled_loss: Config of a loss for labelled images, called as MMSegmentation calls it.
            Default: the label space's.
        auxiliary_weight: Factor of the auxiliary heads' losses on labelled images.
        im: Fields of :class:`~im_bench.methods.online.Masking`.
        seed: Of the random draws in a step.
        data_preprocessor: Config, usually of a ``SemiPreprocessor``.
        init_cfg: MMEngine's.

    Raises:
        ImBenchError: The method is no online method, a field of it or of ``im`` is wrong, the label
            space is missing, or the network's outputs or the labelled loss do not fit it.
    """

    masking: MaskSource | None

    def __init__(
        self,
        segmentor: Mapping[str, Any],
        method: Mapping[str, Any],
        twin: Mapping[str, Any] | None = None,
        label_space: Mapping[str, Any] | None = None,
        labelled_loss: Mapping[str, Any] | None = None,
        auxiliary_weight: float = 0.4,
        im: Mapping[str, Any] | None = None,
        seed: int = 0,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(data_preprocessor, Mapping):  # MMEngine would look in its own registry only
            data_preprocessor = MODELS.build(dict(data_preprocessor))
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.method = online_method(method)
        self.student: Any = MODELS.build(dict(segmentor))
        if label_space is not None:
            self.space = build_label_space(**label_space)
        elif hasattr(self.student, "space"):
            self.space = self.student.space
        else:
            raise ImBenchError(
                f"{segmentor['type']} does not say what labels mean: give the model "
                "label_space=dict(kind='multiclass', outputs=...)"
            )
        _check_outputs(self.student, self.space)
        self.companion: Any = None
        if self.method.companion == "ema":
            self.companion = averaged_copy(self.student)
        elif self.method.companion == "twin":
            self.companion = MODELS.build(dict(twin or segmentor))
            _check_outputs(self.companion, self.space)
        if twin is not None and self.method.companion != "twin":
            raise ImBenchError(
                f"the model has a twin, and the method {method['name']!r} trains none: remove one"
            )
        self.state = nn.ModuleDict(self.method.state(self.student, self.space))
        if self.method.companion == "twin":
            self.state.update(self.method.twin_state(self.student, self.companion, self.space))
        self.labelled_loss = None if labelled_loss is None else MODELS.build(dict(labelled_loss))
        if isinstance(self.labelled_loss, OhemCrossEntropyLoss) and self.space.kind != "multiclass":
            raise ImBenchError(
                "hard examples are mined (ohem, OhemCrossEntropyLoss) among multi-class labels, "
                f"not {self.space.kind} ones: remove the labelled loss"
            )
        self.auxiliary_weight = auxiliary_weight
        self.im = None if im is None else _checked(Masking, "the model's 'im'", im)
        self.seed = seed
        self.clock = Clock()
        self.masking = None
        self._follow(0.0, buffers=True)
        self.to(memory_format=torch.channels_last)

    @property
    def deployed(self) -> Any:
        """The network that is validated, kept and tested."""
        if self.method.deployed == "companion" and self.companion is not None:
            return self.companion
        return self.student

    @property
    def align_corners(self) -> bool:
        """As the deployed network's decode head resizes."""
        return bool(self.deployed.decode_head.align_corners)

    def init_weights(self) -> None:
        """Draw the first weights; an average starts as a copy."""
        self.student.init_weights()
        if self.method.companion == "twin" and self.companion is not None:
            self.companion.init_weights()
        for module in self.state.values():
            if isinstance(module, BaseModule):
                module.init_weights()
        self._follow(0.0, buffers=True)

    def train(self, mode: bool = True) -> SemiSupervisedSegmentor:
        """Switch the mode of all but the averages, which stay in evaluation mode."""
        super().train(mode)
        for average, _ in self._averages():
            average.eval()
        return self

    def loss(self, inputs: Mapping[str, Any], data_samples: Tensor) -> dict[str, Tensor]:
        """Return the method's losses, and what it logs.

        Args:
            inputs: ``labelled`` images, and the views ``unlabelled`` and maybe ``partner``.
            data_samples: Label bytes of the labelled images.
        """
        views = {
            name: self._masked(inputs[name])
            for name in ("unlabelled", "partner")
            if inputs.get(name) is not None
        }
        inconsistent = views["unlabelled"].inconsistent if "unlabelled" in views else None
        step = Step(
            labelled=inputs["labelled"],
            labels=data_samples,
            views=views,
            student=Network(self.student),
            second=None if self.companion is None else Network(self.companion),
            state=self.state,
            space=self.space,
            clock=self.clock,
            generator=generator_at(
                process_seed(self.seed), self.clock.iteration, data_samples.device
            ),
            normalise=self.data_preprocessor.normalise,
            supervise=self._supervise,
            masking=None if inconsistent is None else self.im or Masking(),
        )
        if inconsistent is not None:
            step.log("inconsistent", share(inconsistent, views["unlabelled"].valid))
        with _without_cast_cache():
            losses = self.method.losses(step)
        return {**losses, **step.logged}

    @torch.no_grad()
    def after_step(self) -> None:
        """Let the averages follow; called after each step of the optimiser."""
        decay = self.method.ema_decay(self.clock)
        if decay is not None:
            self._follow(decay, self.method.ema_buffers)

    def predict(self, inputs: Tensor, data_samples: Any = None) -> Any:
        """Predict with the deployed network."""
        return self.deployed.predict(inputs, data_samples)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Any:
        return self.deployed._forward(inputs, data_samples)

    def extract_feat(self, inputs: Tensor) -> Any:
        """Return the deployed network's features."""
        return self.deployed.extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any) -> Tensor:
        """Return the deployed network's logits."""
        logits: Tensor = self.deployed.encode_decode(inputs, batch_data_samples)
        return logits

    def _masked(self, view: View) -> View:
        if self.masking is None or view.inconsistent is not None:
            return view
        made = self.masking.mask(view.images, self.data_preprocessor.normalise(view.images))
        if made is None:
            return view
        consensus, inconsistent = made
        # On padding there is nothing to disagree about, as in stored pseudo-labels.
        return view._replace(consensus=consensus, inconsistent=inconsistent & view.valid)

    def _supervise(self, logits: Tensor, labels: Tensor, auxiliary: Sequence[Tensor]) -> Tensor:
        total = self._labelled(logits, labels)
        for each in auxiliary:
            total = total + self.auxiliary_weight * self._labelled(each, labels)
        return total

    def _labelled(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.labelled_loss is None:
            return self.space.loss(logits, labels)
        loss: Tensor = self.labelled_loss(logits.float(), labels.long(), ignore_index=IGNORED)
        return loss

    def _averages(self) -> list[tuple[nn.Module, nn.Module]]:
        """Return each average with what it follows."""
        pairs = [
            (module, self.state[name.removesuffix(_EMA)])
            for name, module in self.state.items()
            if name.endswith(_EMA)
        ]
        if self.companion is not None and self.method.companion == "ema":
            pairs.append((self.companion, self.student))
        return pairs

    def _follow(self, decay: float, buffers: bool) -> None:
        for average, module in self._averages():
            average.requires_grad_(False)
            update_average(average, module, decay, buffers)


@contextmanager
def _without_cast_cache() -> Iterator[None]:
    """Let an autocast around the step cast weights anew for each pass.

    Before PyTorch 2.10 a pass without gradient leaves casts in the cache that no gradient flows
    through, and a pass that should learn would take them.
    """
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


def online_method(config: Mapping[str, Any]) -> OnlineMethod:
    """Return the method that a config names, with its fields.

    Raises:
        ImBenchError: There is no such method, it is not an online one, or a field is wrong.
    """
    fields = dict(config)
    name = str(fields.pop("name"))
    kind = method_class(name)
    if not issubclass(kind, OnlineMethod):
        raise ImBenchError(f"method {name!r} does not train with unlabelled images: use another")
    return _checked(kind, f"the method {name!r}", fields)


def _checked(kind: type[Fields], what: str, fields: Mapping[str, Any]) -> Fields:
    """Return what fields describe, or raise an ImBenchError about the first that is wrong."""
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise unknown_name(f"field of {what}", field, kind.model_fields) from None
        raise ImBenchError(f"{what}, field {field!r}: {first['msg']}") from None


def _check_outputs(network: Any, space: LabelSpace) -> None:
    """Raise an ImBenchError for heads that know other classes than the labels."""
    for name in ("decode_head", "auxiliary_head"):
        heads = getattr(network, name, None)
        for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
            outputs = getattr(head, "out_channels", space.outputs)
            if outputs != space.outputs:
                raise ImBenchError(
                    f"the network's {name} has {outputs} outputs, the model's label_space "
                    f"{space.outputs}: set num_classes and label_space.outputs to the same number"
                )
