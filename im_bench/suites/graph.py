"""Stages and the graph that they form: content-addressed, shared, in an order that can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Any, TypeVar

from im_bench.files import sha256_json
from im_bench.suites.recipes import RECIPES
from im_bench.suites.resources import ANY, Resources

T = TypeVar("T")


@dataclass(frozen=True)
class Coordinates:
    """Where a stage stands in a suite: by them it is named, grouped and found again.

    Attributes:
        purpose: What it makes: ``data``, ``member``, ``student``, ``labels``, ``scores``, ...
        data: The data set's name in the suite.
        split: The labelled share, or ``file``.
        seed: The repetition.
        method: The method that declares it; others may share it.
        generation: Round of self-training, from 1.
        member: Number among the stages that differ by their seeds only, from 1.
    """

    purpose: str
    data: str = ""
    split: str = ""
    seed: int | None = None
    method: str = ""
    generation: int | None = None
    member: int | None = None

    @property
    def name(self) -> str:
        """The name among the stages of its method, such as ``g2-student3``."""
        generation = "" if self.generation is None else f"g{self.generation}-"
        return f"{generation}{self.purpose}{self.member or ''}"

    @property
    def long_name(self) -> str:
        """The name with that of the method before it, such as ``im/g2-student3``."""
        return f"{self.method}/{self.name}" if self.method else self.name

    @property
    def slug(self) -> str:
        """The readable name, such as ``isic2018/0.1/s1/im/g2-student3``."""
        seed = "" if self.seed is None else f"s{self.seed}"
        return "/".join(filter(None, (self.data, self.split, seed, self.long_name)))


@dataclass(frozen=True)
class Stage:
    """The smallest unit that is run, cached and resumed.

    Attributes:
        kind: A name in :data:`im_bench.suites.recipes.RECIPES`.
        coordinates: Where it stands in the suite that first asked for it. Not part of the key.
        config: Everything that determines the output, beside the inputs; plain JSON values.
        inputs: Keys of the stages whose artifacts are read, by role.
        paths: Where files outside the results folder lie. Not part of the key.
        needs: What it needs of a machine. Not part of the key.
        key: SHA-256 of kind, recipe version, config and the keys of the inputs.
    """

    kind: str
    coordinates: Coordinates
    config: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, ...]]
    key: str
    paths: Mapping[str, str] = field(default_factory=dict)
    needs: Resources = ANY

    @property
    def slug(self) -> str:
        """The readable name."""
        return self.coordinates.slug

    @property
    def folder(self) -> str:
        """Name of the stage's folder, relative to the folder of all stages."""
        return f"{self.slug}-{self.key[:8]}"

    @property
    def requires(self) -> tuple[str, ...]:
        """Keys of all stages that must be done before this one."""
        return tuple(key for keys in self.inputs.values() for key in keys)


class Graph:
    """Stages by key, each after the ones that it requires.

    Args:
        minutes: Time limit of stages whose needs have none.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self._minutes = minutes
        self.stages: dict[str, Stage] = {}
        self.position: dict[str, int] = {}  # in the order of coming, which can be run
        self.asked = 0

    def add(
        self,
        kind: str,
        at: Coordinates | str,
        config: Mapping[str, Any],
        inputs: Mapping[str, Sequence[Stage]] | None = None,
        paths: Mapping[str, str] | None = None,
        needs: Resources = ANY,
    ) -> Stage:
        """Add a stage, or return the one that is already there under the same key.

        A stage that belongs to no data set or method is given by its purpose alone, as a string.
        """
        coordinates = Coordinates(at) if isinstance(at, str) else at
        self.asked += 1
        keys = {role: tuple(s.key for s in stages) for role, stages in (inputs or {}).items()}
        key = sha256_json(
            {"kind": kind, "recipe": RECIPES[kind].version, "config": config, "inputs": keys}
        )
        if key not in self.stages:
            self.position[key] = len(self.stages)
            if self._minutes and needs.minutes is None:
                needs = needs.model_copy(update={"minutes": self._minutes})
            self.stages[key] = Stage(kind, coordinates, config, keys, key, paths or {}, needs)
        return self.stages[key]

    def closure(
        self, keys: Iterable[str], done: Callable[[Stage], bool] | None = None
    ) -> list[Stage]:
        """Return the stages with these keys and all that they require, in the order of coming.

        Args:
            keys: Where to begin.
            done: Which stages are done: they are left out, with what only they require.
        """
        found: set[str] = set()
        seen: set[str] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key in seen:
                continue
            seen.add(key)
            if done is None or not done(self.stages[key]):
                found.add(key)
                waiting += self.stages[key].requires
        return [self.stages[key] for key in sorted(found, key=self.position.__getitem__)]

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages.values())

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, key: str) -> Stage:
        return self.stages[key]


def generation_role(g: int) -> str:
    """Return the role in which a stage of scores reads the trainings of a generation."""
    return f"generation-{g}"


def labels_role(g: int) -> str:
    """Return the role in which a stage of scores reads the labels of a generation."""
    return f"labels-{g}"


def generations_of(inputs: Mapping[str, Sequence[T]]) -> list[Sequence[T]]:
    """Return the trainings of each generation that a stage of scores reads.

    Args:
        inputs: Of that stage, by role: keys, or folders.
    """
    roles = takewhile(inputs.__contains__, map(generation_role, count(1)))
    return [inputs[role] for role in roles]
