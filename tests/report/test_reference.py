from __future__ import annotations

from pathlib import Path

import pytest

from im_bench.errors import ImBenchError
from im_bench.report.reference import BUILT_IN, load_references

HEAD = "method,data,split,metric,value,unit,source,url,notes\n"
ROW = "im,isic2018,1/10,iou,72.3,%,a paper,https://example.org,\n"

#: Transcribed a second time, by hand, from the printed table: FDT, AFDT, LDT, ALDT, ME, IM.
PRINTED = {
    "isic2018": (75.1, 77.3, 67.1, 72.4, 69.0, 72.3),
    "hela": (2.5, 2.4, 9.9, 3.3, 3.9, 2.8),
    "suim": (51.7, 52.7, 35.7, 43.2, 37.1, 44.3),
    "cityscapes-35": (45.6, 45.8, 32.0, 37.4, 35.0, 40.7),
}


def test_study_b_equals_a_second_transcription() -> None:
    numbers = {(n.data, n.method): n.value for n in load_references(BUILT_IN / "study-b.csv")}
    for data, values in PRINTED.items():
        for method, value in zip(("fdt", "afdt", "ldt", "aldt", "me", "im"), values, strict=True):
            assert numbers[data, method] == value, (data, method)
    assert numbers["hela", "fixmatch"] == 42.6
    assert numbers["cityscapes-35", "fpl"] == 15.2
    assert numbers["suim", "unimatch"] == 26.5
    assert numbers["isic2018", "crossmatch"] == 65.7
    assert len(numbers) == 48


def test_every_number_says_where_it_comes_from_and_what_it_is_of() -> None:
    for number in load_references():
        assert number.unit == {"mcce": "cells", "hd95": "voxels", "asd": "voxels"}.get(
            number.metric, "%"
        )
        assert number.approximate == ("main_results.png" in number.source)
        assert number.url.removeprefix("https://").split("/")[0] in ("arxiv.org", "github.com")
        assert 0 < number.value < 100
        if "Study" in number.source:
            assert number.backbone
            assert number.family


def test_shares_become_fractions_and_counts_stay() -> None:
    numbers = {(n.data, n.method): n.score for n in load_references(BUILT_IN / "study-b.csv")}
    assert numbers["isic2018", "im"] == pytest.approx(0.723)
    assert numbers["hela", "im"] == 2.8


def test_several_papers_may_report_the_same_under_their_own_protocols() -> None:
    numbers = [
        n
        for n in load_references()
        if (n.method, n.data, n.split, n.backbone)
        == ("unimatch", "cityscapes", "1/16", "ResNet-50")
    ]
    found = {(n.value, n.family, n.selection) for n in numbers}
    best = "best epoch on the official validation images"
    assert found == {
        (75.0, "unimatch", best),
        (75.03, "unimatch", best),
        (74.77, "unimatch", "last epoch"),
        (73.49, "u2pl", ""),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + ROW.replace("72.3", "many"), r"line 2: value: .*number"),
        (HEAD + ROW + ROW, r"line 3: im on isic2018 1/10 stands there a second time"),
        (HEAD + ROW.replace("a paper", ""), r"line 2: source"),
        (HEAD + ROW.replace("a paper", "a paper, a table"), r"line 2: more fields"),
        (HEAD + ROW.replace("https://example.org", "example"), r"line 2: url"),
        (HEAD.replace("source", "sauce") + ROW, r"line 2: (source|sauce)"),
        (HEAD + "im,isic2018\n", r"line 2: split"),
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
