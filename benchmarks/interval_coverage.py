"""How often 95 % bootstrap intervals hold the truth, for the numbers of seeds that people have.

    python benchmarks/interval_coverage.py

Plain percentile intervals, as rliable has them, stand beside the expanded ones of im-bench.
"""

from __future__ import annotations

import numpy as np

from im_bench.report.statistics import estimates as st

TRIALS = 500
SHAPES = ((1, 6), (1, 10), (2, 3), (4, 3), (4, 5), (8, 3), (20, 3))


def covered(tasks: int, runs: int, skewed: bool) -> tuple[float, float]:
    """Return the shares of trials in which plain and expanded intervals hold the true mean, 0."""
    rng = np.random.default_rng(0)
    plain = expanded = 0
    for _ in range(TRIALS):
        draws = (
            rng.exponential(size=(tasks, runs)) - 1 if skewed else rng.normal(size=(tasks, runs))
        )
        found = st.bootstrap_intervals(st.task_mean, list(draws))
        assert found is not None
        expanded += found[0] <= 0 <= found[1]
        places = rng.integers(0, runs, (st.DRAWS, tasks, runs))
        means = draws[np.arange(tasks)[:, None], places].mean((1, 2))
        low, high = np.quantile(means, [0.025, 0.975])
        plain += low <= 0 <= high
    return plain / TRIALS, expanded / TRIALS


def main() -> None:
    """Print a Markdown table."""
    print("| tasks x seeds | plain | expanded | plain, skewed | expanded, skewed |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for tasks, runs in SHAPES:
        shares = [*covered(tasks, runs, skewed=False), *covered(tasks, runs, skewed=True)]
        print(f"| {tasks} x {runs} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
