"""What the page says, without a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from im_bench.cli.app import main
from im_bench.errors import ImBenchError
from im_bench.planning.plan import Plan, make_plan
from im_bench.report.page.content import suite_report
from im_bench.report.page.page import make_page
from im_bench.report.page.shell import write_page
from im_bench.report.page.thumbnails import Thumbnails
from im_bench.report.tables.build import results_table
from im_bench.report.tables.texts import number
from im_bench.runner.store import Store

from .conftest import Seen
from .simulated import LESION, Simulation, Task

SMALL = """
name: small
seeds: [1, 2, 3]
budget: equal
data:
  lesions: {synth: {like: isic2018}, size: [64, 64]}
methods:
  supervised: {}
  supervised+im: {im: {members: 2}}
"""


@pytest.fixture
def small(tmp_path: Path) -> tuple[Plan, Store, Simulation]:
    (tmp_path / "small.yaml").write_text(SMALL)
    plan = make_plan(tmp_path / "small.yaml", tmp_path / "runs", tmp_path / "data")
    store = Store(tmp_path / "runs")
    return plan, store, Simulation(plan, store, rows=20, pictures=2)


def test_classes_are_told_from_metrics(small: tuple[Plan, Store, Simulation]) -> None:
    plan, store, _ = small
    report = suite_report(plan, store, Thumbnails())
    assert report.classes == ()
    classes = ("void", "dataset", "iou", "road/side", "iou/a", "miou_dataset")
    for task, expected in ((LESION, ()), (Task("multiclass", "miou", classes), classes[1:])):
        Simulation(plan, store, (task,), rows=2, pictures=0).finish(plan.graph)
        found = suite_report(plan, store, Thumbnails()).classes
        assert tuple(name for table in found for name in table.classes) == expected


def test_numbers_are_those_of_the_tables(seen: Seen) -> None:
    table = results_table(seen.plan, seen.store)
    entry = table.entries["fdt", "isic"]
    mean, std, difference = (value or 0 for value in (entry.mean, entry.std, entry.difference))
    assert difference
    text = re.sub(r"<[^>]+>", "", seen.text)
    assert f"{number(mean, '%')} ± {number(std, '%')}" in text
    assert f"({number(difference, '%', sign=True)})" in seen.text
    assert "2 of 3, failed" in seen.text
    for note in table.notes:
        assert note.replace("&", "&amp;").replace("'", "&#39;") in seen.text


def test_nothing_but_data_is_referred_to(seen: Seen) -> None:
    page = re.sub(r'"data:[^"]*"', '""', seen.text)
    assert re.findall(r"https?://", page) == []
    assert re.findall(r"\b(?:src|href)=\"(?!#|\")", page) == []
    assert "default-src &#39;none&#39;" in page
    assert "unsafe" not in page
    assert len(re.findall("<script", page)) == 2  # the pictures, and what browses them


def test_gains_are_paired_by_seed(small: tuple[Plan, Store, Simulation]) -> None:
    plan, store, simulation = small
    simulation.finish(plan.graph)
    table = results_table(plan, store)
    masked, base = (table.entries[m, "lesions"].scores for m in ("supervised+im", "supervised"))
    differences = [masked[seed] - base[seed] for seed in (1, 2, 3)]
    report = suite_report(plan, store, Thumbnails())
    assert report.gains is not None
    ((_, _, (gain,), overall),) = report.gains.pairs
    assert gain is not None
    assert gain.n == 3
    mean = sum(differences) / 3
    assert gain.estimate.value == pytest.approx(mean)
    low, high = gain.estimate.interval or (0, 0)
    assert low < mean < high
    assert low + high == pytest.approx(2 * mean)
    (chart,) = report.gains.charts
    assert chart.labels == ("lesions",)
    interval = f"[{number(low, '%', sign=True)}, {number(high, '%', sign=True)}]"
    assert interval in chart.alt
    assert interval in chart.drawing.markup
    assert overall is not None
    assert overall.estimate.value > 0  # all three seeds gain, and IoU is better if greater
    assert overall.estimate.interval is None  # which needs six pairs


def test_an_empty_folder_says_what_is_planned(small: tuple[Plan, Store, Simulation]) -> None:
    plan, store, _ = small
    page = make_page([plan], store)
    assert "Nothing is done yet" in page
    assert page.count(">planned<") == 2
    for absent in ("small-equal-learning", "small-equal-gallery", "small-equal-cost"):
        assert absent not in page
    assert not store.out.exists()


def test_a_running_suite_shows_the_curves_that_there_are(
    small: tuple[Plan, Store, Simulation],
) -> None:
    plan, store, simulation = small
    kinds = ("data", "train", "pseudo-label")
    simulation.finish(stage for stage in plan.graph if stage.kind in kinds)
    report = suite_report(plan, store, Thumbnails())
    (chart,) = report.learning
    assert chart.labels == ("supervised", "supervised+im")
    assert report.gains is None


def test_no_chart_says_only_that_all_images_are_kept(tmp_path: Path) -> None:
    fields = "{members: 2, students: 2, teachers: 2, generations: 2}"
    (tmp_path / "small.yaml").write_text(SMALL.replace("  supervised: {}", f"  im: {fields}"))
    plan = make_plan(tmp_path / "small.yaml", tmp_path / "runs", tmp_path / "data")
    store = Store(tmp_path / "runs")
    Simulation(plan, store, rows=20, pictures=1).finish(plan.graph)
    assert "<h3>Images kept</h3>" in make_page([plan], store)
    for file in store.stages.rglob("scores-*/result.json"):
        result = json.loads(file.read_text())
        for generation in result["outcome"]["generations"]:
            generation["images_kept"] = 1.0
        file.write_text(json.dumps(result))
    page = make_page([plan], store)
    assert "<h3>Images kept</h3>" not in page
    assert "<h3>Consistent pixels</h3>" in page


def test_unreadable_pictures_are_named_and_left_out(
    small: tuple[Plan, Store, Simulation],
) -> None:
    plan, store, simulation = small
    simulation.finish(plan.graph)
    pictures = sorted(store.stages.rglob("labels-*.png"))
    pictures[0].write_bytes(b"no picture")
    pictures[1].write_bytes(pictures[1].read_bytes()[:200])
    next(store.stages.rglob("scalars.jsonl")).write_bytes(b"\xff\xfe no text")
    page = make_page([plan], store)
    assert "2 pictures could not be read, such as <code>" in page


def test_pictures_beyond_the_budget_are_counted(small: tuple[Plan, Store, Simulation]) -> None:
    plan, store, simulation = small
    simulation.finish(plan.graph)
    thumbnails = Thumbnails()
    thumbnails.allow(5000)
    report = suite_report(plan, store, thumbnails)
    assert 0 < len(report.gallery.items) < report.gallery.found
    assert sum(map(len, thumbnails.uris)) < 5000 + 40_000


def test_older_strips_without_truth_are_read(small: tuple[Plan, Store, Simulation]) -> None:
    """As stages left them before they showed the truth."""
    from PIL import Image

    plan, store, simulation = small
    simulation.finish(plan.graph)
    for path in store.stages.rglob("labels-*.png"):
        strip = Image.open(path).convert("RGB")
        older = Image.new("RGB", (strip.width - 68, strip.height))
        older.paste(strip.crop((0, 0, 68, 64)), (0, 0))
        older.paste(strip.crop((136, 0, strip.width, 64)), (68, 0))
        older.save(path)
    thumbnails = Thumbnails()
    thumbnails.allow(1_000_000)
    items = suite_report(plan, store, thumbnails).gallery.items
    labels = next(item for item in items if item.shows == "pseudo-labels")
    assert [panel.caption for panel in labels.panels][:3] == ["image", "teacher 1", "teacher 2"]


def test_two_suites_on_one_page(
    seen: Seen, small: tuple[Plan, Store, Simulation], tmp_path: Path
) -> None:
    plan, store, simulation = small
    simulation.finish(plan.graph)
    shutil.copytree(seen.store.stages, store.stages, dirs_exist_ok=True)
    page = make_page([seen.plan, plan], store)
    assert "<title>seen-equal, small-equal</title>" in page
    assert page.count('class="gallery"') == 2
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_wrong_input_is_one_sentence(small: tuple[Plan, Store, Simulation], tmp_path: Path) -> None:
    plan, store, _ = small
    with pytest.raises(ImBenchError, match="asked for twice"):
        make_page([plan, plan], store)
    (tmp_path / "file").write_text("")
    with pytest.raises(ImBenchError, match="is a file: name a folder with --out"):
        make_page([plan], Store(tmp_path / "file"))
    with pytest.raises(ImBenchError, match="which is a file"):
        write_page(tmp_path / "file", "")
    with pytest.raises(ImBenchError, match="cannot write the page"):
        write_page(tmp_path / "file" / "below", "")


def test_it_needs_no_pytorch(small: tuple[Plan, Store, Simulation]) -> None:
    plan, store, _ = small
    code = (
        "import sys; from im_bench.cli.report import report; from pathlib import Path\n"
        "report([sys.argv[1]], out=Path(sys.argv[2]))\n"
        "heavy = {'torch', 'mmengine', 'wandb', 'pandas', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    words = [sys.executable, "-c", code, str(plan.path), str(store.out)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_command(
    small: tuple[Plan, Store, Simulation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["im-bench", "report", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    plan, store, _ = small
    given = ["--suite", str(plan.path), "--out", str(store.out)]
    assert run(*given) == 0
    assert (store.out / "report" / "index.html").is_file()
    assert run(*given, "--to", str(tmp_path / "public")) == 0
    assert (tmp_path / "public" / "index.html").is_file()
    capsys.readouterr()
    assert run("--suite", "quickstat") == 2
    assert "did you mean 'quickstart'" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run(*given, "--to", str(tmp_path / "file")) == 2
    assert capsys.readouterr().err.count("\n") == 1
