from __future__ import annotations

import pytest
import torch

from im_bench.semi.alignment import ConfidenceAlignment


def probabilities(count: int = 2, classes: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(count, classes, 8, 8, generator=generator)).softmax(1)


def everywhere(count: int = 2) -> torch.Tensor:
    return torch.ones(count, 8, 8, dtype=torch.bool)


def updated(labelled: torch.Tensor, unlabelled: torch.Tensor) -> ConfidenceAlignment:
    align = ConfidenceAlignment(1, labelled.shape[1], momentum=0.75)
    views = unlabelled.chunk(2)
    valid = [everywhere(len(each)) for each in views]
    align.update(labelled, everywhere(len(labelled)), views, valid)
    return align


def test_at_first_nothing_changes():
    given = probabilities()
    torch.testing.assert_close(ConfidenceAlignment(1, 3, 0.99)(given), given)


def test_averages_are_mean_confidences_by_predicted_class():
    labelled, unlabelled = probabilities(seed=1), probabilities(4, seed=2)
    align = updated(labelled, unlabelled)
    for average, given in ((align.labelled, labelled), (align.unlabelled, unlabelled)):
        confidence, predicted = given.max(1)
        for each in range(3):
            expected = 0.75 / 3 + 0.25 * confidence[predicted == each].mean()
            torch.testing.assert_close(average[0, each], expected)


def test_aligned_probabilities_add_up_to_one_and_follow_the_ratio():
    align = updated(probabilities(seed=1), probabilities(seed=2))
    given = probabilities(seed=3)
    aligned = align(given)
    torch.testing.assert_close(aligned.sum(1), torch.ones(2, 8, 8))
    odds = (aligned[:, 0] / aligned[:, 1]) / (given[:, 0] / given[:, 1])
    ratio = align.labelled[0] / align.unlabelled[0]
    torch.testing.assert_close(odds, (ratio[0] / ratio[1]).expand_as(odds), rtol=1e-4, atol=0)


def test_a_class_that_is_predicted_nowhere_keeps_its_average():
    labelled = probabilities()
    labelled[:, 2] = 0
    align = updated(labelled / labelled.sum(1, keepdim=True), probabilities())
    assert align.labelled[0, 2] == torch.tensor(1 / 3)
    assert (align.labelled[0, :2] > 1 / 3).all()
    assert (align.unlabelled > 1 / 3).all()


def test_pixels_that_do_not_count_are_not_looked_at():
    one, other = probabilities(seed=1), probabilities(seed=2)
    half = everywhere()
    half[:, :4] = False
    whole, part = (ConfidenceAlignment(1, 3, 0.5) for _ in range(2))
    whole.update(one[:, :, 4:], half[:, 4:], [other[:, :, 4:]], [half[:, 4:]])
    part.update(one, half, [other], [half])
    torch.testing.assert_close(whole.labelled, part.labelled)
    torch.testing.assert_close(whole.unlabelled, part.unlabelled)
    part.update(one, ~everywhere(), [other], [~everywhere()])
    torch.testing.assert_close(whole.labelled, part.labelled)


@pytest.mark.parametrize("group", [0, 1])
def test_each_softmax_of_an_image_has_averages_of_its_own(group):
    both = ConfidenceAlignment(2, 2, momentum=0.5)
    given = probabilities(6, classes=2)  # 3 images of 2 groups
    both.update(given, everywhere(3), [given.flip(0)], [everywhere(3)])
    alone = ConfidenceAlignment(1, 2, momentum=0.5)
    own = slice(group, None, 2)
    alone.update(given[own], everywhere(3), [given.flip(0)[own]], [everywhere(3)])
    assert torch.equal(both.labelled[group], alone.labelled[0])
    assert torch.equal(both.unlabelled[group], alone.unlabelled[0])
    assert torch.equal(both(given)[own], alone(given[own]))
