"""MMEngine's Runner, with one way of loading weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.runner import CheckpointLoader, Runner
from typing_extensions import override

from im_bench.models.pretrained import load_what_fits
from im_bench.models.weights import network_weights
from im_bench.plugin.networks import unwrapped
from im_bench.tools.resuming import checkpoint_folder, keep_own_pointers


class ConfigRunner(Runner):  # type: ignore[misc]
    """Runs a config, and says in one sentence what of ``load_from`` does not fit its model."""

    @override
    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = (),
    ) -> dict[str, Any]:
        """Load the model's weights from a checkpoint that begins or continues a training.

        Args:
            filename: A file or URL.
            map_location: Where its tensors go.
            strict: Not used: what is resumed was checked before.
            revise_keys: Not used.

        Returns:
            What the checkpoint holds.
        """
        content: dict[str, Any] = CheckpointLoader.load_checkpoint(filename, map_location)
        if self._resume:
            keep_own_pointers(content["message_hub"], checkpoint_folder(self.cfg))
        content["state_dict"] = network_weights(content, filename, None)  # where hooks look for it
        self.call_hook("after_load_checkpoint", checkpoint=content)
        load_what_fits(unwrapped(self.model), content["state_dict"], filename)
        self._has_loaded = True
        self.logger.info(f"Load checkpoint from {filename}")
        return content
