from __future__ import annotations

import torch

from im_bench.semi.pseudo_label import PseudoLabel, paste

from .steps import step_of


def label_of(value: int) -> PseudoLabel:
    shape = (2, 3, 4)
    return PseudoLabel(
        torch.full(shape, value, dtype=torch.uint8),
        torch.full(shape, value / 10),
        torch.full(shape, bool(value)),
        torch.full(shape, bool(value)),
    )


def test_pasting_takes_the_other_inside_the_box_in_every_map():
    box = torch.zeros(2, 3, 4, dtype=torch.bool)
    box[0, 1:, :2] = True
    pasted = label_of(0).pasted(label_of(1), box)
    assert all(torch.equal(each.bool(), box) for each in pasted)


def test_images_are_pasted_in_every_channel():
    box = torch.tensor([[[True, False]]])
    assert (
        paste(torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2), box)[0, :, 0].tolist()
        == [[1, 0]] * 3
    )


def test_take_reorders_the_batch():
    label = label_of(0)
    label.label[1] = 7
    assert label.take(torch.tensor([1, 0])).label[:, 0, 0].tolist() == [7, 0]


class TestMasking:
    """Where a step makes a pseudo-label, Inconsistency Masks act on it."""

    def made(self, build, **masking):
        from im_bench.semi.step import View

        step = step_of(build(), **masking)
        view = View(
            torch.rand(1, 3, 1, 2),
            torch.tensor([[[True, True]]]),
            torch.tensor([[[3, 0]]], dtype=torch.uint8),
            torch.tensor([[[False, True]]]),
        )
        probabilities = torch.tensor([0.1, 0.2, 0.6, 0.1]).view(1, 4, 1, 1).expand(1, 4, 1, 2)
        return step.pseudo_label(probabilities, view)

    def test_consensus_replaces_the_own_label_where_teachers_agree(self, build):
        made = self.made(build, labels="consensus")
        assert made.label.tolist() == [[[3, 2]]]
        torch.testing.assert_close(made.confidence, torch.tensor([[[1.0, 0.6]]]))
        assert made.kept.tolist() == [[[True, False]]]

    def test_own_labels_are_filtered_only(self, build):
        made = self.made(build, labels="own")
        assert made.label.tolist() == [[[2, 2]]]
        assert made.kept.tolist() == [[[True, False]]]

    def test_labels_need_not_be_blocked(self, build):
        assert self.made(build, block_output=False).kept.all()
