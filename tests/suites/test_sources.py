from __future__ import annotations

from pathlib import Path

from im_bench.data.fingerprint import fingerprint
from im_bench.suites.schema import DataSpec
from im_bench.suites.sources import locate


def test_a_description_that_is_a_link_belongs_to_the_folder_of_the_link(tmp_path: Path) -> None:
    folder, store = tmp_path / "data" / "spots", tmp_path / "store"
    for part in ("images/train", "images/val", "images/test"):
        (folder / part).mkdir(parents=True)
        (folder / part.replace("images", "masks")).mkdir(parents=True)
    store.mkdir()
    (store / "1f2e.yaml").write_text(
        "{name: spots, space: binary, classes: [spot], encoding: index}", encoding="utf-8"
    )
    (folder / "dataset.yaml").symlink_to(store / "1f2e.yaml")
    source = locate("spots", DataSpec(), tmp_path / "suite.yaml", tmp_path / "data", tmp_path / "c")
    assert not source.missing
    assert fingerprint(Path(source.paths["description"])) == source.identity["fingerprint"]
