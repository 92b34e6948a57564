from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im_bench.data.pseudo_labels import (
    PseudoLabels,
    PseudoLabelWriter,
    count_pseudo_labels,
    write_pseudo_labels,
)
from im_bench.errors import ImBenchError

SIZE = (5, 11)  # a width that fills no whole bytes
ALL = (40, *SIZE, 3)


def drawn(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    positions = rng.permutation(ALL[0])[:count]
    labels = rng.integers(0, 256, (count, *SIZE), dtype=np.uint8)
    return positions, labels, rng.random((count, *SIZE)) < 0.3


def same(folder: Path, positions: np.ndarray, labels: np.ndarray, masks: np.ndarray) -> None:
    pseudo = PseudoLabels(folder, ALL)
    assert pseudo.indices.tolist() == positions.tolist()
    assert count_pseudo_labels(folder) == len(pseudo) == len(positions)
    read = pseudo.kept(np.arange(len(pseudo)))
    assert (read[0].numpy() == labels).all()
    assert (read[1].numpy() == masks).all()


@given(
    cuts=st.lists(st.integers(0, 20), max_size=4),
    saved=st.integers(0, 4),
    damaged=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_an_interrupted_writer_goes_on_to_the_same_files(
    cuts: list[int], saved: int, damaged: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    positions, labels, masks = drawn(20)
    edges = [0, *sorted(cuts), 20]
    parts = list(itertools.pairwise(edges))
    first = PseudoLabelWriter(folder, folder / "unfinished", SIZE, blank=True)
    for number, (start, end) in enumerate(parts):
        first.add(positions[start:end], labels[start:end], masks[start:end])
        if number == saved:
            first.save({"seen": end})
    for file in first._files.values():
        file.flush()  # as a kill may leave more than was saved
    if damaged and saved < len(parts):
        (folder / "unfinished" / "labels.npy").write_bytes(b"")
    second = PseudoLabelWriter(folder, folder / "unfinished", SIZE, blank=True)
    done = second.state.get("seen", 0)
    whole = saved < len(parts) and not (damaged and edges[saved + 1] >= 0)
    assert done == (edges[saved + 1] if whole else 0)
    second.add(positions[done:], labels[done:], masks[done:])
    second.close()
    same(folder, positions, labels, masks)
    assert not list((folder / "unfinished").iterdir())


def test_nothing_kept_is_a_store_as_well(tmp_path: Path) -> None:
    write_pseudo_labels(tmp_path, *drawn(0), blank=False)
    same(tmp_path, *drawn(0))


def test_an_image_that_was_not_kept_is_inconsistent_all_over(tmp_path: Path) -> None:
    positions, labels, masks = drawn(3)
    write_pseudo_labels(tmp_path, positions, labels, masks, blank=False)
    absent = next(each for each in range(ALL[0]) if each not in positions)
    said, inconsistent = PseudoLabels(tmp_path, ALL).at([absent, positions[1]])
    assert inconsistent[0].all()
    assert not said[0].any()
    assert (said[1].numpy() == labels[1]).all()
    assert (inconsistent[1].numpy() == masks[1]).all()


def test_labels_of_other_images_are_refused(tmp_path: Path) -> None:
    write_pseudo_labels(tmp_path, *drawn(3), blank=False)
    with pytest.raises(ImBenchError, match="do not belong to 40 training images of 9x5"):
        PseudoLabels(tmp_path, (40, 5, 9, 3))
    (tmp_path / "labels.npy").write_bytes(b"")
    with pytest.raises(ImBenchError, match="cannot be read"):
        PseudoLabels(tmp_path, ALL)
