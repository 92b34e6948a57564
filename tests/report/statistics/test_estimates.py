from __future__ import annotations

import itertools
from math import isclose

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from im_bench.report.statistics.estimates import (
    Scores,
    bootstrap_intervals,
    estimate,
    estimates,
    holm,
    interquartile_mean,
    interval_problem,
    mean_ranks,
    min_max,
    paired_differences,
    pairs_needed,
    performance_profile,
    probability_of_improvement,
    relative_differences,
    relative_to,
    sign_flip_p,
    student_estimate,
    task_mean,
)

numbers = st.floats(-10, 10).map(lambda x: round(x, 3))


def arrays(*shape: int) -> st.SearchStrategy[Scores]:
    return hnp.arrays(np.float64, shape, elements=numbers)


@st.composite
def tasks(draw: st.DrawFn, first: tuple[int, ...] = (), runs: int = 3) -> list[Scores]:
    """Draw 1 to 4 tasks of ``runs`` to 6 runs each."""
    sizes = draw(st.lists(st.integers(runs, 6), min_size=1, max_size=4))
    return [draw(arrays(*first, size)) for size in sizes]


def limits(found: tuple[Scores, Scores] | None) -> Scores:
    assert found is not None
    return np.array(found)


@pytest.mark.parametrize("higher", [True, False])
@given(data=st.data())
def test_differences_change_sign_with_the_order_of_the_two(
    higher: bool, data: st.DataObject
) -> None:
    a, b = data.draw(arrays(5)), data.draw(arrays(5))
    for difference in (paired_differences, relative_differences):
        np.testing.assert_allclose(difference(a, b, higher), -difference(b, a, higher))
        np.testing.assert_allclose(difference(a, b, higher), difference(-a, -b, not higher))


@settings(max_examples=15, deadline=None)
@given(tasks(runs=6))
def test_statistics_of_differences_are_antisymmetric_with_their_intervals(
    differences: list[Scores],
) -> None:
    mirrored = [-one for one in differences]
    for statistic in (task_mean, interquartile_mean):
        assert statistic(*differences) == pytest.approx(-statistic(*mirrored), abs=1e-9)
        there = limits(bootstrap_intervals(statistic, differences))
        back = limits(bootstrap_intervals(statistic, mirrored))
        np.testing.assert_allclose(there, -back[::-1], atol=1e-9)
    if len(np.concatenate(differences)) <= 13:
        assert sign_flip_p(differences) == sign_flip_p(mirrored)


@settings(max_examples=15, deadline=None)
@given(tasks(first=(2,), runs=6))
def test_the_probability_of_improvement_is_antisymmetric_around_a_half(
    pairs: list[Scores],
) -> None:
    mirrored = [pair[::-1] for pair in pairs]
    assert probability_of_improvement(*pairs) + probability_of_improvement(
        *mirrored
    ) == pytest.approx(1)
    there = limits(bootstrap_intervals(probability_of_improvement, pairs))
    back = limits(bootstrap_intervals(probability_of_improvement, mirrored))
    np.testing.assert_allclose(there, 1 - back[::-1], atol=1e-9)


@given(tasks(first=(3,)), st.randoms())
def test_the_order_of_runs_and_tasks_does_not_matter(several: list[Scores], random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    shuffled = [task[..., rng.permutation(task.shape[-1])] for task in several]
    shuffled = [shuffled[i] for i in rng.permutation(len(shuffled))]
    for statistic in (task_mean, interquartile_mean, mean_ranks):
        # Ranks of means that differ in the last bit only are no property of the order.
        rounded = [[np.round(task, 1) for task in them] for them in (several, shuffled)]
        if statistic is mean_ranks and any(
            len(set(np.round(task.mean(-1), 6))) < 3 for task in rounded[0]
        ):
            continue
        np.testing.assert_allclose(statistic(*rounded[0]), statistic(*rounded[1]), atol=1e-9)


@given(tasks())
def test_the_interquartile_mean_is_scipys_trimmed_mean_of_all_runs(several: list[Scores]) -> None:
    runs = np.concatenate(several)
    assert interquartile_mean(*several) == stats.trim_mean(runs, 0.25)


@given(arrays(4), arrays(5))
def test_the_probability_is_mann_whitneys_u_over_its_largest_value(a: Scores, b: Scores) -> None:
    u = stats.mannwhitneyu(a, b, method="asymptotic").statistic
    difference = np.sign(a[:, None] - b[None, :])
    assert ((1 + difference) / 2).mean() == pytest.approx(u / 20)
    paired = np.array([a, b[:4]])
    expected = stats.mannwhitneyu(a, b[:4], method="asymptotic").statistic / 16
    assert probability_of_improvement(paired) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(tasks(first=(3,)))
def test_intervals_hold_the_estimate(several: list[Scores]) -> None:
    if interval_problem([task.shape[-1] for task in several]):
        assert bootstrap_intervals(task_mean, several) is None
        return
    for statistic in (task_mean, interquartile_mean, mean_ranks):
        for one in estimates(statistic, several):
            if one.interval is not None:
                assert one.interval[0] <= one.value <= one.interval[1]
                assert one.interval[0] < one.interval[1]


def test_intervals_shrink_with_the_number_of_runs() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for runs in (3, 12, 48):
        several = [rng.normal(size=runs) for _ in range(4)]
        low, high = limits(bootstrap_intervals(task_mean, several))
        widths.append(float(high - low))
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


def test_intervals_are_the_same_every_time() -> None:
    several = [np.random.default_rng(1).normal(size=4) for _ in range(3)]
    assert estimate(task_mean, several) == estimate(task_mean, several)


def test_runs_are_drawn_within_their_task() -> None:
    # Between tasks there is all the variance, within them there is none.
    several = [np.full(3, value) for value in (0.0, 1.0, 5.0)]
    assert estimate(task_mean, several).value == 2
    np.testing.assert_array_equal(limits(bootstrap_intervals(task_mean, several)), 2)
    assert estimate(task_mean, several).interval is None


@pytest.mark.parametrize(("count", "runs"), [(1, 8), (4, 3), (6, 5)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(count: int, runs: int) -> None:
    rng = np.random.default_rng(3)
    hits = {"bootstrap": 0, "student": 0}
    trials = 300
    for _ in range(trials):
        several = [rng.normal(0.2, 1, runs) for _ in range(count)]
        low, high = limits(bootstrap_intervals(task_mean, several))
        hits["bootstrap"] += low <= 0.2 <= high
        interval = student_estimate(several[0]).interval
        assert interval is not None
        hits["student"] += interval[0] <= 0.2 <= interval[1]
    # Three standard errors of 300 trials are 0.04.
    assert 0.90 <= hits["bootstrap"] / trials <= 0.99
    assert 0.91 <= hits["student"] / trials <= 0.99


def test_too_few_runs_get_no_interval() -> None:
    assert "3 seeds of each" in interval_problem([2, 8])
    assert "6 seeds in all" in interval_problem([5])
    assert interval_problem([3, 3]) == ""
    assert student_estimate(np.array([0.5])).interval is None


def test_student_equals_scipys_interval() -> None:
    values = np.array([0.1, 0.4, -0.2])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert student_estimate(values).interval == pytest.approx((expected.low, expected.high))


@settings(max_examples=30, deadline=None)
@given(st.lists(arrays(3), min_size=1, max_size=3))
def test_the_sign_flip_test_tries_all_signs(differences: list[Scores]) -> None:
    observed = abs(task_mean(*differences))
    flat = np.concatenate(differences)
    found = 0
    for signs in itertools.product((-1, 1), repeat=len(flat)):
        flipped = np.split(flat * np.array(signs), len(differences))
        value = abs(task_mean(*flipped))
        found += value > observed or isclose(value, observed, rel_tol=1e-9, abs_tol=1e-12)
    assert sign_flip_p(differences) == pytest.approx(min(1, found / 2 ** len(flat)))


@pytest.mark.parametrize("pairs", range(2, 14))
def test_the_smallest_p_is_two_over_two_to_the_pairs(pairs: int) -> None:
    assert sign_flip_p([np.arange(1.0, pairs + 1)]) == pytest.approx(2 / 2**pairs)


def test_many_pairs_are_tested_by_drawn_signs() -> None:
    assert sign_flip_p([np.arange(1.0, 31)]) < 0.001
    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    assert sign_flip_p([values]) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.03)


def test_the_number_of_pairs_from_which_a_p_can_mean_anything() -> None:
    assert [pairs_needed(k) for k in (1, 2, 6)] == [6, 7, 8]
    for comparisons in range(1, 20):
        n = pairs_needed(comparisons)
        assert comparisons * 2 / 2**n <= 0.05 < comparisons * 2 / 2 ** (n - 1)


def test_holm_as_computed_by_hand() -> None:
    # 0.005 x 4 = 0.02, 0.01 x 3 = 0.03, 0.03 x 2 = 0.06, then 0.04, raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_nor_changes_their_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(q >= p for p, q in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)


@pytest.mark.parametrize("higher", [True, False])
def test_scores_with_units_become_comparable(higher: bool) -> None:
    scores = np.array([[0.5, 0.7], [0.8, 1.0], [0.7, 0.7]])
    scaled = min_max(scores, higher)
    expected = [0, 1, 1 / 3] if higher else [1, 0, 2 / 3]
    np.testing.assert_allclose(scaled.mean(-1), expected)
    np.testing.assert_allclose(min_max(40 * scores, higher), scaled)
    gains = relative_to(scores, 0, higher)
    np.testing.assert_allclose(
        gains.mean(-1), np.array([0, 0.5, 1 / 6]) * (1 if higher else -1), atol=1e-12
    )
    relative = relative_differences(scores[1], scores[0], higher)
    np.testing.assert_allclose(relative, (1 if higher else -1) * 0.3 / 0.75)
    np.testing.assert_allclose(
        relative_differences(40 * scores[1], 40 * scores[0], higher), relative
    )


def test_scores_without_any_spread() -> None:
    np.testing.assert_array_equal(min_max(np.full((3, 2), 0.1), True), 0.5)
    np.testing.assert_array_equal(relative_differences(np.zeros(3), np.zeros(3), False), 0)


def test_ranks_are_averaged_over_tasks_and_shared_by_equals() -> None:
    several = [np.array([[3.0, 3.0], [1.0, 1.0], [2.0, 2.0]]), np.array([[1.0], [1.0], [0.0]])]
    np.testing.assert_allclose(mean_ranks(*several), [(1 + 1.5) / 2, (3 + 1.5) / 2, (2 + 3) / 2])


def test_profiles_count_runs_and_weigh_tasks_alike() -> None:
    several = [np.array([[0.0, 0.5, 1.0, 1.0]]), np.array([[0.5, 0.5]])]
    shares = performance_profile(np.array([0.0, 0.5, 0.75]), *several)
    np.testing.assert_allclose(shares[:, 0], [1, (0.75 + 1) / 2, (0.5 + 0) / 2])
