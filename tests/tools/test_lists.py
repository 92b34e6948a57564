from __future__ import annotations

from pathlib import Path

import pytest

from im_bench.errors import ImBenchError
from im_bench.tools.configs import load_config
from im_bench.tools.lists import write_lists


def test_lists_of_the_papers_are_written_where_configs_look(shared: Path, tmp_path: Path) -> None:
    write_lists([str(tmp_path), "--from", str(shared / "splits")])
    config = load_config("mm_configs/unimatch/unimatch_r50_cs_1-16.py")
    for split, lists in config.lists.items():
        names = {}
        for part, counts in (
            ("labelled", config.labelled_images),
            ("unlabelled", config.unlabelled_images),
        ):
            names[part] = (tmp_path / lists[part].ann_file).read_text().splitlines()
            assert len(names[part]) == counts[split]
        assert len({*names["labelled"], *names["unlabelled"]}) == 2975
        assert all(name.startswith("train/") for name in names["labelled"])
        assert not any(name.endswith(".png") for name in names["labelled"])


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="is no folder"):
        write_lists([str(tmp_path / "none")])
