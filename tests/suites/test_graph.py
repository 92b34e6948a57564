"""Keys say everything that determines a stage's output, and nothing else."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im_bench.suites.graph import Coordinates, Graph, generation_role, generations_of
from im_bench.suites.recipes import RECIPES, Recipe
from im_bench.suites.seeds import seed_of

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
names = st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | numbers | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
configs = st.dictionaries(names, values, max_size=4)


def shuffled(value: Any, draw: random.Random) -> Any:
    """Return an equal value whose dicts have another order."""
    if isinstance(value, dict):
        items = [(name, shuffled(inner, draw)) for name, inner in value.items()]
        draw.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        return [shuffled(inner, draw) for inner in value]
    return value


@given(configs, st.randoms())
def test_the_order_of_fields_is_no_matter(config: dict[str, Any], draw: random.Random) -> None:
    graph = Graph()
    stage = graph.add("train", "a", config)
    assert graph.add("train", "a", shuffled(config, draw)) is stage
    assert len(graph) == 1


@given(configs, configs)
def test_different_configs_have_different_keys(one: dict[str, Any], two: dict[str, Any]) -> None:
    graph = Graph()
    keys = {graph.add("train", "a", config).key for config in (one, two)}
    assert (len(keys) == 1) == (repr(ordered(one)) == repr(ordered(two)))


def ordered(value: Any) -> Any:
    """Return a form that is equal for values that JSON does not tell apart by order."""
    if isinstance(value, dict):
        return [(name, ordered(value[name])) for name in sorted(value)]
    return [ordered(inner) for inner in value] if isinstance(value, list) else value


def test_name_and_paths_are_not_in_the_key() -> None:
    graph = Graph()
    stage = graph.add("data", "here", {"x": 1}, paths={"description": "/a"})
    assert graph.add("data", "there", {"x": 1}, paths={"description": "/b"}) is stage


def test_kind_recipe_and_inputs_are(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph()
    one, two = graph.add("data", "one", {"x": 1}), graph.add("data", "two", {"x": 2})
    keys = {
        graph.add("train", "a", {}).key,
        graph.add("evaluate", "a", {}).key,
        graph.add("train", "a", {}, {"data": [one]}).key,
        graph.add("train", "a", {}, {"data": [two]}).key,
        graph.add("train", "a", {}, {"pseudo": [one]}).key,
        graph.add("train", "a", {}, {"data": [one, two]}).key,
        graph.add("train", "a", {}, {"data": [two, one]}).key,
    }
    assert len(keys) == 7
    monkeypatch.setitem(RECIPES, "train", Recipe("elsewhere:run", RECIPES["train"].version))
    assert graph.add("train", "a", {}).key in keys
    monkeypatch.setitem(RECIPES, "train", Recipe("elsewhere:run", RECIPES["train"].version + 1))
    assert graph.add("train", "a", {}).key not in keys


def test_keys_do_not_change_between_versions_of_im_bench() -> None:
    graph = Graph()
    stage = graph.add("data", "a/b", {"size": [64, 48], "labelled": 0.1, "limit": {}})
    assert RECIPES["data"].version == 2, "a new version: write the new key below"
    assert stage.folder == f"a/b-{stage.key[:8]}"
    assert stage.key == "b13a102361365ebdf24c547d59f8bad7ec26b2c18d0fa154160cee25609fc182"


@given(st.lists(names | numbers, max_size=5))
def test_seeds_are_what_generators_take(coordinates: list[Any]) -> None:
    seed = seed_of(*coordinates)
    assert 0 <= seed < 2**31
    assert seed_of(*coordinates) == seed
    assert seed_of(*coordinates, "x") != seed


def test_coordinates_name_a_stage_and_do_not_enter_its_key() -> None:
    graph = Graph()
    at = Coordinates("student", "isic2018", "0.1", 1, "im", generation=2, member=3)
    stage = graph.add("train", at, {"x": 1})
    assert (at.name, stage.slug) == ("g2-student3", "isic2018/0.1/s1/im/g2-student3")
    assert graph.add("train", Coordinates("member", "cells"), {"x": 1}) is stage
    assert Coordinates("data", data="cells").slug == "cells/data"


def test_generations_are_read_in_order_without_a_look_at_names() -> None:
    inputs = {"data": ["d"], **{generation_role(g): [g] for g in (10, *range(1, 10))}}
    assert generations_of(inputs) == [[g] for g in range(1, 11)]
