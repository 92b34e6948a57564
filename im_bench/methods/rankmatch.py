"""RankMatch: UniMatch, and in every view a pixel ranks a few others as in the weak view."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from im_bench.lazy import lazy_module
from im_bench.methods.ranges import Choice, Range
from im_bench.methods.unimatch import UniMatch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from im_bench.semi import agents, ranking, reliability, representation
    from im_bench.semi.pseudo_label import PseudoLabel
    from im_bench.semi.step import Step
else:
    torch = lazy_module("torch")
    agents = lazy_module("im_bench.semi.agents")
    ranking = lazy_module("im_bench.semi.ranking")
    reliability = lazy_module("im_bench.semi.reliability")
    representation = lazy_module("im_bench.semi.representation")


class RankMatch(UniMatch):
    """UniMatch with a loss on how pixels rank agents: pixels of their image that differ most.

    Features of pixels are what the decode head's pyramid gives, at the stride of the backbone, as
    in the original. Of a head without a pyramid they are the input of its last convolution,
    averaged to stride 4 where they are finer
    (:meth:`~im_bench.semi.network.Network.contexts`).

    Inconsistency Masks filter the losses on labels as they do in UniMatch. The ranking needs no
    label and is left alone unless ``rank_pixels`` says otherwise.

    Attributes:
        rank_weight: Factor of the loss on rankings, which is not halved (original: 0.1).
        agents: Agents of each image (original: 64).
        ranked: Of these, how many each pixel ranks, which makes 24 orders of 4 (original: 4).
        rank_pixels: Whose rankings are compared, and among which pixels agents are chosen: ``all``,
            padding included (original), or those that are ``kept``: image on which no Inconsistency
            Mask lies.
    """

    title: ClassVar[str] = "RankMatch"
    source: ClassVar[str] = (
        "Mai et al., RankMatch: Exploring the Better Consistency Regularization for "
        "Semi-supervised Semantic Segmentation, CVPR 2024; mai556/RankMatch, rankmatch.py"
    )
    search: ClassVar = {
        **UniMatch.search,
        "rank_weight": Range(0.01, 1, log=True),
        "agents": Choice((16, 32, 64, 128)),
    }

    rank_weight: NonNegativeFloat = 0.1
    agents: PositiveInt = 64
    ranked: int = Field(4, ge=2, le=6)
    rank_pixels: Literal["all", "kept"] = "all"

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the losses of UniMatch, and that on rankings."""
        with step.student.contexts() as contexts:
            streams = self.streams(step)
        size = step.unlabelled.images.shape[-2:]
        partner, joint, strong = (representation.pooled(each, size) for each in contexts)
        weak = joint[len(step.labelled) :][: len(partner)].detach()  # what follows is perturbed
        mixed = agents.paste_features(
            weak.repeat(2, 1, 1, 1), partner.repeat(2, 1, 1, 1), streams.box
        )
        return {
            **self.of_streams(step, streams),
            "rank.loss": self.rank_weight * self.ranking(step, mixed, strong, streams.mixed),
        }

    def ranking(self, step: Step, weak: Tensor, strong: Tensor, label: PseudoLabel) -> Tensor:
        """Return the loss between the rankings of two views.

        Args:
            step: The step.
            weak: Features of the weak view, (B, D, h, w).
            strong: Features of the strong view, (B, D, h, w).
            label: Pseudo-labels of the same images.
        """
        grid = strong.shape[-2:]
        draws = torch.rand(
            (len(strong), grid[0] * grid[1]), generator=step.generator, device=strong.device
        )
        teaching = None
        if self.rank_pixels == "kept":
            teaching = reliability.nearest((label.kept & label.valid).byte(), grid).bool()
            draws = draws.where(teaching.flatten(1), -1.0)
        chosen = agents.select_agents(weak, self.agents, draws)
        return ranking.rank_loss(weak, strong, chosen, self.ranked, teaching)
