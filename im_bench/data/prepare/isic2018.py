"""ISIC 2018, task 1: the outline of skin lesions (binary)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from im_bench.data.prepare.recipe import Archive, Image, Piece, RawSplit, Recipe, Size

SIZE = (256, 256)
_BUCKET = "https://isic-challenge-data.s3.amazonaws.com/2018"


def convert(
    image: Image,
    masks: Sequence[Image],
    split: str,
    size: Size | None,
    rng: np.random.Generator,
) -> Iterator[Piece]:
    """Resize image and mask bilinearly, as the original implementation does.

    In training only fully white pixels are lesion, floor(mask / 255); validation and test count
    every grey of the resized border as lesion, which is how the original evaluates.
    """
    size = size or SIZE
    mask = cv2.resize(masks[0], size, interpolation=cv2.INTER_LINEAR)
    lesion = mask == 255 if split == "train" else mask > 0
    yield Piece(
        "", cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), lesion.astype(np.uint8)
    )


def _split(title: str, count: int, example: str) -> RawSplit:
    return RawSplit(
        image=rf"(?:^|/)ISIC2018_Task1-2_{title}_Input/(?P<name>ISIC_\d+)\.jpg$",
        masks=(
            rf"(?:^|/)ISIC2018_Task1_{title}_GroundTruth/(?P<name>ISIC_\d+)_segmentation\.png$",
        ),
        example=f"ISIC2018_Task1-2_{title}_Input/{example}.jpg",
        count=count,
    )


def _archive(file: str, sha256: str) -> Archive:
    return Archive(file, f"sha256:{sha256}", f"{_BUCKET}/{file}")


RECIPE = Recipe(
    name="isic2018",
    title="ISIC 2018, task 1: skin lesions",
    home="https://challenge.isic-archive.com/data/#2018",
    # The challenge publishes no checksums; these are the ones that torch-em and other public
    # projects verify their downloads with.
    archives=(
        _archive(
            "ISIC2018_Task1-2_Training_Input.zip",
            "80f98572347a2d7a376227fa9eb2e4f7459d317cb619865b8b9910c81446675f",
        ),
        _archive(
            "ISIC2018_Task1_Training_GroundTruth.zip",
            "99f8b2bb3c4d6af483362010715f7e7d5d122d9f6c02cac0e0d15bef77c7604c",
        ),
        _archive(
            "ISIC2018_Task1-2_Validation_Input.zip",
            "0ea920fcfe512d12a6e620b50b50233c059f67b10146e1479c82be58ff15a797",
        ),
        _archive(
            "ISIC2018_Task1_Validation_GroundTruth.zip",
            "f6911e9c0a64e6d687dd3ca466ca927dd5e82145cb2163b7a1e5b37d7a716285",
        ),
        _archive(
            "ISIC2018_Task1-2_Test_Input.zip",
            "e59ae1f69f4ed16f09db2cb1d76c2a828487b63d28f6ab85997f5616869b127d",
        ),
        _archive(
            "ISIC2018_Task1_Test_GroundTruth.zip",
            "2e8f6edce454a5bdee52485e39f92bd6eddf357e81f39018d05512175238ef82",
        ),
    ),
    raw={
        "train": _split("Training", 2594, "ISIC_0000000"),
        "val": _split("Validation", 100, "ISIC_0012255"),
        "test": _split("Test", 1000, "ISIC_0012169"),
    },
    description={
        "space": "binary",
        "channels": "rgb",
        "classes": ["lesion"],
        "metric": "iou",
    },
    convert=convert,
)
