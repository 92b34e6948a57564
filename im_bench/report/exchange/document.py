"""The file by which groups exchange results: its schema, with a comment per field.

``im-bench export --format json`` writes it, ``im-bench import`` reads it. Within one version fields
are only ever added, with a default, or renamed, with the old name still read; whatever else changes
raises :data:`VERSION`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

FORMAT: Literal["im-bench results"] = "im-bench results"
VERSION: Literal[1] = 1

Score = Annotated[float, Field(allow_inf_nan=False)]
Origin = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]


class Part(BaseModel):
    """A part of the file: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CellProtocol(Part):
    """What two cells must have in common, so that their numbers may stand in one table.

    Attributes:
        data: The data set's fields in the suite that change numbers: size, share of labels,
            network, augmentation, evaluation, ... (``DataSpec`` without paths and resources).
        training: What all trainings of the suite have in common (``TrainingSpec``).
        budget: ``kind`` (``paper`` or ``equal``) and its length.
        method: The method's fields, defaults included.
        recipes: Version of what each kind of stage does.
    """

    data: dict[str, Any]
    training: dict[str, Any]
    budget: dict[str, Any]
    method: dict[str, Any]
    recipes: dict[str, int]


class ExportedResult(Part):
    """The scores of one cell, seed and generation, and all that determined them.

    Attributes:
        seed: The repetition.
        generation: Of self-training, from 1; 1 where there is only one.
        in_table: Whether this generation stands in tables.
        score: The headline on the test images: what ``test`` has under the cell's ``metric``.
        test: Scores on the test images by metric, means and single classes; shares as fractions.
        val: The same on validation images.
        shares: Of pseudo-labels: images and pixels kept, right labels among these, as fractions.
        trained: Among how many trainings the network was chosen by validation.
        iterations: Steps of the training that was chosen.
        key: SHA-256 of all that determined the scores, over all generations.
        config: Resolved config of the training that was chosen, as it was hashed.
        training_seconds: What all trainings took that this result needs, of earlier generations
            too, in all their attempts. A training that cells share counts in each of them.
        scoring_seconds: What the last stage took, which scores all generations.
        finished: When, in ISO 8601.
        commit: Of im-bench, or None where it was installed without its repository.
        dirty: Whether files differed from that commit.
        versions: Of im-bench, Python and the libraries that make the numbers.
        device: Name of the GPU or processor.
    """

    seed: int = Field(ge=0)
    generation: int = Field(ge=1)
    in_table: bool
    score: Score | None = None
    test: dict[str, Score | None]
    val: dict[str, Score | None] = {}
    shares: dict[str, Score | None] = {}
    trained: int | None = None
    iterations: int | None = None
    key: str
    config: dict[str, Any] = {}
    training_seconds: float | None = None
    scoring_seconds: float | None = Field(
        default=None, validation_alias=AliasChoices("scoring_seconds", "seconds")
    )
    finished: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    versions: dict[str, str | None] = {}
    device: str | None = None


class ExportedCell(Part):
    """One method on one data set and split.

    Attributes:
        data: Name of the data set in the suite.
        split: Share of labelled images, or ``file``.
        method: Name of the method in the suite.
        title: What tables call the method.
        all_labels: Whether it sees labels that other methods must do without.
        metric: The headline, a key of ``test``.
        seeds: What should be there; what of it is not among the results is missing.
        source: What identifies the data: fingerprint of the files, or the drawing.
        protocol: What must be alike for a comparison.
        results: By seed, then generation.
    """

    data: str
    split: str
    method: str
    title: str
    all_labels: bool
    metric: str
    seeds: tuple[int, ...]
    source: dict[str, Any]
    protocol: CellProtocol
    results: tuple[ExportedResult, ...]

    @property
    def name(self) -> str:
        """``data/split/method``, as in plans."""
        return f"{self.data}/{self.split}/{self.method}"

    @property
    def scores(self) -> dict[int, float]:
        """What stands in tables, by seed."""
        return {
            one.seed: score
            for one in self.results
            if one.in_table and (score := one.test.get(self.metric)) is not None
        }


class LabelledImages(Part):
    """The training images of a data set that keep their labels.

    Attributes:
        count: Number of labelled images.
        training_images: Number of all training images.
        split_seed: Of the choice, or None where the data set brings its own list.
        sha256: Of the names, each followed by a line feed.
        names: Of the labelled images.
    """

    count: int
    training_images: int
    split_seed: int | None
    sha256: str
    names: tuple[str, ...]


class Document(Part):
    """The whole file.

    Attributes:
        format: What the file is.
        version: Of this schema.
        suite: Name of the suite.
        budget: ``paper`` or ``equal``.
        origin: Who made the results, as tables show it; empty until somebody says so.
        im_bench: Version that wrote the file.
        labelled: The labelled images by data set. Methods with ``all_labels`` see more.
        cells: Those that have at least one result.
    """

    format: Literal["im-bench results"] = FORMAT
    version: Literal[1] = VERSION
    suite: str
    budget: Literal["paper", "equal"]
    origin: Literal[""] | Origin = ""
    im_bench: str
    labelled: dict[str, LabelledImages] = {}
    cells: tuple[ExportedCell, ...]

    @property
    def count(self) -> int:
        """Number of results."""
        return sum(len(cell.results) for cell in self.cells)
