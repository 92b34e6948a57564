from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from .conftest import Command


def test_two_results_folders_in_one_table(command: Command, light: Command, tmp_path: Path) -> None:
    assert light("run", "--data", "lesions", "--methods", "ldt", "--no-tracking").returncode == 0
    file = tmp_path / "theirs.json"
    done = command("export", "--to", str(file), "--data", "lesions", "--origin", "lab-b")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"2 results of 1 cells in {file}\n"
    done = command("import", str(file))
    assert "2 results of 1 cells from lab-b" in done.stdout
    assert (tmp_path / "runs/imported/tiny-equal/lab-b.json").is_file()
    shown = command("table", "--methods", "ldt").stdout
    assert "imported from lab-b" in shown
    assert shown.count("50.0 ± 0.0") == 2


def test_formats(command: Command, light: Command, tmp_path: Path) -> None:
    light("run", "--data", "lesions", "--methods", "ldt", "--no-tracking")
    document = json.loads(command("export").stdout)
    assert [cell["method"] for cell in document["cells"]] == ["ldt"]
    assert document["cells"][0]["results"][0]["config"]["budget"]["kind"] == "equal"
    assert command("export", "--format", "csv").stdout.startswith("suite,budget,origin,data,")
    path = tmp_path / "new" / "results.parquet"
    assert command("export", "--format", "parquet", "--to", str(path)).returncode == 0
    frame = pd.read_parquet(path)
    assert frame["test.iou"].tolist() == [0.5, 0.5]
    assert frame["test.dice"].tolist() == [0.6, 0.6]


def test_wrong_input_is_one_sentence(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for words, said in (
        (("export", "--format", "parkett"), "did you mean 'parquet'"),
        (("export", "--format", "parquet"), "say with --to which file"),
        (("export", "--origin", "a/b"), "take letters, digits"),
        (("export", "--to", str(tmp_path / "file" / "x")), "cannot write the results"),
        (("import", str(tmp_path / "file")), "is not the JSON that"),
        (("import", str(tmp_path / "none")), "cannot read"),
        (("table", "--standalone"), "--standalone makes a document of latex or html"),
    ):
        done = command(*words)
        assert done.returncode == 2, words
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_they_need_no_heavy_imports() -> None:
    code = (
        "import sys; from im_bench.cli import exchange, table\n"
        "names = {'torch', 'pyarrow', 'pandas', 'jinja2', 'rich.table', 'pydantic'}\n"
        "heavy = names & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
