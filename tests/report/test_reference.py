from __future__ import annotations

from pathlib import Path

import pytest

from im_bench.errors import ImBenchError
from im_bench.report.reference import BUILT_IN, load_references

HEAD = "method,data,labelled,metric,value,unit,source,url,protocol,notes\n"
ROW = "im,isic2018,0.1,iou,72.3,%,a paper,https://example.org,from scratch,\n"

#: Transcribed a second time, by hand, from the printed table: FDT, AFDT, LDT, ALDT, ME, IM.
PRINTED = {
    "isic2018": (75.1, 77.3, 67.1, 72.4, 69.0, 72.3),
    "hela": (2.5, 2.4, 9.9, 3.3, 3.9, 2.8),
    "suim": (51.7, 52.7, 35.7, 43.2, 37.1, 44.3),
    "cityscapes": (45.6, 45.8, 32.0, 37.4, 35.0, 40.7),
}


def test_from_scratch_equals_a_second_transcription() -> None:
    numbers = load_references(BUILT_IN / "from-scratch.csv")
    for data, values in PRINTED.items():
        for method, value in zip(("fdt", "afdt", "ldt", "aldt", "me", "im"), values, strict=True):
            assert numbers[data, method].value == value, (data, method)
    assert numbers["hela", "fixmatch"].value == 42.6
    assert numbers["cityscapes", "fpl"].value == 15.2
    assert numbers["suim", "unimatch"].value == 26.5
    assert numbers["isic2018", "crossmatch"].value == 65.7


def test_every_number_says_where_it_comes_from() -> None:
    numbers = load_references()
    assert len(numbers) == 48 + 32
    assert all("arXiv 2401.14387" in number.source for number in numbers.values())
    study_a = [number for number in numbers.values() if "Study A" in number.source]
    assert {number.metric for number in study_a} == {"miou_dataset"}
    for number in (number for number in numbers.values() if "Study B" in number.source):
        assert number.url.startswith("https://arxiv.org/abs/2401.14387")
        assert number.labelled == (1 if number.method in ("fdt", "afdt") else 0.1)
        assert (number.metric == "mcce") == (number.unit == "cells") == (number.data == "hela")


def test_shares_become_fractions_and_counts_stay() -> None:
    numbers = load_references()
    assert numbers["isic2018", "im"].score == pytest.approx(0.723)
    assert numbers["hela", "im"].score == 2.8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + ROW.replace("72.3", "many"), r"line 2: value: .*number"),
        (HEAD + ROW + ROW, r"line 3: im on isic2018 stands there a second time"),
        (HEAD + ROW.replace("a paper", ""), r"line 2: source"),
        (HEAD + ROW.replace("a paper", "a paper, a table"), r"line 2: more fields"),
        (HEAD + ROW.replace("https://example.org", "example"), r"line 2: url"),
        (HEAD.replace("source", "sauce") + ROW, r"line 2: (source|sauce)"),
        (HEAD + "im,isic2018\n", r"line 2: labelled"),
        (HEAD + '"im\n', r"cannot read the reported numbers"),
    ],
)
def test_wrong_rows_are_named_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(text)
    with pytest.raises(ImBenchError, match=said) as caught:
        load_references(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="cannot read the reported numbers"):
        load_references(tmp_path / "none.csv")
