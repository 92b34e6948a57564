from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .trainings import write_images


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labelled and four unlabelled pictures."""
    root = tmp_path_factory.mktemp("pictures")
    write_images(root)
    return root
