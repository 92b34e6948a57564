"""The reference tables hold every number of REPORTED.md, and no other, each in its place."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from im_bench.report.reference import BUILT_IN, ReportedNumber, load_references

Numbers = dict[tuple[str, ...], list[float]]

METHODS = {
    "Supervised": "supervised", "Supervised only": "supervised", "U2PL": "u2pl", "ST++": "st++",
    "PS-MT": "ps-mt", "UniMatch": "unimatch", "UniMatch V1": "unimatch", "iMAS": "imas",
    "UniMatch V2": "unimatch-v2", "AllSpark": "allspark", "SemiVL": "semivl", "SegKC": "segkc",
    "FixMatch": "fixmatch", "CPS": "cps", "PseudoSeg": "pseudoseg", "PC2Seg": "pc2seg",
    "Labeled only": "ldt", "Augmented labeled": "aldt", "Full data set": "fdt", "IM": "im",
    "Augmented full data set": "afdt", "FPL": "fpl", "CrossMatch": "crossmatch",
    "Model ensemble": "me", "Model Ensemble": "me", "Input Ensemble": "input-ensemble",
    "Consistency Loss": "consistency-loss", "Noisy Student": "noisy-student",
    "EvalNet": "evalnet", "IM+": "im+", "AIM+": "aim+", "IM++": "im++", "AIM++": "aim++",
}  # fmt: skip
BACKBONES = {
    "R50": "ResNet-50", "ResNet-50": "ResNet-50", "R101": "ResNet-101", "MiT-B5": "MiT-B5",
    "CLIP-B": "CLIP-B", "DINOv2-S": "DINOv2-S", "DINOv2-B": "DINOv2-B", "DINOv2": "DINOv2",
    "DINOv2-type": "", "Xception": "Xception-65",
}  # fmt: skip
FAMILIES = {"U2PL own": "blended-u2pl", "U2PL split": "blended-u2pl", "CPS": "blended-cps"}
STUDY_DATA = ("isic2018", "hela", "suim", "cityscapes-35")


@pytest.fixture(scope="module")
def text(shared: Path) -> str:
    path = shared / "REPORTED.md"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path.read_text(encoding="utf-8")


def rows(text: str, title: str, table: int = 0) -> tuple[list[str], list[list[str]]]:
    """Return head and body of a table below a heading or a line that begins so."""
    below = re.split(rf"^{re.escape(title)}.*$", text, maxsplit=1, flags=re.MULTILINE)[1]
    lines = re.split(r"^## ", below, flags=re.MULTILINE)[0]
    found = re.findall(r"(?:^\|.*\n)+", lines + "\n", re.MULTILINE)[table]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in found.splitlines()]
    return cells[0], cells[2:]


def method(label: str) -> str:
    plain = re.sub(r" best / last epoch$| \(.*\)$", "", label)
    return METHODS[plain]


def values(cell: str) -> list[float]:
    """Return the numbers of a cell; what stands in parentheses is no number of its own."""
    plain = re.sub(r"\(.*?\)", "", cell)
    return [float(word) for word in re.findall(r"(?<![\w.])\d*\.\d+", plain)]


def reported(file: str, *fields: str) -> Numbers:
    found: Numbers = defaultdict(list)
    for number in load_references(BUILT_IN / f"{file}.csv"):
        found[tuple(str(getattr(number, field)) for field in fields)].append(number.value)
    return {key: sorted(some) for key, some in found.items()}


def gathered(pairs: Iterator[tuple[tuple[str, ...], list[float]]]) -> Numbers:
    found: Numbers = defaultdict(list)
    for key, some in pairs:
        found[key] += some
    return {key: sorted(some) for key, some in found.items() if some}


def source(text: str) -> str:
    """Return the source as the reference tables call it: ``UniMatch (README)``."""
    if text.startswith("PAPER"):
        return "SegKC (public summary of the paper, arXiv 2503.10693)"
    name, kind = text.rsplit(" ", 1)
    return f"{name} ({'README' if kind == 'README' else 'training logs'})"


def natural(text: str, title: str, last: int, family: bool = False) -> Numbers:
    """Return the numbers of one of the tables of natural images, those of all labels as well."""
    head, body = rows(text, title)
    first = 3 if family else 2

    def pairs() -> Iterator[tuple[tuple[str, ...], list[float]]]:
        for label, backbone, *cells in body:
            where = source(cells[-1]) if head[-1] == "Source" else "UniMatch V2 (README)"
            more = (FAMILIES[cells[0]],) if family else ()
            name = BACKBONES[backbone.split()[0]]
            everything = re.search(r"\(all (?:images|2975:) ([\d.]+)\)", label)
            if everything:
                yield (method(label), name, *more, "all", where), [float(everything[1])]
            for split, cell in zip(head[first:last], cells[first - 2 :], strict=False):
                yield (method(label), name, *more, split.split()[0], where), values(cell)

    return gathered(pairs())


PLAIN = ("method", "backbone", "split", "source")


def test_pascal_classic(text: str) -> None:
    assert natural(text, "## 1.", 7) == reported("pascal-classic", *PLAIN)


def test_pascal_blended(text: str) -> None:
    fields = ("method", "backbone", "family", "split", "source")
    assert natural(text, "## 2.", 7, family=True) == reported("pascal-blended", *fields)


def test_cityscapes_with_the_thresholds(text: str) -> None:
    wanted = natural(text, "## 3.", 6)
    line = re.search(r"^Threshold ablation.*$", text, re.MULTILINE)
    assert line
    for split, part in zip(("1/8", "1/4"), re.findall(r"→ ([\d. /]+\d)", line[0]), strict=True):
        key = ("unimatch-v2", "DINOv2-B", split, "UniMatch V2 (training logs)")
        wanted[key] = sorted([*wanted.get(key, []), *map(float, part.split(" / "))])
    assert wanted == reported("cityscapes", *PLAIN)


def test_coco(text: str) -> None:
    assert natural(text, "## 4.", 7) == reported("coco", *PLAIN)


def test_ade20k(text: str) -> None:
    assert natural(text, "## 5.", 6) == reported("ade20k", *PLAIN)


def test_large_scale(text: str) -> None:
    line = re.search(r"^Large scale.*$", text, re.MULTILINE)
    assert line
    wanted = sorted(map(float, re.findall(r"\d\d\.\d", line[0])))
    assert wanted == sorted(n.value for n in load_references(BUILT_IN / "large-scale.csv"))


def test_medical(text: str) -> None:
    head, body = rows(text, "CrossMatch README")

    def pairs() -> Iterator[tuple[tuple[str, ...], list[float]]]:
        line = re.search(r"^ACDC, UniMatch.*labelled cases: ([\d. /]+) \(", text, re.MULTILINE)
        assert line
        for split, value in zip(
            ("1 case", "3 cases", "7 cases"), line[1].split(" / "), strict=True
        ):
            yield ("unimatch", "acdc", split, "dice", "UniMatch (training logs)"), [float(value)]
        for label, *cells in body:
            for title, cell in zip(head[1:], cells, strict=True):
                if cell == "n/a":
                    continue
                data, cases = title.lower().removesuffix(" labelled").split(", ")
                metrics = zip(("dice", "jaccard", "hd95", "asd"), cell.split("/"), strict=True)
                for metric, value in metrics:
                    key = (label.lower(), data, f"{cases} cases", metric, "CrossMatch (README)")
                    yield key, [float(value)]

    fields = ("method", "data", "split", "metric", "source")
    assert gathered(pairs()) == reported("medical", *fields)


def test_the_figure_of_the_first_version(text: str) -> None:
    _, body = rows(text, "## 8.")
    line = re.search(r"^References: .*$", text, re.MULTILINE)
    assert line

    def pairs() -> Iterator[tuple[tuple[str, ...], list[float]]]:
        for data, part in zip(STUDY_DATA, line[0].split("; "), strict=True):
            for name, value in re.findall(r"\b(FDT|ALDT|LDT) (\.\d+)", part):
                yield (name.lower(), data), [round(100 * float(value), 1)]
        for label, *cells in body:
            for data, cell in zip(STUDY_DATA, cells, strict=True):
                numbers = re.findall(r"\.\d+", cell)
                yield (METHODS[label], data), [round(100 * float(n), 1) for n in numbers]

    assert gathered(pairs()) == reported("im-first-version", "method", "data")


def test_study_a(text: str) -> None:
    head, body = rows(text, "## Study A")

    def pairs() -> Iterator[tuple[tuple[str, ...], list[float]]]:
        base = ""
        for label, backbone, *cells in body:
            base = base if label == "+ IM" else method(label)
            name = f"{base}+im" if label == "+ IM" else base
            for split, cell in zip(head[2:], cells, strict=True):
                yield (name, BACKBONES.get(backbone, backbone), split), values(cell)

    assert gathered(pairs()) == reported("study-a", "method", "backbone", "split")


def test_study_b(text: str) -> None:
    _, body = rows(text, "## Study B")
    wanted = {
        (method(label), data): values(cell)
        for label, *cells in body
        for data, cell in zip(STUDY_DATA, cells, strict=True)
    }
    assert wanted == reported("study-b", "method", "data")


def test_each_generation_of_the_figure_has_its_own_number(text: str) -> None:
    numbers = {
        n.generation: n.value
        for n in load_references(BUILT_IN / "im-first-version.csv")
        if (n.method, n.data) == ("aim++", "isic2018")
    }
    assert numbers == {"1": 74.5, "2": 75.8, "3": 76.3, "4": 76.6, "5": 76.7}
    assert "| AIM++ | .745 .758 .763 .766 .767 |" in text


def test_no_table_is_left_out(text: str) -> None:
    assert {path.stem for path in BUILT_IN.glob("*.csv")} == {
        "pascal-classic", "pascal-blended", "cityscapes", "coco", "ade20k", "large-scale",
        "medical", "im-first-version", "study-a", "study-b",
    }  # fmt: skip
    numbers: tuple[ReportedNumber, ...] = load_references()
    assert len(numbers) == 817
