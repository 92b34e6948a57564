"""Stages and the graph that they form: content-addressed, shared, in an order that can be run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from im_bench.files import sha256_json
from im_bench.suites.recipes import RECIPES
from im_bench.suites.resources import ANY, Resources


@dataclass(frozen=True)
class Stage:
    """The smallest unit that is run, cached and resumed.

    Attributes:
        kind: A name in :data:`im_bench.suites.recipes.RECIPES`.
        slug: A readable name, such as ``isic2018/0.1/im/s1/g2-student3``.
        config: Everything that determines the output, beside the inputs; plain JSON values.
        inputs: Keys of the stages whose artifacts are read, by role.
        paths: Where files outside the results folder lie. Not part of the key.
        needs: What it needs of a machine. Not part of the key.
        key: SHA-256 of kind, recipe version, config and the keys of the inputs.
    """

    kind: str
    slug: str
    config: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, ...]]
    key: str
    paths: Mapping[str, str] = field(default_factory=dict)
    needs: Resources = ANY

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
        slug: str,
        config: Mapping[str, Any],
        inputs: Mapping[str, Sequence[Stage]] | None = None,
        paths: Mapping[str, str] | None = None,
        needs: Resources = ANY,
    ) -> Stage:
        """Add a stage, or return the one that is already there under the same key."""
        self.asked += 1
        keys = {role: tuple(s.key for s in stages) for role, stages in (inputs or {}).items()}
        key = sha256_json(
            {"kind": kind, "recipe": RECIPES[kind].version, "config": config, "inputs": keys}
        )
        if key not in self.stages:
            self.position[key] = len(self.stages)
            if self._minutes and needs.minutes is None:
                needs = needs.model_copy(update={"minutes": self._minutes})
            self.stages[key] = Stage(kind, slug, config, keys, key, paths or {}, needs)
        return self.stages[key]

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages.values())

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, key: str) -> Stage:
        return self.stages[key]
