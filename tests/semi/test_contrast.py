from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from im_bench.data.label_spaces import IGNORED
from im_bench.semi.contrast import (
    CandidateRules,
    Candidates,
    by_pixel,
    contrastive_loss,
    find_candidates,
    keys,
    one_hot,
    uniform_draw,
)
from im_bench.semi.memory_bank import MemoryBank

QUERIES, NEGATIVES, FEATURES = 5, 3, 4


def first_ones(counts: torch.Tensor, number: int) -> torch.Tensor:
    """A draw without chance: 0, 1, 2, ... and over again."""
    return torch.arange(number).expand(len(counts), -1) % counts.clamp(min=1).unsqueeze(1)


def random_candidates(classes: int, pixels: int, absent: set[int]) -> Candidates:
    labels = torch.randint(classes, (pixels,))
    positives = F.one_hot(labels, classes).T.bool()
    positives[list(absent)] = False
    anchors = positives & (torch.rand(classes, pixels) < 0.5)
    return Candidates(anchors, positives, F.one_hot(labels, classes).T.bool())


def one_class_after_the_other(features, teacher, found, bank, temperature, aligned):
    """The loss as the paper and the original describe it, with loops."""
    present = [k for k, each in enumerate(found.positives) if each.any()]
    if len(present) < 2:
        return torch.zeros(())
    total = torch.zeros(())
    for slot, memory in enumerate(present):
        own = memory if aligned else slot
        length = int(bank.length[memory])
        anchors = features[found.anchors[own]]
        if not len(anchors) or not length:
            continue
        key = teacher[found.positives[own]].mean(0)
        rows = bank.read(torch.tensor([memory]), torch.arange(length)[None])[0]
        for query in range(QUERIES):
            anchor = anchors[query % len(anchors)]
            chosen = [rows[(query * NEGATIVES + n) % length] for n in range(NEGATIVES)]
            similar = torch.stack([F.cosine_similarity(anchor, each, 0) for each in (key, *chosen)])
            total = total - (similar / temperature).log_softmax(0)[0] / QUERIES
    return total / len(present)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    absent=st.sets(st.integers(0, 3), max_size=4),
    aligned=st.booleans(),
)
def test_all_classes_at_once_are_one_after_the_other(seed, absent, aligned):
    torch.manual_seed(seed)
    features = torch.randn(30, FEATURES, requires_grad=True)
    teacher = torch.randn(30, FEATURES)
    found = random_candidates(4, 30, absent)
    bank = MemoryBank([6, 3, 3, 3], FEATURES)
    bank.enqueue(torch.randn(12, FEATURES), torch.randint(5, (12,)))

    fast = contrastive_loss(
        features, teacher, found, bank, first_ones, QUERIES, NEGATIVES, 0.5, aligned
    )
    slow = one_class_after_the_other(features, teacher, found, bank, 0.5, aligned)
    torch.testing.assert_close(fast, slow)
    (gradient,) = torch.autograd.grad(fast, features)
    expected = torch.zeros_like(features)
    if slow.requires_grad:
        (expected,) = torch.autograd.grad(slow, features)
    torch.testing.assert_close(gradient, expected)


def test_one_class_alone_has_no_loss():
    found = random_candidates(3, 9, {1, 2})
    bank = MemoryBank([4, 4, 4], FEATURES)
    bank.enqueue(torch.randn(3, FEATURES), torch.arange(3))
    features = torch.randn(9, FEATURES)
    assert contrastive_loss(features, features, found, bank, first_ones, QUERIES, NEGATIVES) == 0


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=4), seed=st.integers(0, 100))
def test_drawn_indices_are_below_the_counts(counts, seed):
    drawn = uniform_draw(torch.Generator().manual_seed(seed))(torch.tensor(counts), 50)
    assert drawn.shape == (len(counts), 50)
    assert (drawn >= 0).all()
    assert (drawn < torch.tensor(counts).clamp(min=1).unsqueeze(1)).all()


def test_all_indices_are_drawn_as_often():
    counts = torch.tensor([3, 7])
    drawn = uniform_draw(torch.Generator().manual_seed(0))(counts, 21_000)
    for row, count in zip(drawn, counts.tolist(), strict=True):
        shares = row.bincount(minlength=count) / len(row)
        torch.testing.assert_close(shares, torch.full((count,), 1 / count), atol=0.015, rtol=0)


def test_one_hot_has_one_channel_per_class_and_none_where_ignored():
    labels = torch.tensor([[[0, 2, IGNORED]]])
    assert one_hot(labels, 3).long().tolist() == [[[[1, 0, 0]], [[0, 0, 0]], [[0, 1, 0]]]]


def test_the_original_gives_the_first_image_the_labels_of_all():
    labels = torch.tensor([[[0, 2, IGNORED]], [[1, IGNORED, 1]]])
    first, second = one_hot(labels, 3, first_image=1)
    assert first.long().tolist() == [[[1, 1, 0]], [[1, 0, 0]], [[0, 1, 0]]]
    assert not second.any()
    assert torch.equal(one_hot(labels[:1], 3, first_image=1), one_hot(labels[:1], 3))


def test_ignored_pixels_of_other_images_need_not_count_as_class_0():
    labels = torch.tensor([[[0, 2, IGNORED]], [[1, IGNORED, 1]]])
    first, _ = one_hot(labels, 3, first_image=1, count_ignored=False)
    assert first.long().tolist() == [[[1, 0, 0]], [[1, 0, 0]], [[0, 1, 0]]]


def test_candidates_of_one_pixel_at_a_time():
    # Columns: labelled reliable; unlabelled reliable; unreliable as improbable class; ignored.
    probabilities = torch.tensor(
        [[[0.7, 0.2, 0.7, 0.7]], [[0.2, 0.5, 0.2, 0.2]], [[0.1, 0.3, 0.1, 0.1]]]
    ).movedim(-1, 0)[..., None]  # four images of one pixel
    labels = torch.tensor([0, 1, 2, IGNORED]).view(4, 1, 1)
    low, high = (torch.tensor(each).view(4, 1, 1) for each in ([1, 1, 0, 0], [1, 0, 1, 0]))
    given_ = (one_hot(labels, 3), probabilities, low.bool(), high.bool(), 1)
    found = find_candidates(*given_, CandidateRules(low_rank=2))
    assert found.anchors.nonzero().tolist() == [[0, 0], [1, 1]]
    assert found.positives.nonzero().tolist() == [[0, 0], [1, 1]]
    assert found.negatives.nonzero().tolist() == [[2, 2]]
    # In the paper a labelled pixel is a negative of the other classes that are probable there.
    found = find_candidates(*given_, CandidateRules(low_rank=2, any_label=True))
    assert found.negatives.nonzero().tolist() == [[1, 0], [2, 2]]


def test_of_two_classes_the_less_probable_is_improbable():
    probabilities = torch.tensor([0.9, 0.1]).view(1, 2, 1, 1)
    on = torch.ones(1, 1, 1, dtype=torch.bool)
    hot = one_hot(torch.ones(1, 1, 1, dtype=torch.long), 2)
    found = find_candidates(hot, probabilities, on, on, 0, CandidateRules())
    assert found.negatives.tolist() == [[False], [True]]


def test_each_softmax_of_an_image_has_classes_of_its_own():
    labels = torch.tensor([0, 1, 1, 0]).view(4, 1, 1)  # two images, two softmaxes each
    hot = one_hot(labels, 2)
    on = torch.ones(4, 1, 1, dtype=torch.bool)
    found = find_candidates(hot, hot.float(), on, on, 0, CandidateRules(), groups=2)
    # Rows: absence and presence of the first class, then of the second; columns: images.
    assert found.positives.long().tolist() == [[1, 0], [0, 1], [0, 1], [1, 0]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(1, 4), pixels=st.integers(1, 12))
def test_keys_are_the_negatives_class_by_class_in_the_order_of_pixels(seed, classes, pixels):
    torch.manual_seed(seed)
    features = torch.randn(pixels, 2)
    negatives = torch.rand(classes, pixels) < 0.4
    rows, owners = keys(features, negatives, per_pixel=classes)
    for each in range(classes):
        assert torch.equal(rows[owners == each], features[negatives[each]])
    assert ((owners < classes).sum() == negatives.sum()).all()


def test_features_are_listed_in_the_order_of_the_candidates_pixels():
    maps = torch.randn(2, 3, 4, 5)
    chosen = torch.rand(2, 1, 4, 5) < 0.5
    on = torch.ones(2, 4, 5, dtype=torch.bool)
    found = find_candidates(chosen, chosen.float(), on, on, 0, CandidateRules())
    expected = maps.movedim(1, -1)[chosen[:, 0]]
    assert torch.equal(by_pixel(maps)[found.positives[0]], expected)
