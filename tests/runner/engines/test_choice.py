"""Which engine is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from im_bench.errors import ImBenchError
from im_bench.runner.engines.choice import engine_options
from im_bench.runner.engines.options import LocalOptions, SlurmOptions


def test_by_name_with_options_of_the_command_line() -> None:
    assert engine_options("local", {"slots": 3, "address": None}) == LocalOptions(slots=3)
    assert engine_options("slurm", {"partition": "gpu"}) == SlurmOptions(partition="gpu")


def test_by_file_with_the_command_line_before_it(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("engine: slurm\npartition: small\nsetup: [module load cuda]\n")
    options = engine_options(str(path), {"partition": "large"})
    assert options == SlurmOptions(partition="large", setup=("module load cuda",))


@pytest.mark.parametrize(
    ("named", "given", "sentence"),
    [
        ("slrum", {}, "unknown engine 'slrum': did you mean 'slurm'?"),
        ("local", {"address": "here"}, "--address means nothing to the engine 'local': leave it"),
        ("ray", {"gpus": ("0",)}, "--gpus means nothing to the engine 'ray'"),
        ("print", {"slots_per_gpu": 2}, "--slots-per-gpu means nothing to the engine 'print'"),
        ("nowhere.yaml", {}, "nowhere.yaml: cannot be read"),
        ("no-engine.yaml", {}, "no-engine.yaml:1: say which engine this is about"),
        ("unknown.yaml", {}, "unknown.yaml:1: say which engine this is about"),
        ("wrong.yaml", {}, "wrong.yaml:2: partitoin: unknown field .*did you mean 'partition'"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    named: str, given: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "no-engine.yaml").write_text("partition: gpu\n")
    (tmp_path / "unknown.yaml").write_text("engine: sge\n")
    (tmp_path / "wrong.yaml").write_text("engine: slurm\npartitoin: gpu\n")
    path = str(tmp_path / named) if named.endswith(".yaml") else named
    with pytest.raises(ImBenchError, match=sentence):
        engine_options(path, given)
