"""Every kind of pixel that people's files hold is read exactly, or refused with the remedy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from im_bench.data.description import DataDescription, Reading
from im_bench.data.encodings import read_label, read_label_bytes
from im_bench.data.folder import DataFolder
from im_bench.data.image_files import WrongLabelError, inspect, read_image, read_mask
from im_bench.data.image_headers import UnreadableImageError
from im_bench.errors import ImBenchError

from . import formats
from .conftest import save

Pixels = NDArray[Any]

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
DISC = (np.hypot(*(np.mgrid[:6, :8] - np.array([2, 5])[:, None, None])) < 2).astype(np.uint8)
LEVELS = np.arange(16, dtype=np.uint8).reshape(4, 4)
TURNS: dict[int, Callable[[Pixels], Pixels]] = {  # what a camera stores of an upright picture
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
BINARY = DataDescription(name="a", space="binary", classes=("disc",), encoding="index")
TWO = DataDescription(name="a", space="multiclass", classes=("bg", "disc"), encoding="index")
SIXTEEN = DataDescription(
    name="a", space="multiclass", classes=tuple(f"c{n}" for n in range(16)), encoding="index"
)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def like(description: DataDescription, **fields: Any) -> DataDescription:
    return DataDescription.model_validate({**description.model_dump(exclude_unset=True), **fields})


def refused(path: Path, *said: str, reading: Reading | None = None) -> None:
    with pytest.raises(UnreadableImageError) as error:
        read_image(path, "rgb", reading or Reading())
    sentence = str(error.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    for part in said:
        assert part in sentence


# Orientation: one convention for images and masks, in all formats that carry the tag.


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "lzw.tif", "grey.tif"])
def test_pictures_are_turned_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = GREY if suffix == "grey.tif" else COLOUR
    stored = np.ascontiguousarray(TURNS[orientation](upright))
    path = tmp_path / f"a.{suffix}"
    if suffix == "grey.tif":
        formats.write_tiff(path, stored, orientation=orientation)
    else:
        more = {"webp": {"lossless": True}, "lzw.tif": {"compression": "tiff_lzw"}}.get(suffix, {})
        Image.fromarray(stored).save(path, exif=exif(orientation), **more)
    shown = upright if upright.ndim == 3 else np.repeat(upright[..., None], 3, -1)
    kept = stored if stored.ndim == 3 else np.repeat(stored[..., None], 3, -1)
    assert (read_image(path, "rgb") == shown).all()
    assert (read_image(path, "rgb", Reading(orientation="ignore")) == kept).all()
    assert inspect(path).orientation == orientation
    assert inspect(path).size == (stored.shape[1], stored.shape[0])


@pytest.mark.parametrize("orientation", [3, 6])
def test_photographs_of_phones_fit_masks_drawn_as_people_see_them(
    tmp_path: Path, orientation: int
) -> None:
    """The cases exif180 and exif90sq."""
    y, x = np.mgrid[:32, :32]
    smooth = np.dstack([8 * y, 8 * x, 4 * (x + y)]).astype(np.uint8)
    stored = np.ascontiguousarray(TURNS[orientation](smooth))
    Image.fromarray(stored).save(tmp_path / "a.jpg", quality=100, exif=exif(orientation))
    near = read_image(tmp_path / "a.jpg", "rgb").astype(int) - smooth
    assert abs(near).mean() < 3


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int8])
def test_masks_are_turned_by_their_own_tag(tmp_path: Path, dtype: type, orientation: int) -> None:
    labels = LEVELS[:, :3].astype(dtype)
    stored = np.ascontiguousarray(TURNS[orientation](labels))
    path = formats.write_tiff(tmp_path / "a.tif", stored, orientation=orientation)
    assert (read_mask(path) == labels).all()
    assert (read_mask(path, Reading(orientation="ignore")) == stored).all()


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path, exif=exif(3))
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    tag, rest = content[start:end], content[:start] + content[end:]
    path.write_bytes(rest[:-12] + tag + rest[-12:])
    assert inspect(path).orientation == 3
    assert (read_image(path, "rgb") == COLOUR[::-1, ::-1]).all()


def test_damaged_tags_do_not_hinder(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert (read_image(tmp_path / "a.png", "rgb") == COLOUR).all()


# More than 8 bits.


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_12_bits_in_16_are_refused_without_scale(tmp_path: Path, suffix: str) -> None:
    """The case bit12."""
    path = save(tmp_path / f"a.{suffix}", GREY.astype(np.uint16) * 16)
    low, high = 16 * int(GREY.min()), 16 * int(GREY.max())
    refused(path, f"uint16 values from {low} to {high}", "`scale: [0, 4095]`")
    scaled = read_image(path, "grey", Reading(scale=(0, 4095)))[..., 0]
    assert (scaled == np.rint(GREY.astype(float) * 16 * 255 / 4095)).all()


def test_8_bits_in_16_are_refused_without_scale_and_exact_with_it(tmp_path: Path) -> None:
    """The case bit8in16."""
    path = save(tmp_path / "a.tif", GREY.astype(np.uint16))
    refused(path, "uint16", "`scale: [0, 255]`")
    assert (read_image(path, "grey", Reading(scale=(0, 255)))[..., 0] == GREY).all()


def test_fractions_are_refused_without_scale_and_exact_with_it(tmp_path: Path) -> None:
    """The case float01."""
    path = save(tmp_path / "a.tif", GREY.astype(np.float32) / 255)
    refused(path, "float32", "`scale: [0, 1]`")
    assert (read_image(path, "grey", Reading(scale=(0, 1)))[..., 0] == GREY).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("channels", [1, 3])
def test_numbers_of_any_kind_are_scaled(tmp_path: Path, dtype: Any, channels: int) -> None:
    pixels = COLOUR[..., 0] if channels == 1 else COLOUR
    stored = pixels.astype(dtype)
    if np.dtype(dtype).kind != "u":
        stored -= 100
    if channels == 3 and np.dtype(dtype) in (np.int32, np.uint32, np.int64):
        pytest.skip("nobody writes colours so")
    path = formats.write_tiff(tmp_path / "a.tif", stored)
    refused(path, np.dtype(dtype).name, "`scale: [")
    scale = (-100, 155) if stored.min() < 0 else (0, 255)
    read = read_image(path, "rgb", Reading(scale=scale))
    assert (read == pixels.reshape(6, 8, -1)).all()


def test_a_ct_window_cuts_what_lies_outside(tmp_path: Path) -> None:
    hounsfield = np.array([[-1000, -160, 40, 240, 3000]], np.int16)
    path = formats.write_tiff(tmp_path / "a.tif", hounsfield, big_endian=True)
    refused(path, "int16 values from -1000 to 3000", "`scale: [-1000, 3000]`")
    window = read_image(path, "grey", Reading(scale=(-160, 240)))
    assert window.ravel().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_8_bits_spread_over_16_lose_nothing(tmp_path: Path, suffix: str) -> None:
    grey = save(tmp_path / f"g.{suffix}", GREY.astype(np.uint16) * 257)
    assert (read_image(grey, "grey")[..., 0] == GREY).all()
    colour = tmp_path / f"c.{suffix}"
    write = formats.write_tiff if suffix == "tif" else formats.write_png
    depth = () if suffix == "tif" else (16, formats.RGB)
    write(colour, COLOUR.astype(np.uint16) * 257, *depth)
    assert (read_image(colour, "rgb") == COLOUR).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colours_of_16_bits_keep_them_all(tmp_path: Path, suffix: str) -> None:
    path, deep = tmp_path / f"a.{suffix}", COLOUR.astype(np.uint16)
    write = formats.write_tiff if suffix == "tif" else formats.write_png
    write(path, deep, *(() if suffix == "tif" else (16, formats.RGB)))
    refused(path, "uint16", "`scale: [0, 255]`")
    assert (read_image(path, "rgb", Reading(scale=(0, 255))) == COLOUR).all()


def test_colours_of_16_bits_are_noticed_where_they_are_cut_off(tmp_path: Path) -> None:
    path = formats.write_png(
        tmp_path / "a.png", RNG.integers(0, 65536, (64, 64, 3)), 16, formats.RGB
    )
    path.write_bytes(path.read_bytes()[:9000])
    refused(path, "damaged or cut off", reading=Reading(scale=(0, 65535)))


def test_scale_leaves_files_of_8_bits_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", COLOUR)
    assert (read_image(path, "rgb", Reading(scale=(0, 4095))) == COLOUR).all()


def test_what_is_no_number_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.array([[0, np.nan]], np.float32))
    refused(path, "NaN", reading=Reading(scale=(0, 1)))


def test_packed_bits_are_read_or_refused(tmp_path: Path) -> None:
    twelve = formats.write_tiff(
        tmp_path / "12.tif", np.zeros((1, 2), np.uint16), bits=12, content=b"\x00\x1f\xff"
    )
    assert inspect(twelve).bits == 12
    assert read_image(twelve, "grey", Reading(scale=(0, 4095))).ravel().tolist() == [0, 255]
    ten = formats.write_tiff(
        tmp_path / "10.tif", np.zeros((1, 4), np.uint16), bits=10, content=bytes(5)
    )
    refused(ten, "10-bit uint numbers", "save it in a usual form", reading=Reading(scale=(0, 1)))


# Fewer than 8 bits, palettes, colours.


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_levels_of_few_bits_are_labels_in_masks(tmp_path: Path, bits: int) -> None:
    levels = LEVELS % (1 << bits)
    path = formats.write_png(tmp_path / "a.png", levels, bits)
    assert (read_mask(path) == levels).all()
    assert (read_label(SIXTEEN, [path]) == levels).all()
    assert (read_image(path, "grey")[..., 0] == levels * (255 // ((1 << bits) - 1))).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_levels_of_few_bits_in_tiff(tmp_path: Path, bits: int) -> None:
    levels = LEVELS[:, : 8 // bits] % (1 << bits)
    shifts = [8 - bits * (i + 1) for i in range(8 // bits)]
    content = bytes(int(sum(int(v) << s for v, s in zip(r, shifts, strict=True))) for r in levels)
    path = formats.write_tiff(tmp_path / "a.tif", levels, bits=bits, content=content)
    assert (read_mask(path) == levels).all()
    assert inspect(path).bits == bits


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_are_read_by_number_or_by_colour(tmp_path: Path, bits: int) -> None:
    """The case palinv among them: white is number 0, black number 1."""
    colours = bytes([255, 255, 255, 0, 0, 0])
    palette = formats.chunk(b"PLTE", colours)
    path = formats.write_png(tmp_path / "a.png", DISC, bits, formats.PALETTE, palette)
    assert (read_label(BINARY, [path]) == DISC).all()
    black = like(
        BINARY, encoding="palette", palette={"disc": [0, 0, 0], "background": [255, 255, 255]}
    )
    assert (read_label(black, [path]) == DISC).all()
    assert (read_image(path, "grey")[..., 0] == 255 * (1 - DISC)).all()
    transparent = formats.chunk(b"tRNS", b"\0")
    path = formats.write_png(tmp_path / "b.png", DISC, bits, formats.PALETTE, palette, transparent)
    assert (read_label(BINARY, [path]) == DISC).all()
    refused(path, "transparent", "`alpha: drop`")


@pytest.mark.parametrize("maxval", [1, 3, 200])
def test_pgm_masks_keep_their_numbers(tmp_path: Path, maxval: int) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(f"P5 4 4 {maxval}\n".encode() + (LEVELS % (maxval + 1)).tobytes())
    assert (read_mask(path) == LEVELS % (maxval + 1)).all()


def test_pgm_images_of_12_bits_keep_their_numbers(tmp_path: Path) -> None:
    path, deep = tmp_path / "a.pgm", RNG.integers(0, 4096, (6, 8))
    path.write_bytes(b"P5 8 6 4095\n" + deep.astype(">u2").tobytes())
    refused(path, f"from {deep.min()} to {deep.max()}", "`scale: [0, 4095]`")
    assert (read_mask(path) == deep).all()


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_colours_of_printers_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    pixels = np.zeros((4, 4, len(mode)), np.uint8)
    Image.frombytes(mode, (4, 4), pixels.tobytes()[: 16 * (4 if mode == "CMYK" else 3)]).save(path)
    refused(path, "colour profile", "save it as RGB")


def test_ycbcr_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).convert("YCbCr").save(tmp_path / "a.tif")
    read = read_image(tmp_path / "a.tif", "rgb").astype(int)
    assert abs(read - COLOUR).max() <= 4


def test_white_as_zero_is_read_as_seen_or_refused(tmp_path: Path) -> None:
    path = formats.write_tiff(tmp_path / "a.tif", GREY, photometric=0)
    assert (read_image(path, "grey")[..., 0] == 255 - GREY).all()
    with pytest.raises(UnreadableImageError, match="white to black"):
        read_mask(path)
    deep = formats.write_tiff(tmp_path / "b.tif", GREY.astype(np.uint16), photometric=0)
    refused(deep, "white to black", reading=Reading(scale=(0, 255)))


# Pages.


@pytest.mark.parametrize("suffix", ["tif", "png", "gif", "webp"])
def test_several_pages_need_one_to_be_named(tmp_path: Path, suffix: str) -> None:
    """The case pages."""
    pages = [np.full((4, 5), 40 * n, np.uint8) for n in range(5)]
    first, *others = (Image.fromarray(page) for page in pages)
    more = {"webp": {"lossless": True}}.get(suffix, {})
    path = tmp_path / f"a.{suffix}"
    first.save(path, save_all=True, append_images=others, **more)
    assert inspect(path).pages == 5
    refused(path, "has 5 pages", "`page: 0`", "`page: 4`")
    with pytest.raises(UnreadableImageError, match="has 5 pages"):
        read_mask(path)
    for n in (0, 3):
        assert (read_image(path, "grey", Reading(page=n)) == 40 * n).all()
    refused(path, "`page: 5`", reading=Reading(page=5))


def test_a_page_that_one_file_lacks_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", GREY)
    refused(path, "has one page", "`page: 2`", reading=Reading(page=2))
    assert (read_image(path, "grey", Reading(page=0))[..., 0] == GREY).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_pages_of_deep_images_and_wide_masks(tmp_path: Path, dtype: type) -> None:
    pages = [np.full((4, 5), 100 * n, dtype) for n in range(3)]
    first, *others = (Image.fromarray(page) for page in pages)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    assert (read_mask(tmp_path / "a.tif", Reading(page=2)) == 200).all()
    read = read_image(tmp_path / "a.tif", "grey", Reading(scale=(0, 255), page=1))
    assert (read == 100).all()


def test_thumbnails_and_previews_are_no_pages(tmp_path: Path) -> None:
    small = Image.fromarray(GREY[:3, :4])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert inspect(tmp_path / "a.tif").pages == 1
    assert (read_image(tmp_path / "a.tif", "grey")[..., 0] == GREY).all()
    photo = Image.fromarray(COLOUR)
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[photo])
    assert inspect(tmp_path / "a.jpg").format == "MPO"
    assert read_image(tmp_path / "a.jpg", "rgb").shape == COLOUR.shape


# Transparency.


def test_a_mask_in_the_alpha_channel_is_refused(tmp_path: Path) -> None:
    """The case alpha."""
    white = np.full((6, 8, 3), 255, np.uint8)
    path = save(tmp_path / "a.png", np.dstack([white, DISC * 255]))
    for reading in (BINARY, TWO):
        with pytest.raises(UnreadableImageError, match=r"no pixel is background.*alpha channel"):
            read_label(reading, [path])


@pytest.mark.parametrize("grey", [True, False])
def test_alpha_that_repeats_the_colours_is_dropped(tmp_path: Path, grey: bool) -> None:
    mask = DISC * 255
    path = save(tmp_path / "a.png", np.dstack([mask, mask] if grey else [mask] * 4))
    assert (read_label(BINARY, [path]) == DISC).all()
    assert (read_image(path, "grey")[..., 0] == mask).all()


@pytest.mark.parametrize("deep", [False, True])
def test_hidden_colours_are_refused_unless_alpha_is_dropped(tmp_path: Path, deep: bool) -> None:
    pixels = np.dstack([COLOUR, DISC * 255])
    if deep:
        path = formats.write_png(
            tmp_path / "a.png", pixels.astype(np.uint16) * 257, 16, formats.RGBA
        )
    else:
        path = save(tmp_path / "a.png", pixels)
    refused(path, "transparent", "`alpha: drop`")
    assert (read_image(path, "rgb", Reading(alpha="drop")) == COLOUR).all()


def test_a_transparent_colour_counts_as_alpha(tmp_path: Path) -> None:
    key = formats.chunk(b"tRNS", np.array([3], ">u2").tobytes())
    path = formats.write_png(tmp_path / "a.png", LEVELS, 4, formats.GREY, key)
    refused(path, "transparent")
    assert (read_image(path, "grey", Reading(alpha="drop"))[..., 0] == LEVELS * 17).all()
    assert (read_mask(path) == LEVELS).all()
    black = formats.chunk(b"tRNS", np.array([0], ">u2").tobytes())
    path = formats.write_png(tmp_path / "b.png", LEVELS, 4, formats.GREY, black)
    assert (read_image(path, "grey")[..., 0] == LEVELS * 17).all()


def test_premultiplied_colours_are_refused(tmp_path: Path) -> None:
    half = np.dstack([COLOUR // 2, np.full((6, 8), 128, np.uint8)])
    path = formats.write_tiff(tmp_path / "a.tif", half, extra=[1])
    refused(path, "multiplied by its alpha")
    opaque = np.dstack([COLOUR, np.full((6, 8), 255, np.uint8)])
    path = formats.write_tiff(tmp_path / "b.tif", opaque, extra=[1])
    assert (read_image(path, "rgb") == COLOUR).all()


@pytest.mark.parametrize("count", [4, 5])
def test_further_channels_are_told(tmp_path: Path, count: int) -> None:
    more = [DISC] * (count - 3)
    path = formats.write_tiff(tmp_path / "a.tif", np.dstack([COLOUR, *more]), extra=[0] * len(more))
    refused(path, f"{count} channels", "`alpha: drop`")
    assert (read_image(path, "rgb", Reading(alpha="drop")) == COLOUR).all()


# Masks of wide, signed and fractional numbers.


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("big_endian", [False, True])
def test_minus_one_is_ignored_where_it_is_listed(
    tmp_path: Path, dtype: Any, big_endian: bool
) -> None:
    """The case neg."""
    labels = DISC.astype(dtype)
    labels[:2] = -1
    path = formats.write_tiff(tmp_path / "a.tif", labels, big_endian=big_endian)
    expected = np.where(labels < 0, 255, DISC)
    for description in (TWO, BINARY):
        assert (read_label(like(description, ignore=[-1]), [path]) == expected).all()
        for ignore in ([], [255], [65535]):
            with pytest.raises(WrongLabelError, match=r"the value -1 \(16 pixels\)"):
                read_label(like(description, ignore=ignore), [path])
    assert (read_label_bytes(path, [-1]) == expected).all()


def test_bytes_of_minus_one_are_not_minus_one(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 1, 255]], np.uint8))
    with pytest.raises(WrongLabelError, match="the value 255"):
        read_label(like(TWO, ignore=[-1]), [path])
    assert read_label(like(TWO, ignore=[-1, 255]), [path]).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.uint32, np.uint64])
def test_wide_labels_do_not_wrap(tmp_path: Path, dtype: Any) -> None:
    path = formats.write_tiff(tmp_path / "a.tif", np.array([[0, 1, 257, 511]], dtype))
    with pytest.raises(WrongLabelError, match=r"257 \(1 pixel\), 511 \(1 pixel\)"):
        read_label(TWO, [path])
    far = like(TWO, ignore=[257, 511, -7, 4294967295])
    assert read_label(far, [path]).tolist() == [[0, 1, 255, 255]]


def test_the_highest_number_of_32_bits_is_not_minus_one(tmp_path: Path) -> None:
    path = formats.write_tiff(tmp_path / "a.tif", np.array([[0, 1, 2**32 - 1]], np.uint32))
    with pytest.raises(WrongLabelError, match="4294967295"):
        read_label(like(TWO, ignore=[-1]), [path])
    ignoring = like(TWO, ignore=[2**32 - 1])
    assert read_label(ignoring, [path]).tolist() == [[0, 1, 255]]


def test_16_bit_png_masks_are_read_exactly(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 1, 1000]], np.uint16))
    assert read_label(like(TWO, ignore=[1000]), [path]).tolist() == [[0, 1, 255]]


def test_grey_borders_are_cut_at_the_threshold(tmp_path: Path) -> None:
    """The case antialias: what is above the threshold counts, by values and not by the format."""
    path = save(tmp_path / "a.png", np.array([[0, 1, 127, 128, 255]], np.uint8))
    assert read_label(BINARY, [path]).tolist() == [[0, 1, 1, 1, 1]]
    assert read_label(like(BINARY, threshold=127), [path]).tolist() == [[0, 0, 0, 1, 1]]


def test_true_and_false_are_labels(tmp_path: Path) -> None:
    for suffix in ("png", "tif", "bmp", "pbm"):
        path = save(tmp_path / f"a.{suffix}", DISC.astype(bool))
        assert (read_label(TWO, [path]) == DISC).all()


# The routes.


def test_data_sets_hand_their_fields_to_the_readers(tmp_path: Path, write_data: Any) -> None:
    root = write_data(channels="grey", scale=[0, 4095], page=1, ignore=[-1])
    image = np.full((6, 8), 4095, np.uint16)
    mask = np.full((6, 8), -1, np.int32)
    for folder, pixels in (("images", image), ("masks", mask)):
        path = root / folder / "train" / "train-0"
        Image.fromarray(pixels * 0).save(
            path.with_suffix(".tif"), save_all=True, append_images=[Image.fromarray(pixels)]
        )
        path.with_suffix(".png").unlink()
    data = DataFolder.load(root)
    pixels, label = data.read_pair(data.items("train")[0])
    assert (pixels == 255).all()
    assert (label == 255).all()


def test_scale_has_an_order() -> None:
    with pytest.raises(ValueError, match="the lower value stands first"):
        like(BINARY, scale=[255, 0])


def test_huge_images_are_silent_up_to_the_hard_limit(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.zeros((40, 40), np.uint8))
    script = (
        "import sys, pathlib; from PIL import Image; Image.MAX_IMAGE_PIXELS = int(sys.argv[2])\n"
        "from im_bench.data.image_files import read_image\n"
        "from im_bench.errors import ImBenchError\n"
        "try: print(read_image(pathlib.Path(sys.argv[1]), 'grey').shape)\n"
        "except ImBenchError as error: print(error)"
    )

    def run(limit: int) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", script, str(path), str(limit)], capture_output=True, text=True
        )
        return done.stdout.strip(), done.stderr.strip()

    assert run(1000) == ("(40, 40, 1)", "")
    assert run(100) == (f"{path}: has too many pixels: cut it into tiles", "")


def test_nothing_is_printed_of_files_that_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = formats.write_tiff(tmp_path / "a.tif", np.zeros((2, 2), np.float16))
    with pytest.raises(ImBenchError, match="16-bit float"):
        read_image(path, "rgb")
    assert capfd.readouterr() == ("", "")
