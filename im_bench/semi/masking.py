"""How Inconsistency Masks act on a semi-supervised method. Light: planning reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Masking(BaseModel):
    """How Inconsistency Masks act on an online method.

    Attributes:
        labels: What is taught where the teachers agree: their ``consensus``, or the method's
            ``own`` pseudo-label.
        block_input: Blacken inconsistent pixels of the views that a network learns from.
        block_output: Take inconsistent pixels out of the pseudo-label.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: Literal["consensus", "own"] = "consensus"
    block_input: bool = True
    block_output: bool = True
