"""Whether the files and labels of all parts fit what trains on them, before the first step.

What could not be right is an error. What is hardly meant is a warning in the log.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmseg.registry import DATASETS
from numpy.typing import NDArray

from im_bench.data.mmseg_datasets import files_of
from im_bench.data.plausibility import IGNORED, LEARNED_FROM, brightness_doubts, label_doubts
from im_bench.data.semi import seeded
from im_bench.data.transforms import transforms_of
from im_bench.errors import ImBenchError
from im_bench.tools import configs
from im_bench.tools.inspection import Content, Wrong, inspect
from im_bench.tools.label_rules import LabelRule, metric_rules, model_rules

_NAMES = {
    "labelled": "the labelled images",
    "unlabelled": "the unlabelled images",
    "train": "the training images",
    "val": "the validation images",
    "test": "the test images",
}


class _Image(NamedTuple):
    """One image of a part: what its data set knows of it, and what its files hold."""

    info: Mapping[str, Any]
    content: Content

    @property
    def identity(self) -> str:
        return self.content.digest or str(self.info.get("img_path"))


def check_training(runner: Any, config: Any) -> None:
    """Check the files and labels of a training and of its evaluations.

    Warnings go to the runner's log. Random generators are left as they were.

    Args:
        runner: Of a training whose loops are built.
        config: That it was built from.

    Raises:
        ImBenchError: Files cannot be read, labels are of no class, or there is nothing to learn.
    """
    rules = model_rules(runner.model)
    with seeded(0):
        parts = _inspected(runner.train_dataloader.dataset, "train", rules)
        if runner.val_loop is not None:
            loop = runner.val_loop
            parts |= _evaluated("val", loop.dataloader.dataset, loop.evaluator.metrics, rules)
            _warn_of_classes(runner, loop.dataloader.dataset, loop.evaluator.metrics, rules)
        parts |= _test_part(runner, config, rules)
    for sentence in _overlaps(parts):
        runner.logger.warning(sentence)
    names = _class_names(runner.train_dataloader.dataset, rules)
    for sentence in _doubts(parts, names, rules):
        runner.logger.warning(sentence)


def check_test(runner: Any) -> None:
    """Check the files and labels of an evaluation whose loop is built; as for a training."""
    rules = model_rules(runner.model)
    loop = runner.test_loop
    with seeded(0):
        parts = _evaluated("test", loop.dataloader.dataset, loop.evaluator.metrics, rules)
    _warn_of_classes(runner, loop.dataloader.dataset, loop.evaluator.metrics, rules)
    for sentence in _doubts(parts, _class_names(loop.dataloader.dataset, rules), rules):
        runner.logger.warning(sentence)


def _inspected(dataset: Any, part: str, rules: Sequence[LabelRule]) -> dict[str, list[_Image]]:
    """Return the images of a data set by part, without those that no pipeline loads."""
    found: dict[str, list[_Image]] = {}
    for name, leaf in _leaves(dataset, part):
        needed = [] if name == "unlabelled" else rules
        found.setdefault(name, []).extend(_inspected_leaf(leaf, name, needed))
    return found


def _inspected_leaf(dataset: Any, part: str, rules: Sequence[LabelRule]) -> list[_Image]:
    where = _NAMES[part]
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    if not infos:
        raise ImBenchError(
            f"there are no images for {where}: check list and folders of the data set"
        )
    contents = inspect(dataset, infos, part)
    wrong = [each for each in contents if isinstance(each, Wrong)]
    if wrong:
        raise ImBenchError(_with_count(wrong[0].sentence, len(wrong), len(infos), where))
    images = [
        _Image(info, content)
        for info, content in zip(infos, contents, strict=True)
        if isinstance(content, Content)
    ]
    for rule in rules:
        _check_labels(images, part, rule)
    return images


def _check_labels(images: Sequence[_Image], part: str, rule: LabelRule) -> None:
    unknown = [
        (image, label)
        for image in images
        for label in map(int, image.content.counts or ())
        if not rule.takes(label)
    ]
    if not unknown:
        return
    image, label = unknown[0]
    mask = image.info.get("seg_map_path") or files_of(image.info)
    ignored = "" if rule.ignored is None else f", and {rule.ignored} for ignored pixels"
    sentence = (
        f"{mask} has the label {label}, but {rule.who} knows 0 to {rule.classes - 1}{ignored}: "
        "convert the labels (Cityscapes: to labelTrainIds), or correct the number of classes"
    )
    files = len({files_of(each.info) for each, _ in unknown})
    raise ImBenchError(_with_count(sentence, files, len(images), _NAMES[part]))


def _with_count(sentence: str, wrong: int, total: int, where: str) -> str:
    part = where.removeprefix("the ")
    return sentence if wrong == 1 else f"{sentence} ({wrong} of {total} {part} are alike)"


def _evaluated(
    part: str, dataset: Any, metrics: list[Any], rules: Sequence[LabelRule]
) -> dict[str, list[_Image]]:
    """Return the images of an evaluation, whose labels its metrics take."""
    leaves = [leaf for _, leaf in _leaves(dataset, part)]
    names: Sequence[str] = (getattr(dataset, "metainfo", None) or {}).get("classes") or ()
    wanted = metric_rules(metrics, len(names))
    if not names and any(rule.classes < 2 for rule in wanted):
        raise ImBenchError(
            f"the data set of {part}_dataloader names no classes, which {wanted[0].who} needs: add "
            "metainfo=dict(classes=(...)) to it"
        )
    if len(names) == 1 and any(rule.classes == 1 for rule in wanted):
        raise ImBenchError(
            f"the data set of {part}_dataloader names one class, {names[0]!r}, which leaves "
            f"{wanted[0].who} nothing to tell it from: name the background as well, "
            f"classes=('background', {names[0]!r})"
        )
    images = [image for leaf in leaves for image in _inspected_leaf(leaf, part, wanted)]
    if wanted and any(image.content.counts is None for image in images):
        raise ImBenchError(
            f"the pipeline of {part}_dataloader loads no labels, which {wanted[0].who} needs: add "
            "LoadAnnotations to it"
        )
    return {part: images} if images else {}


def _test_part(runner: Any, config: Any, rules: Sequence[LabelRule]) -> dict[str, list[_Image]]:
    """Return the test images that a training's config names, unless they are those of `val`."""
    loader, evaluator = config.get("test_dataloader"), config.get("test_evaluator")
    known = (config.get("val_dataloader"), config.get("val_evaluator"))
    if not loader or not evaluator or (loader, evaluator) == known:
        return {}
    try:
        configs.check_data(config, ("test_dataloader",))
        dataset = DATASETS.build(copy.deepcopy(loader["dataset"]))
        metrics = runner.build_evaluator(copy.deepcopy(evaluator)).metrics
    except (AssertionError, ImBenchError, KeyError, OSError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        runner.logger.warning(f"the test images have not been checked: {reason}")
        return {}
    return _evaluated("test", dataset, metrics, rules)


def _warn_of_classes(
    runner: Any, dataset: Any, metrics: list[Any], rules: Sequence[LabelRule]
) -> None:
    """Warn where a metric counts other classes than the model predicts, or ignores others."""
    names: Sequence[str] = (getattr(dataset, "metainfo", None) or {}).get("classes") or ()
    for wanted in metric_rules(metrics, len(names)):
        for rule in rules:
            if rule.classes != wanted.classes:
                runner.logger.warning(
                    f"{rule.who} knows {rule.classes} classes, {wanted.who} counts "
                    f"{wanted.classes}: set num_classes to the number of class names"
                )
            elif rule.ignored != wanted.ignored:
                runner.logger.warning(
                    f"{rule.who} ignores the label {rule.ignored}, {wanted.who} {wanted.ignored}: "
                    "give both the same ignore_index"
                )


def _doubts(
    parts: Mapping[str, Sequence[_Image]], names: Sequence[str], rules: Sequence[LabelRule]
) -> Iterator[str]:
    """Give what is hardly meant; raise an ImBenchError where there is nothing to learn."""
    rule = rules[0] if rules else None
    for part, images in parts.items():
        if rule is not None and any(image.content.counts for image in images):
            counts = np.sum([image.content.histogram for image in images], axis=0)
            ignored = IGNORED
            if rule.ignored is not None and 0 <= rule.ignored < counts.size:
                ignored = rule.ignored
            doubts = label_doubts(
                {part: counts}, names, multilabel=rule.multilabel, ignored=ignored
            )
            if part in LEARNED_FROM:
                _check_worth(part, counts, names, rule, ignored)
            yield from (doubt.sentence for doubt in doubts)
        known = [image for image in images if image.content.brightest is not None]
        doubts = brightness_doubts(
            [image.content.darkest or 0 for image in known],
            [image.content.brightest or 0 for image in known],
            [str(image.info.get("img_path")) for image in known],
        )
        yield from (f"{_NAMES[part]}: {doubt.sentence}" for doubt in doubts)


def _check_worth(
    part: str, counts: NDArray[np.int64], names: Sequence[str], rule: LabelRule, ignored: int
) -> None:
    """Raise an ImBenchError if there are not two labels to tell apart."""
    seen = [int(label) for label in np.flatnonzero(counts[: rule.classes]) if label != rule.ignored]
    if rule.multilabel or len(seen) > 1:
        return
    shown = f"no pixel of {_NAMES[part]} is labelled"
    if seen:
        shown = f"all labelled pixels of {_NAMES[part]} are {names[seen[0]]}"
    share = counts[ignored] / counts.sum()
    hint = f" ({share:.1%} of all have the label {ignored}, which is ignored)" if share else ""
    raise ImBenchError(
        f"{shown}{hint}, so that there is nothing to learn: "
        "look at the masks, and give each class a number from 0"
    )


def _overlaps(parts: Mapping[str, Sequence[_Image]]) -> Iterator[str]:
    """Give which parts share images; raise an ImBenchError if no image is really unlabelled."""
    known = {part: {image.identity for image in images} for part, images in parts.items()}
    if known.get("unlabelled") and known["unlabelled"] <= known.get("labelled", set()):
        raise ImBenchError(
            "all unlabelled images are among the labelled images: name the folder or the list of "
            "the others"
        )
    for part, others in (
        ("unlabelled", ("labelled",)),
        ("val", ("labelled", "train", "unlabelled")),
        ("test", ("labelled", "train", "unlabelled")),
    ):
        for other in others:
            shared = [
                image for image in parts.get(part, ()) if image.identity in known.get(other, ())
            ]
            if shared:
                yield (
                    f"{len(shared)} of {_NAMES[part]} are also among {_NAMES[other]}, such as "
                    f"{shared[0].info.get('img_path')}: remove them from one of the two"
                )


def _class_names(dataset: Any, rules: Sequence[LabelRule]) -> list[str]:
    """Return a name for each label of the model, or each bit of its labels."""
    if not rules:
        return []
    names = list((getattr(dataset, "metainfo", None) or {}).get("classes") or ())
    if rules[0].multilabel:
        count = rules[0].classes.bit_length() - 1
    else:
        count = rules[0].classes
        names = ["background", *names] if len(names) == 1 and count == 2 else names
    return [*names[:count], *(f"label {label}" for label in range(len(names), count))]


def _leaves(dataset: Any, part: str) -> Iterator[tuple[str, Any]]:
    """Give the data sets that load files, inside all wrappers, with their parts."""
    if hasattr(dataset, "labelled") and hasattr(dataset, "unlabelled"):
        mixed = dataset.unlabelled is not None
        yield from _leaves(dataset.labelled, "labelled" if mixed else part)
        if mixed:
            yield from _leaves(dataset.unlabelled, "unlabelled")
    elif hasattr(dataset, "datasets"):
        for each in dataset.datasets:
            yield from _leaves(each, part)
    elif hasattr(dataset, "dataset"):
        yield from _leaves(dataset.dataset, part)
    elif hasattr(dataset, "get_data_info") and transforms_of(dataset):
        yield part, dataset
