"""How large the page of a large suite is, and how fast it is made and opened.

python -m benchmarks.speed.report_page --cells 5000

The stage folders are simulated (``tests/report/page/simulated.py``): one seed, half of the methods
with Inconsistency Masks. The page is opened from a file in Debian's chromium, without a network.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import yaml

from im_bench.planning.plan import Plan, make_plan
from im_bench.report.page.page import make_page
from im_bench.report.page.shell import write_page
from im_bench.runner.store import Store
from tests.report.page.browser import browser, milliseconds, missing, show
from tests.report.page.simulated import MARKUP, Simulation

METHODS = 100


def large_plan(cells: int, folder: Path) -> Plan:
    """Plan a suite of so many cells."""
    methods = {}
    for k in range(METHODS // 2):
        fields = {"method": "fixmatch", "threshold": 0.5 + 0.4 * k / METHODS}
        methods[f"fixmatch-{k}"] = fields
        methods[f"fixmatch-{k}+im"] = {**fields, "im": {"members": 2}}
    suite = {
        "name": "large",
        "seeds": [1],
        "budget": "equal",
        "data": {
            f"d{i}": {"synth": {"like": "isic2018", "seed": i}, "size": [64, 64]}
            for i in range(max(1, cells // METHODS))
        },
        "methods": methods,
    }
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(suite))
    return make_plan(path, folder / "out", folder / "data")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--keep", type=Path, help="Folder that the page is also written to.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan, store = large_plan(options.cells, folder), Store(folder / "out")
        simulation = Simulation(plan, store, pictures=2)
        stages = list(plan.graph)
        failed = [stage for stage in stages if stage.kind == "evaluate"][::51]
        simulation.finish(stage for stage in stages if stage not in failed)
        for k, stage in enumerate(failed):
            simulation.fail(stage, f"failure {k % 5}: {MARKUP}")
        began, cpu = time.perf_counter(), time.process_time()
        page = make_page([plan], store)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        path = write_page(options.keep or folder / "page", page)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"{len(plan.cells)} cells, {len(stages)} stages")
        print(f"made in {seconds:.1f} s ({cpu:.1f} s of processor), {memory:.0f} MiB")
        print(f"{path.stat().st_size / 1e6:.2f} MB, {page.count('data:image/')} pictures")
        if lacking := missing():
            print(f"not opened: there is no {lacking}")
            return
        with browser(folder / "profile") as driver:
            for width, height in ((1280, 800), (390, 844)):
                show(driver, width, height)
                for _ in range(3):
                    driver.get(path.as_uri())
                    print(
                        f"{width} x {height}: "
                        + ", ".join(f"{k} {v:.0f} ms" for k, v in milliseconds(driver).items())
                    )


if __name__ == "__main__":
    main()
