"""Study A in the harness: crops, OHEM, SGD, sliding windows and masks, by the real command."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from im_bench.cli.app import app

SUITE = """
name: tiny-a
seeds: [1]
budget: equal
budgets: {equal: {iterations: 3}}
training:
  {batch: 2, optimizer: sgd, schedule: poly, learning_rate: 0.005, validations: 1, keep: last}
data:
  streets:
    synth: {like: cityscapes, train: 24, val: 3, test: 4}
    size: [96, 64]
    labelled: 0.25
    crop: [48, 48]
    ohem: {threshold: 0.7, min_kept: 500}
    evaluation: {mode: slide, window: 48}
    monitor: miou_dataset
    model:
      mean: [123.675, 116.28, 103.53]
      std: [58.395, 57.12, 57.375]
      custom_imports: [im_bench.models.deeplabv3plus]
      backbone:
        type: ResNetV1c
        depth: 18
        base_channels: 4
        stem_channels: 4
        strides: [1, 2, 2, 1]
        dilations: [1, 1, 1, 2]
        norm_cfg: {type: SyncBN}
      decode_head:
        type: DeepLabV3PlusHead
        in_channels: 32
        channels: 8
        c1_in_channels: 4
        c1_channels: 4
        norm_cfg: {type: SyncBN}
methods:
  supervised: {}
  supervised+im: {im: {members: 2}}
  unimatch: {threshold: 0.0}
  unimatch+im: {threshold: 0.0, im: {members: 2}}
"""


def test_methods_without_and_with_masks_get_scores(tmp_path: Path) -> None:
    path = tmp_path / "tiny-a.yaml"
    path.write_text(SUITE)
    options = ["--suite", str(path), "--out", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, ["run", *options, "--no-tracking"])
    assert done.exit_code == 0, done.output
    printed = CliRunner().invoke(app, ["table", *options, "--format", "markdown"]).output
    rows = [
        line for line in printed.splitlines() if line.startswith(("| Supervised", "| UniMatch"))
    ]
    assert len(rows) == 4
    assert "planned" not in printed
    assert "failed" not in printed
    assert "sliding windows of 48, stride 32, cut off at the border, probabilities" in printed
