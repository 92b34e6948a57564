from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im_bench.data.description import Fractions
from im_bench.data.splits import choose_labelled, divide, listed, read_names
from im_bench.errors import ImBenchError

names = st.lists(st.text("abc123", min_size=1, max_size=6), unique=True, min_size=1, max_size=60)
fractions = st.floats(0.001, 1.0)
seeds = st.integers(0, 2**32)


@given(names, fractions, seeds, st.randoms())
def test_the_choice_depends_on_neither_order_nor_time(names, fraction, seed, random) -> None:
    chosen = choose_labelled(names, fraction, seed)
    shuffled = random.sample(names, len(names))
    assert choose_labelled(shuffled, fraction, seed) == chosen == sorted(chosen)


@given(names, fractions, seeds)
def test_the_choice_has_the_asked_size(names, fraction, seed) -> None:
    chosen = choose_labelled(names, fraction, seed)
    assert len(chosen) == max(1, round(fraction * len(names)))
    assert set(chosen) <= set(names)


@given(names, fractions, fractions, seeds)
def test_a_smaller_choice_is_part_of_a_larger_one(names, one, other, seed) -> None:
    smaller, larger = sorted([one, other])
    assert set(choose_labelled(names, smaller, seed)) <= set(choose_labelled(names, larger, seed))


def test_seeds_choose_differently() -> None:
    names = [f"{index:03}" for index in range(100)]
    choices = {tuple(choose_labelled(names, 0.1, seed)) for seed in range(20)}
    assert len(choices) == 20


def test_the_choice_never_changes() -> None:
    """Published results depend on it."""
    names = [f"{index:02}" for index in range(30)]
    assert choose_labelled(names, 0.1, 42) == ["07", "16", "29"]


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_an_impossible_share_is_refused(fraction: float) -> None:
    with pytest.raises(ImBenchError, match="impossible"):
        choose_labelled(["a"], fraction, 0)


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(ImBenchError, match="no training images"):
        choose_labelled([], 0.5, 0)


@given(st.integers(11, 200), st.floats(0.01, 0.45), st.none() | st.floats(0.01, 0.45), seeds)
def test_dividing_loses_and_repeats_nothing(count, val, test, seed) -> None:
    names = [f"{index:03}" for index in range(count)]
    parts = divide(reversed(names), Fractions(val=val, test=test, seed=seed))
    assert sorted(itertools.chain(*parts.values())) == names
    assert len(parts["val"]) == max(1, round(val * count))
    assert ("test" in parts) == (test is not None)
    assert all(part == sorted(part) and part for part in parts.values())


def test_too_few_images_to_divide_are_told() -> None:
    with pytest.raises(ImBenchError, match="2 images are too few"):
        divide(["a", "b"], Fractions(val=0.1, test=0.1))


def test_names_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("# chosen by hand\n b \n\na\r\n", encoding="utf-8")
    assert read_names(path) == ["b", "a"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "names no image"), (b"a\nb\na\n", "a stand twice"), (b"\xff", "not UTF-8")],
)
def test_a_wrong_list_of_names_is_told(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(ImBenchError, match=rf"names\.txt: .*{expected}"):
        read_names(path)
    with pytest.raises(ImBenchError, match=r"none\.txt: cannot be read: No such file"):
        read_names(tmp_path / "none.txt")


def test_long_lists_are_cut_short() -> None:
    assert listed(["b", "a"]) == "a, b"
    assert listed("gfedcba", most=2) == "a, b and 5 more"
