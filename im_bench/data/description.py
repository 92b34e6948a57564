"""What a data set is: the fields of ``dataset.yaml``, and the rules that bind them."""

from __future__ import annotations

import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from im_bench.errors import ImBenchError
from im_bench.evaluation.registry import check_headline
from im_bench.yaml_files import FieldError, load_model

Split = Literal["train", "val", "test"]
Space = Literal["binary", "multiclass", "multilabel"]
Encoding = Literal["labels", "index", "palette", "bits", "files"]
Byte = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Byte, Byte, Byte]
Share = Annotated[float, Field(gt=0, lt=1)]

SPLITS: tuple[Split, ...] = get_args(Split)
IGNORED = 255
"""The label byte of pixels that are not scored, in binary and multi-class label maps."""
VOID = "void"
"""The name of class 0 where ``reserve_zero`` keeps it free."""
BACKGROUND = "background"
"""The palette entry that a binary data set may have beside its class; black by default."""
FILE_NAME = "dataset.yaml"

_ENCODINGS: Mapping[Space, tuple[Encoding, ...]] = {
    "binary": ("labels", "index", "palette", "bits"),
    "multiclass": ("labels", "index", "palette", "files"),
    "multilabel": ("labels", "bits", "files"),
}
_MOST_CLASSES: Mapping[Space, int] = {"binary": 1, "multiclass": IGNORED, "multilabel": 8}


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fractions(_Fields):
    """The shares of the images that are set aside for validation and test.

    Attributes:
        val: Share for validation, in (0, 1).
        test: Share for test, in (0, 1).
        seed: Seed of the draw.
    """

    val: Share | None = None
    test: Share | None = None
    seed: int = Field(default=42, ge=0)

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that are drawn."""
        return tuple(name for name in SPLITS if name != "train" and getattr(self, name))


class Cells(_Fields):
    """Which output channels count cells (the MCCE metric).

    Attributes:
        alive: Channel of living cells.
        dead: Channel of dead cells.
        position: Channel of the marks at the cells' centres.
    """

    alive: int = Field(ge=0)
    dead: int = Field(ge=0)
    position: int = Field(ge=0)


@dataclass(frozen=True)
class Reading:
    """What a description says of how its files are read.

    Attributes:
        scale: The raw values that become 0 and 255, for images of more than 8 bits; or None.
        page: Which page of files of several, from 0; None: they are refused.
        orientation: Whether the orientation tags of cameras are applied, as viewers do.
        alpha: ``drop``: colours alone count, whatever is transparent.
    """

    scale: tuple[float, float] | None = None
    page: int | None = None
    orientation: Literal["apply", "ignore"] = "apply"
    alpha: Literal["refuse", "drop"] = "refuse"


class DataDescription(_Fields):
    """A data set on disk; every field is told in ``docs/your-own-data.md``.

    Attributes:
        name: Short name, used in file names and tables.
        space: The label space.
        channels: How images are read.
        classes: Binary: one name; multi-class: in index order; multi-label: in bit order.
        reserve_zero: Multi-class: keep class 0 for pixels that nobody vouches for, and number the
            listed classes from 1.
        root: Folder of the data, relative to the description; ``~`` and ``${NAME}`` are expanded.
        images: Folder of the images below ``root``, with ``{split}`` unless ``fractions`` divides
            one folder.
        masks: Folder of the masks below ``root``; ``{class}`` stands in it or in ``mask_suffix``
            where there is one file per class.
        encoding: ``labels`` are label bytes as the package itself uses them; ``index`` counts the
            listed classes from 0 (binary: anything above ``threshold`` is foreground);
            ``palette`` are colours; ``bits`` sets bit c for class c, and in binary data has any
            other things in the bits after the first; ``files`` has one file per class, of which a
            later one wins in multi-class data.
        mask_suffix: What follows the image's stem in its mask's stem.
        palette: The colour of each class; a binary data set may also give ``background``.
        ignore: Raw mask values, or colours, of pixels that are not scored.
        threshold: A raw value above it is foreground (binary ``index``, and ``files``).
        splits: The folder that stands for each split.
        fractions: Splits to be drawn from the training images, or from the one folder.
        labelled: Text file, relative to the description, with the names of the training images
            that keep their labels, or None.
        scale: The range of raw values that becomes 0..255, for images of more than 8 bits; files of
            8 bits are left as they are.
        page: Which page of files with several, from 0, of images and masks.
        orientation: ``apply`` the orientation tags of images and masks, or ``ignore`` them.
        alpha: ``refuse`` transparency that changes what is seen, or ``drop`` it.
        cells: The channels for counting cells, or None.
        metric: The headline metric; by default ``iou`` for binary data and ``miou`` otherwise, both
            means over images. ``iou_dataset`` and ``miou_dataset`` count the pixels of all images
            together, as a volume of slices is scored; ``miou_dataset_mmseg`` and
            ``miou_dataset_unimatch`` differ from it in classes that no ground truth has; ``mcce``
            counts cells; a metric of an installed package has the name of its entry point.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    space: Space
    channels: Literal["rgb", "grey"] = "rgb"
    classes: tuple[str, ...] = Field(min_length=1)
    reserve_zero: bool = False
    root: str = "."
    images: str = "images/{split}"
    masks: str = "masks/{split}"
    encoding: Encoding
    mask_suffix: str = ""
    palette: dict[str, Colour] | None = None
    ignore: tuple[int | Colour, ...] = ()
    threshold: int = Field(default=0, ge=0)
    splits: dict[Split, str] | None = None
    fractions: Fractions | None = None
    labelled: str | None = None
    scale: tuple[float, float] | None = None
    page: int | None = Field(default=None, ge=0)
    orientation: Literal["apply", "ignore"] = "apply"
    alpha: Literal["refuse", "drop"] = "refuse"
    cells: Cells | None = None
    metric: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names in the order of label values or bits, with ``void`` first if reserved."""
        return ((VOID,) if self.reserve_zero else ()) + self.classes

    @property
    def outputs(self) -> int:
        """The number of output channels that a network needs."""
        return len(self.class_names)

    @property
    def reading(self) -> Reading:
        """How image and mask files are read."""
        return Reading(self.scale, self.page, self.orientation, self.alpha)

    @property
    def ignore_label(self) -> int | None:
        """The label byte of pixels that are not scored; None in multi-label data."""
        return None if self.space == "multilabel" else IGNORED

    @property
    def split_folders(self) -> Mapping[Split, str]:
        """What ``{split}`` is replaced by, for the splits that have folders of their own."""
        if "{split}" not in self.images:
            return {}
        drawn = self.fractions.splits if self.fractions else ()
        return self.splits or {name: name for name in SPLITS if name not in drawn}

    @model_validator(mode="before")
    @classmethod
    def _choose_metric(cls, data: Any) -> Any:
        if isinstance(data, dict) and "metric" not in data:
            return {**data, "metric": "iou" if data.get("space") == "binary" else "miou"}
        return data

    @model_validator(mode="after")
    def _agree(self) -> DataDescription:
        self._check_classes()
        self._check_encoding()
        self._check_ignore()
        self._check_scale()
        self._check_cells()
        self._check_layout()
        return self

    def _check_classes(self) -> None:
        if self.reserve_zero and self.space != "multiclass":
            raise FieldError(("reserve_zero",), f"{self.space} data has no class 0 to reserve")
        most = _MOST_CLASSES[self.space] - self.reserve_zero
        if len(self.classes) > most:
            raise FieldError(("classes",), f"{self.space} data has at most {most} of them")
        taken = {VOID} if self.reserve_zero else {BACKGROUND} if self.space == "binary" else set()
        for index, name in enumerate(self.classes):
            if name in taken:
                raise FieldError(
                    ("classes", index), f"the name {name!r} is taken: choose another one"
                )
            taken.add(name)
        try:
            check_headline(self.metric, self.space)
        except ImBenchError as error:
            raise FieldError(("metric",), str(error)) from None

    def _check_encoding(self) -> None:
        if self.encoding not in _ENCODINGS[self.space]:
            fitting = ", ".join(_ENCODINGS[self.space])
            raise FieldError(
                ("encoding",), f"{self.encoding} does not fit {self.space}: use one of {fitting}"
            )
        by_class = "{class}" in self.masks + self.mask_suffix
        if by_class != (self.encoding == "files"):
            say = "remove it" if by_class else "add it to masks or mask_suffix"
            raise FieldError(("masks",), f"{{class}} goes with encoding: files, only: {say}")
        thresholded = self.encoding == "files" or (self.space, self.encoding) == ("binary", "index")
        if "threshold" in self.model_fields_set and not thresholded:
            raise FieldError(("threshold",), f"encoding {self.encoding} uses none: remove it")
        if (self.palette is None) == (self.encoding == "palette"):
            raise FieldError(("palette",), "goes with encoding: palette, and only with it")
        if self.palette is not None:
            self._check_palette(self.palette)

    def _check_palette(self, palette: Mapping[str, Colour]) -> None:
        optional = {BACKGROUND} if self.space == "binary" else set()
        missing = sorted(set(self.classes) - set(palette))
        if missing:
            raise FieldError(("palette",), f"there is no colour for {', '.join(missing)}")
        for name in palette:
            if name not in {*self.classes, *optional}:
                known = ", ".join(self.classes)
                raise FieldError(("palette", name), f"is no class: the classes are {known}")
        colours = [*palette.values(), *(c for c in self.ignore if isinstance(c, tuple))]
        for name, colour in palette.items():
            if colours.count(colour) > 1:
                raise FieldError(("palette", name), f"the colour {list(colour)} stands twice")

    def _check_ignore(self) -> None:
        if self.ignore and self.space == "multilabel":
            raise FieldError(("ignore",), "multilabel data cannot ignore pixels: remove it")
        colours = self.encoding == "palette"
        for index, value in enumerate(self.ignore):
            if isinstance(value, tuple) != colours:
                right = "a colour such as [255, 255, 255]" if colours else "a raw mask value"
                raise FieldError(("ignore", index), f"{value} should be {right}")

    def _check_scale(self) -> None:
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            raise FieldError(("scale",), "the lower value stands first, as in [0, 4095]")

    def _check_cells(self) -> None:
        if self.metric == "mcce" and self.cells is None:
            raise FieldError(("metric",), "mcce counts cells: say with `cells` in which channels")
        if self.cells is None:
            return
        if self.space != "multilabel":
            raise FieldError(("cells",), "only multilabel data can have them: remove it")
        channels = self.cells.model_dump()
        for name, channel in channels.items():
            if channel >= self.outputs:
                last = self.outputs - 1
                raise FieldError(("cells", name), f"there are only the channels 0 to {last}")
            if list(channels.values()).count(channel) > 1:
                raise FieldError(("cells", name), f"channel {channel} stands twice")

    def _check_layout(self) -> None:
        drawn = self.fractions.splits if self.fractions else ()
        divided = "{split}" in self.images
        if divided != ("{split}" in self.masks):
            raise FieldError(
                ("masks",), "{split} has to stand in both images and masks, or in neither"
            )
        if not divided and self.splits is not None:
            raise FieldError(("splits",), "goes with {split} in images and masks: add it there")
        given = tuple(self.split_folders) if divided else ("train",)
        for name in SPLITS:
            if name not in (*given, *drawn):
                raise FieldError(
                    ("splits" if self.splits is not None else "fractions",),
                    f"nothing says which images are {name}: name a folder in `splits` or a share "
                    "in `fractions`",
                )
            if name in given and name in drawn:
                raise FieldError(
                    ("fractions", name), f"{name} has a folder in `splits` already: remove one"
                )
        if self.fractions and (self.fractions.val or 0) + (self.fractions.test or 0) >= 1:
            raise FieldError(("fractions",), "val and test leave nothing to train on")

    def data_root(self, base: Path) -> Path:
        """Return the folder of the data.

        Args:
            base: Folder of the description, to which ``root`` is relative.

        Raises:
            ImBenchError: ``root`` names an environment variable that is not set.
        """
        try:
            expanded = string.Template(self.root).substitute(os.environ)
        except KeyError as error:
            name = error.args[0]
            raise ImBenchError(
                f"data set {self.name}: root is {self.root} but the environment variable {name} "
                f"is not set: export {name}=FOLDER"
            ) from None
        except ValueError:
            raise ImBenchError(
                f"data set {self.name}: root is {self.root}: write $$ for a plain dollar sign"
            ) from None
        return base / Path(expanded).expanduser()


def label_values(space: Space, names: Sequence[str]) -> dict[int, str]:
    """Return what label bytes stand for, by byte; in multi-label data by the bit of each class.

    Args:
        space: The label space.
        names: The classes, as in :attr:`DataDescription.class_names`.
    """
    if space == "binary":
        names = [BACKGROUND, *names]
    return {1 << i if space == "multilabel" else i: name for i, name in enumerate(names)}


def load_description(path: Path) -> tuple[DataDescription, Path]:
    """Read a description and return it with its folder.

    Args:
        path: ``dataset.yaml``, by whatever name, or the folder that holds a file of that name.

    Raises:
        ImBenchError: There is none, or it is wrong; with file and line.
    """
    if path.is_dir():
        path = path / FILE_NAME
    return load_model(path, DataDescription), path.parent
