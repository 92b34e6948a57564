from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from im_bench.errors import ImBenchError
from im_bench.evaluation.windows import (
    WindowOptions,
    centre_crop,
    predict_windows,
    window_spans,
)

sides = st.integers(1, 60)
borders = st.sampled_from(["truncate", "shift"])


def softmax(logits):
    return logits.softmax(1)


def images(height=23, width=31, count=2):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, height, width, generator=generator)


def pixelwise(crops):
    """A network that sees one pixel at a time: windows cannot change what it says."""
    return torch.cat([crops, -crops[:, :1]], 1) * 3


def blurring(crops):
    """A network that sees the border of its window."""
    return F.avg_pool2d(crops, 5, 1, 2) * 9


def slide(window, **more):
    return WindowOptions("slide", window, **more)


@st.composite
def sliding(draw):
    window = draw(st.integers(1, 40))
    stride = draw(st.one_of(st.none(), st.integers(1, window)))
    return slide(window, stride=stride, border=draw(borders))


@given(sides, sliding())
def test_windows_cover_an_image(side, options):
    spans = window_spans(side, options)
    assert {pixel for span in spans for pixel in range(*span)} == set(range(side))
    assert all(0 <= start < stop <= side for start, stop in spans)
    if options.border == "shift":
        assert {stop - start for start, stop in spans} == {min(side, options.window)}
        assert len(set(spans)) == len(spans)


@pytest.mark.parametrize(
    ("options", "spans"),
    [  # Cityscapes' height: UniMatch, UniMatch V2, U2PL
        (slide(801), [(0, 801), (534, 1024)]),
        (slide(798, border="shift"), [(0, 798), (226, 1024)]),
        (slide(769, stride=513, border="shift"), [(0, 769), (255, 1024)]),
    ],
)
def test_windows_of_the_originals(options, spans):
    assert window_spans(1024, options) == spans


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
@given(options=sliding(), batch=st.integers(1, 5))
def test_a_pixelwise_network_does_not_notice_windows(combine, options, batch):
    options = slide(options.window, stride=options.stride, combine=combine, batch=batch)
    whole = predict_windows(pixelwise, images(), WindowOptions(), softmax)
    torch.testing.assert_close(predict_windows(pixelwise, images(), options, softmax), whole)


@pytest.mark.parametrize("border", ["truncate", "shift"])
@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_overlaps_are_averaged(border, combine):
    options = slide(12, stride=7, border=border, combine=combine)
    total, count = torch.zeros(2, 3, 23, 31), torch.zeros(23, 31)
    for top, bottom in window_spans(23, options):
        for left, right in window_spans(31, options):
            logits = blurring(images()[..., top:bottom, left:right])
            part = logits if combine == "logits" else softmax(logits)
            total[..., top:bottom, left:right] += part
            count[top:bottom, left:right] += 1
    mean = total / count
    expected = softmax(mean) if combine == "logits" else mean
    actual = predict_windows(blurring, images(), options, softmax)
    torch.testing.assert_close(actual, expected)
    assert not torch.allclose(actual, softmax(blurring(images())), atol=1e-3)


@pytest.mark.parametrize("border", ["truncate", "shift"])
def test_windows_of_one_size_share_forward_passes(border):
    seen = []

    def network(crops):
        seen.append(tuple(crops.shape))
        return blurring(crops)

    results = []
    for batch in (1, 3):
        options = slide(12, stride=7, border=border, batch=batch)
        seen.clear()
        results.append(predict_windows(network, images(), options, softmax))
        assert {shape[0] for shape in seen} <= {2 * each for each in range(1, batch + 1)}
        windows = len(window_spans(23, options)) * len(window_spans(31, options))
        assert sum(shape[0] for shape in seen) == 2 * windows
    assert len(seen) < windows
    torch.testing.assert_close(*results)


def test_the_centre_is_cropped_like_the_labels():
    options = WindowOptions("center", 8)
    assert centre_crop(torch.arange(9)[None].expand(9, 9), 4)[0].tolist() == [2, 3, 4, 5]
    probabilities = predict_windows(blurring, images(), options, softmax)
    assert torch.equal(probabilities, softmax(blurring(images()[:, :, 7:15, 11:19])))
    assert predict_windows(blurring, images(5, 31), options, softmax).shape == (2, 3, 5, 8)


@pytest.mark.parametrize(("side", "inside"), [(20, 14), (21, 28), (3, 14), (28, 28)])
def test_images_are_resized_to_the_nearest_multiple(side, inside):
    seen = []

    def network(crops):
        seen.append(tuple(crops.shape[-2:]))
        return pixelwise(crops)

    probabilities = predict_windows(network, images(side, 42), WindowOptions(multiple=14), softmax)
    assert seen == [(inside, 42)]
    assert probabilities.shape == (2, 4, side, 42)


def test_half_precision_is_averaged_in_float32():
    result = predict_windows(lambda crops: blurring(crops).half(), images(), slide(12), softmax)
    assert result.dtype == torch.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "slid", "window": 8}, "did you mean 'slide'"),
        ({"mode": "slide", "window": 8, "border": "cut"}, "unknown border of windows"),
        ({"mode": "slide"}, "give a window with slide and center"),
        ({"window": 8}, "none with whole"),
        ({"mode": "slide", "window": 8, "stride": 9}, "leave gaps"),
        ({"mode": "slide", "window": 0}, "give at least 1 pixel"),
    ],
)
def test_bad_options_are_refused(fields, message):
    with pytest.raises(ImBenchError, match=message):
        WindowOptions(**fields)


class Waiting(TorchDispatchMode):
    """Refuses what would make the host wait for a device."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.name()
        assert name not in ("aten::_local_scalar_dense", "aten::nonzero"), name
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "options",
    [WindowOptions(multiple=14), WindowOptions("center", 8), slide(12), slide(12, border="shift")],
)
def test_nothing_waits_for_the_device(options):
    with Waiting():
        predict_windows(blurring, images(), options, softmax)
        with pytest.raises(AssertionError, match="local_scalar"):
            images().sum().item()
