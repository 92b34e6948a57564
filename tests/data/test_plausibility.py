from __future__ import annotations

import numpy as np
import pytest

from im_bench.data.plausibility import (
    Counts,
    brightness_doubts,
    count_classes,
    count_values,
    inversion_doubts,
    label_doubts,
    mask_value_doubts,
)


def counts(**pixels: int) -> Counts:
    result = np.zeros(256, dtype=np.int64)
    for name, count in pixels.items():
        result[int(name.removeprefix("v"))] = count
    return result


def sentences(part: str, of: Counts, classes: str, **options: object) -> list[tuple[str, bool]]:
    found = label_doubts({part: of}, classes.split(), **options)  # type: ignore[arg-type]
    return [(doubt.sentence, doubt.grave) for doubt in found]


def test_values_and_classes_are_counted() -> None:
    labels = np.array([[0, 1], [3, 3]], dtype=np.uint8)
    assert count_values(labels)[:4].tolist() == [1, 1, 0, 2]
    assert count_classes(count_values(labels), 2).tolist() == [1, 1]
    assert count_classes(count_values(labels), 2, multilabel=True).tolist() == [3, 2]


def test_all_classes_are_no_doubt() -> None:
    assert not label_doubts({"labelled": counts(v0=5, v1=1), "val": counts(v0=5, v1=2)}, ["a", "b"])


def test_parts_without_pixels_are_no_doubt() -> None:
    assert not label_doubts({"labelled": counts()}, ["a", "b"])


def test_a_class_that_is_not_learned_is_grave() -> None:
    assert sentences("train", counts(v0=5, v2=1), "a b c") == [
        ("no pixel of the training images is b", True)
    ]
    assert sentences("val", counts(v0=5, v2=1), "a b c") == [
        ("no pixel of the validation images is b", False)
    ]


def test_one_class_alone_is_told_with_what_is_missing() -> None:
    look = ": look at the masks, and at how they are read"
    assert sentences("labelled", counts(v1=5), "background disc") == [
        (f"all pixels of the labelled images are disc, none is background{look}", True)
    ]
    # Foreground that was stored as 255 where that is ignored.
    assert sentences("labelled", counts(v0=9, v255=1), "background disc") == [
        (
            "all pixels of the labelled images are background, none is disc (10.0% are ignored)"
            + look,
            True,
        )
    ]


def test_a_reserved_class_need_not_occur() -> None:
    assert not sentences("labelled", counts(v1=5, v2=5), "void a b", unexpected=["void"])


def test_ignored_pixels_alone_are_told() -> None:
    ((sentence, grave),) = sentences("test", counts(v255=5), "a b")
    assert sentence.startswith("all pixels of the test images are ignored")
    assert grave
    ((sentence, _),) = sentences("labelled", counts(v255=98, v0=1, v1=1), "a b")
    assert sentence == "98.0% of the pixels of the labelled images are ignored"


def test_another_ignored_value_than_255() -> None:
    assert not sentences("labelled", counts(v0=5, v1=5, v2=1), "a b c", ignored=0)
    ((sentence, _),) = sentences("labelled", counts(v0=5, v1=5), "a b c", ignored=0)
    assert sentence.startswith("no pixel of the labelled images is c") or "none is c" in sentence


def test_bits_may_all_be_set() -> None:
    both = counts(v3=5, v1=1, v0=2)
    assert not sentences("labelled", both, "a b", multilabel=True)
    ((sentence, _),) = sentences(
        "labelled", counts(v255=5, v128=5), "a b c d e f g h", multilabel=1
    )
    assert "are h" in sentence  # In bits 255 is a label like others.


@pytest.mark.parametrize(
    "values", [{0: 9}, {0: 9, 1: 3}, {0: 9, 255: 3}, {0: 9, 65535: 3}, {1: 1, 0: 0}]
)
def test_two_levels_are_no_doubt(values: dict[int, int]) -> None:
    assert not mask_value_doubts(values, 0, "disc")


def test_grey_borders_ask_for_a_threshold() -> None:
    borders = {0: 900, 31: 4, 128: 9, 200: 5, 255: 90}
    (doubt,) = mask_value_doubts(borders, 0, "disc")
    assert "18 pixels" in doubt.sentence
    assert "`threshold: 127`" in doubt.sentence
    assert doubt.grave
    assert not mask_value_doubts(borders, 127, "disc")
    jpeg = {value: 50 if value < 12 else 1 for value in range(256)} | {253: 40, 254: 70, 255: 60}
    assert mask_value_doubts(jpeg, 0, "disc")[0].kind == "between levels"


def test_numbered_things_are_told_less_gravely() -> None:
    for values in ({0: 9, 1: 5, 2: 5, 3: 5}, {0: 9, 7: 5, 23: 5, 26: 1, 33: 1}):
        (doubt,) = mask_value_doubts(values, 0, "disc")
        assert doubt.kind == "several values"
        assert not doubt.grave


def test_flat_and_dark_images_are_told() -> None:
    assert not brightness_doubts([0, 3], [200, 255], ["a", "b"])
    assert not brightness_doubts([], [], [])
    (doubt,) = brightness_doubts([0, 0], [0, 0], ["a", "b"])
    assert doubt.sentence.startswith("all images hold one value only, all of them black")
    assert doubt.grave
    (doubt,) = brightness_doubts([0, 0, 9], [0, 255, 80], ["a", "b", "c"])
    assert doubt.sentence.startswith("1 of 3 images hold one value only (a)")
    assert not doubt.grave
    (doubt,) = brightness_doubts([0, 1], [15, 14], ["a", "b"])
    assert "brighter than 15 of 255" in doubt.sentence


def test_what_looks_like_the_background_is_told() -> None:
    plain = counts(v0=90, v1=10)
    assert not inversion_doubts(plain, counts(v0=20), 0, "disc")
    (doubt,) = inversion_doubts(plain, counts(v0=20), 3, "disc")
    assert "3 masks have a palette that shows value 0 lighter than disc" in doubt.sentence
    (doubt,) = inversion_doubts(counts(v0=10, v1=90), counts(v0=1, v1=19), 0, "disc")
    assert "90.0% of all pixels and 95.0% of those at the borders" in doubt.sentence
    assert not inversion_doubts(counts(v0=10, v1=90), counts(v0=9, v1=9), 0, "disc")
