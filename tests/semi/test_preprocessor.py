from __future__ import annotations

import torch

from im_bench.data import seeds
from im_bench.semi.preprocessor import SemiPreprocessor


def raw_batch(count: int = 8) -> dict:
    """Return a batch in which each image repeats its maps, so that they can be compared."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 200, (count, 6, 6), generator=generator, dtype=torch.uint8)
    images = values.unsqueeze(-1).expand(-1, -1, -1, 3).contiguous()
    maps = {"valid": values < 150, "consensus": values, "inconsistent": values > 100}
    return {
        "inputs": {"labelled": images, "unlabelled": images, "partner": images},
        "data_samples": {"labelled": values, "unlabelled": maps, "partner": maps},
    }


def test_maps_follow_their_images_through_flips_and_turns():
    preprocess = SemiPreprocessor(flip=True, free_rotation=True, seed=1)
    raw = raw_batch()
    data = preprocess(raw, training=True)
    labelled = (data["inputs"]["labelled"][:, 0] * 255).round().byte()
    assert torch.equal(labelled, data["data_samples"])
    assert not torch.equal(labelled, raw["data_samples"]["labelled"])
    for branch in ("unlabelled", "partner"):
        view = data["inputs"][branch]
        values = (view.images[:, 0] * 255).round().byte()
        assert torch.equal(values, view.consensus)
        assert torch.equal(values < 150, view.valid)
        assert torch.equal(values > 100, view.inconsistent)
    views = [data["inputs"][branch].images for branch in ("unlabelled", "partner")]
    assert not torch.equal(*views), "the partner is another view"


def test_flips_are_a_function_of_seed_and_iteration():
    preprocess = SemiPreprocessor(flip=True, seed=1)
    seen = []
    for iteration in (5, 5, 6):
        preprocess.iteration = iteration
        seen.append(preprocess(raw_batch(), training=True)["data_samples"])
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_without_flips_images_stay_and_all_pixels_are_valid_by_default():
    raw = raw_batch()
    raw["data_samples"]["unlabelled"] = {}
    del raw["inputs"]["partner"]
    data = SemiPreprocessor()(raw, training=True)
    view = data["inputs"]["unlabelled"]
    assert torch.equal((view.images * 255).round().byte()[:, 0], raw["data_samples"]["labelled"])
    assert view.valid.all()
    assert view.consensus is None
    assert data["inputs"]["partner"] is None


def test_images_are_normalised_as_their_values_in_255_and_swapped_if_asked():
    raw = raw_batch(1)
    raw["inputs"] = {"labelled": torch.tensor([[[[10, 20, 30]]]], dtype=torch.uint8)}
    raw["data_samples"] = {"labelled": torch.zeros(1, 1, 1, dtype=torch.uint8)}
    fields = {"mean": [0, 10, 20], "std": [1, 2, 10]}
    for swap, expected in ((False, [10, 5, 1]), (True, [30, 5, -1])):
        preprocess = SemiPreprocessor(bgr_to_rgb=swap, **fields)
        made = preprocess(raw, training=True)["inputs"]["labelled"].flatten()
        torch.testing.assert_close(made, torch.tensor(expected, dtype=torch.float32))


def test_validation_batches_are_those_of_the_base_class():
    images = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    data = SemiPreprocessor(flip=True)({"inputs": images, "data_samples": None})
    assert data["inputs"].shape == (1, 3, 4, 4)


def test_processes_flip_differently(monkeypatch):
    preprocess = SemiPreprocessor(flip=True, seed=1)
    seen = []
    for rank in (0, 1):
        monkeypatch.setattr(seeds, "get_rank", lambda rank=rank: rank)
        seen.append(preprocess(raw_batch(), training=True)["data_samples"])
    assert not torch.equal(*seen)
