from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from im_bench.masks import agreed_foreground, consensus, same_classes

from .strategies import predictions, spaces


@pytest.mark.parametrize(
    ("agreed", "disputed", "kept"), [(0, 0, False), (1, 0, True), (2, 2, False), (3, 2, True)]
)
def test_agreed_foreground_must_exceed_inconsistency(agreed, disputed, kept):
    labels, inconsistent = torch.zeros(1, 1, 8).byte(), torch.zeros(1, 1, 8, dtype=torch.bool)
    labels[..., :agreed] = 1
    inconsistent[..., 8 - disputed :] = True
    assert agreed_foreground(labels, inconsistent).tolist() == [kept]


@given(predictions("binary"))
def test_what_is_kept_has_foreground(teachers):
    labels, inconsistent = consensus(teachers, "binary")
    kept = agreed_foreground(labels, inconsistent)
    assert labels.flatten(1).any(1)[kept].all()


@given(spaces.flatmap(lambda space: st.tuples(st.just(space), predictions(space))))
def test_same_classes_compares_sets(case):
    space, teachers = case

    def classes(labels):
        values = labels.flatten().tolist()
        if space != "multilabel":
            return set(values)
        return {bit for bit in range(8) for value in values if value >> bit & 1}

    expected = [
        len({frozenset(classes(t[b])) for t in teachers}) == 1 for b in range(teachers.shape[1])
    ]
    assert same_classes(teachers, space).tolist() == expected
