"""What a search may try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from im_bench.errors import ImBenchError
from im_bench.methods.ranges import Choice, Range
from im_bench.planning.loading import load_suite
from im_bench.schedules.base import Schedule
from im_bench.tuning.space import (
    Space,
    declared_space,
    load_space,
    problem_of,
    value_of,
    with_values,
)

METHODS = """
name: all
data: {d: {folder: d}}
methods:
  fixmatch: {}
  fixmatch+im: {im: {members: 2}}
  u2pl: {}
  unimatch: {}
  crossmatch: {}
  fpl: {}
  imas: {}
  supervised: {}
  supervised+im: {}
  ldt: {}
  im: {members: 3}
  im-2: {method: im, members: 2}
  me: {}
"""


@pytest.fixture(scope="module")
def methods(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Schedule]:
    path = tmp_path_factory.mktemp("space") / "all.yaml"
    path.write_text(METHODS)
    return dict(load_suite(path)[1])


def space_of(text: str, method: Schedule, folder: Path) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return load_space(path, method)


def test_every_method_that_declares_ranges_can_have_their_ends(
    methods: dict[str, Schedule],
) -> None:
    searched = 0
    for name, method in methods.items():
        if not method.ranges():
            with pytest.raises(ImBenchError, match="--space FILE"):
                declared_space(method)
            continue
        space = declared_space(method)
        searched += 1
        for field, one in space.ranges.items():
            ends = one.values if isinstance(one, Choice) else (one.low, one.high)
            for value in ends:
                assert not problem_of(method, {field: value}), (name, field, value)
    assert searched >= 9


def test_what_a_method_cannot_have_is_not_tried(methods: dict[str, Schedule]) -> None:
    assert declared_space(methods["im"]).ranges["teachers"] == Choice((2, 3))
    two = declared_space(methods["im-2"])
    assert "teachers" not in two.ranges, "one value is no choice"
    assert set(declared_space(methods["fixmatch+im"]).ranges) == {
        "threshold", "unlabelled_weight", "im.erode", "im.dilate",
    }  # fmt: skip


def test_ranges_become_distributions(methods: dict[str, Schedule], tmp_path: Path) -> None:
    text = """
    members: {low: 2, high: 5}
    threshold: {low: 0.1, high: 0.9}
    unlabelled_weight: {low: 0.25, high: 4, log: true}
    cutmix: [0, 0.5]
    """
    space = space_of(text, methods["fixmatch"], tmp_path)
    assert space.distributions() == {
        "members": IntDistribution(2, 5),
        "threshold": FloatDistribution(0.1, 0.9),
        "unlabelled_weight": FloatDistribution(0.25, 4, log=True),
        "cutmix": CategoricalDistribution((0, 0.5)),
    }
    assert space.describe() == {
        "cutmix": "0, 0.5",
        "members": "2 to 5",
        "threshold": "0.1 to 0.9",
        "unlabelled_weight": "0.25 to 4, log",
    }


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("fixmatch", "members: {low: 1.5, high: 3}", "whole numbers"),
        ("fixmatch", "members: {low: 0, high: 3}", "cannot be 0"),
        ("fixmatch+im", "im.erod: [0, 3]", "did you mean 'im.erode'"),
        ("fixmatch+im", "im.teachers: [2, 3]", "cannot be 3"),
        ("fixmatch", "im.erode: [0, 3]", "METHOD\\+im"),
        ("fixmatch", "threshold.low: [0, 3]", "did you mean"),
        ("fixmatch", "im: [1, 2]", "cannot be 1"),
        ("fpl", "weighting: [none, linar]", "cannot be linar"),
        ("fixmatch", "threshold: [true, 0.5]", "cannot be True"),
    ],
)
def test_what_cannot_be_is_told_with_file_and_line(
    methods: dict[str, Schedule], tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    with pytest.raises(ImBenchError, match=sentence) as raised:
        space_of(text, methods[name], tmp_path)
    assert "space.yaml:1" in str(raised.value) or "space.yaml" in str(raised.value)


def test_defaults_come_first_only_where_they_lie_in_the_space(
    methods: dict[str, Schedule], tmp_path: Path
) -> None:
    method = methods["fixmatch"]
    inside = space_of("threshold: {low: 0.9, high: 0.99}\ncutmix: [0, 0.5]", method, tmp_path)
    assert inside.defaults(method) == {"threshold": 0.95, "cutmix": 0.5}
    assert space_of("threshold: {low: 0.1, high: 0.9}", method, tmp_path).defaults(method) is None
    assert space_of("cutmix: [0, 0.25]", method, tmp_path).defaults(method) is None


_NAMES = st.sampled_from(["a", "b", "im.a", "im.b", "x.y.z"])


@given(st.dictionaries(_NAMES, st.integers()), st.dictionaries(_NAMES, st.integers()))
def test_values_stand_under_their_dotted_names_and_nothing_else_changes(
    before: dict[str, int], values: dict[str, int]
) -> None:
    fields = with_values({}, before)
    kept = with_values(fields, {})
    changed = with_values(fields, values)
    assert fields == kept, "what was given is left alone"

    def look(where: Any, name: str) -> Any:
        for part in name.split("."):
            where = where.get(part, {})
        return where

    for name, value in {**before, **values}.items():
        assert look(changed, name) == value


def test_values_are_read_by_dotted_names(methods: dict[str, Schedule]) -> None:
    method = methods["fixmatch+im"]
    assert value_of(method, "im.members") == 2
    assert value_of(methods["fixmatch"], "im.members") is None
    assert value_of(method, "threshold") == 0.95


@given(st.floats(0.1, 0.98), st.floats(0.001, 0.01))
def test_a_range_says_what_it_is(low: float, width: float) -> None:
    one = Range(low, low + width)
    assert str(one) == f"{low:g} to {low + width:g}"
