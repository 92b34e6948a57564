"""The weights of a network from whatever a checkpoint calls them, and how they fit a network.

MMEngine writes ``{"state_dict": ...}``, UniMatch ``{"model": ...}``, U2PL ``{"model_state": ...,
"teacher_state": ...}``, DINOv2 ``{"teacher": ...}``, others nothing around the weights. Wrappers
for several processes or for compiling put ``module.`` or ``_orig_mod.`` before each name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from im_bench.errors import ImBenchError

State = dict[str, Tensor]

PARTS = ("student", "companion")
"""The networks that a semi-supervised checkpoint can hold."""

_STUDENTS = ("state_dict", "model", "model_state", "model_state_dict", "student", "network", "net")
_COMPANIONS = ("teacher", "model_ema", "ema", "teacher_state", "ema_model", "model_teacher")
_WRAPPERS = ("module.", "_orig_mod.")
_OUTER = ("model.", "net.", "network.", "segmentor.")  # where all names begin so
NOT_LEARNED = "num_batches_tracked"
_SHOWN = 3


class Fit(NamedTuple):
    """How weights fit a network; all names are the network's, but those of ``unused``.

    Attributes:
        weights: What can be loaded.
        missing: Names that the weights lack.
        unused: Names that the network does not have.
        reshaped: Names whose shapes differ, with both shapes, as text.
        size: How many weights the network has.
    """

    weights: State
    missing: list[str]
    unused: list[str]
    reshaped: list[str]
    size: int

    @property
    def exact(self) -> bool:
        """Whether nothing is left over on either side."""
        return not (self.missing or self.unused or self.reshaped)

    def __str__(self) -> str:
        """Count what does not fit, and name the first few."""
        parts = (
            (self.reshaped, "have another shape"),
            (self.missing, f"of the network's {self.size} are missing"),
            (self.unused, "are not the network's"),
        )
        return "; ".join(f"{len(names)} {what} ({_few(names)})" for names, what in parts if names)


def network_weights(
    content: Mapping[str, Any], path: object, part: str | None = "student"
) -> State:
    """Return the weights of one network of a checkpoint, under the names of the network.

    Args:
        content: Of a checkpoint.
        path: Named in errors.
        part: Which network, where there are two: ``student``, or its ``companion``, such as an
            average. A file with one network has that one only, whatever it is called. None: all
            networks of a semi-supervised checkpoint, under their own names.

    Raises:
        ImBenchError: There is no network, or a semi-supervised checkpoint lacks the part.
    """
    weights = _unwrapped(_tensors(content, path, part))
    parts = [name for name in PARTS if any(key.startswith(f"{name}.") for key in weights)]
    if part is None or not parts:
        return weights
    if part not in parts:
        raise ImBenchError(
            f"{path} holds no network {part!r}, only {' and '.join(parts)}: name another part in "
            "teachers.part, which may be a list with one for each checkpoint"
        )
    return _without_prefix(weights, f"{part}.")


def fitted(weights: Mapping[str, Tensor], network: nn.Module) -> Fit:
    """Compare weights with those that a network has."""
    wanted = {name: value for name, value in network.state_dict().items() if _is_tensor(value)}
    usable, missing, reshaped = {}, [], []
    for name, value in wanted.items():
        if name not in weights:
            if not name.endswith(NOT_LEARNED):
                missing.append(name)
        elif weights[name].shape != value.shape:
            found, needed = tuple(weights[name].shape), tuple(value.shape)
            reshaped.append(f"{name}: {found} for {needed}")
        else:
            usable[name] = weights[name]
    unused = [name for name in weights if name not in wanted and not name.endswith(NOT_LEARNED)]
    return Fit(usable, missing, unused, reshaped, len(wanted))


def without_best_prefix(
    weights: State, network: nn.Module, prefixes: Sequence[str] = ("backbone.", "encoder.")
) -> State:
    """Return the weights under whichever prefix most names are the network's; maybe none."""
    wanted = network.state_dict().keys()
    candidates = [weights, *(_without_prefix(weights, prefix) for prefix in prefixes)]
    return max(candidates, key=lambda each: len(wanted & each.keys()))  # the first of equal ones


def _tensors(content: Mapping[str, Any], path: object, part: str | None) -> State:
    """Return the tensors of the mapping in a checkpoint that is a network's state dict."""
    bare = {name: value for name, value in content.items() if _is_tensor(value)}
    networks = {name: value for name, value in content.items() if _is_state_dict(value)}
    if not networks:
        for inner in content.values():  # {"ema": {"module": ...}}
            if isinstance(inner, Mapping) and any(map(_is_state_dict, inner.values())):
                return _tensors(inner, path, part)
        if bare:
            return bare
        held = ", ".join(map(str, content)) or "nothing"
        raise ImBenchError(f"{path} holds no weights of a network, only {held}: name another file")
    order = (*_COMPANIONS, *_STUDENTS) if part == "companion" else (*_STUDENTS, *_COMPANIONS)
    found = next((name for name in order if name in networks), None)
    if found is None:
        if len(networks) > 1:
            raise ImBenchError(
                f"{path} holds several networks ({', '.join(map(str, networks))}), none under a "
                "known name: save the one that counts as state_dict"
            )
        (found,) = networks
    return {name: value for name, value in networks[found].items() if _is_tensor(value)}


def _unwrapped(weights: State) -> State:
    """Return weights without the prefixes that wrappers put before the network's names."""
    while weights:
        for prefix in (*_WRAPPERS, *_OUTER):
            if all(name.startswith(prefix) for name in weights):
                weights = _without_prefix(weights, prefix)
                break
            if prefix in _WRAPPERS and any(name.startswith(prefix) for name in weights):
                # Beside them are counters of the wrapper's own, or parts that were not wrapped.
                weights = {name.removeprefix(prefix): value for name, value in weights.items()}
                break
        else:
            break
    return weights


def _without_prefix(weights: State, prefix: str) -> State:
    """Return what begins with a prefix, without it."""
    size = len(prefix)
    return {name[size:]: value for name, value in weights.items() if name.startswith(prefix)}


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(name, str) and _is_tensor(each) for name, each in value.items()
    )


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
