"""Networks of different architecture in one cell of the harness, by the real command."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from im_bench.cli.app import app
from im_bench.files import read_json

SUITE = """
name: tiny-mixed
seeds: [1]
budget: equal
budgets: {equal: {iterations: 2}}
training: {batch: 2, schedule: poly, learning_rate: 0.001, head_factor: 40, validations: 1}
data:
  streets:
    synth: {like: cityscapes, train: 24, val: 3, test: 4}
    size: [84, 56]
    labelled: 0.25
    crop: [42, 42]
    monitor: miou_dataset
    model:
      custom_imports: [im_bench.models.dinov2, im_bench.models.dpt]
      backbone: &backbone
        type: DINOv2
        weights: random
        out_indices: [0, 1, 2, 3]
        options: &tiny
          {hidden_size: 12, num_hidden_layers: 4, num_attention_heads: 2, image_size: 42}
      decode_head: &head
        {type: NormFreeDPTHead, in_channels: 12, channels: 8, widths: [4, 6, 8, 10]}
methods:
  unimatch-v2+im:
    threshold: 0.0
    im:
      members: 2
      networks:
        - backbone: {type: ResNetV1c, depth: 18, base_channels: 4, stem_channels: 4}
          decode_head: {type: FCNHead, in_channels: 32, channels: 4, num_convs: 1}
  segkc:
    threshold: 0.0
    twin:
      backbone: {<<: *backbone, options: {<<: *tiny, hidden_size: 16}}
      decode_head: {<<: *head, in_channels: 16}
"""


def test_mixed_teachers_and_a_heterogeneous_twin_get_scores(tmp_path: Path) -> None:
    path = tmp_path / "tiny-mixed.yaml"
    path.write_text(SUITE)
    out = tmp_path / "runs"
    command = ["run", "--suite", str(path), "--out", str(out), "--no-tracking"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    (labels,) = (out / "stages").rglob("g1-labels-*/result.json")
    teachers = read_json(labels)["outcome"]["teachers"]
    assert {name.rpartition("-")[0] for name in teachers} == {"member1", "member2"}
    sizes = {
        read_json(each)["slug"].rpartition("/s1/")[2]: read_json(each)["outcome"]["parameters"]
        for each in (out / "stages").rglob("*member*/result.json")
    }
    assert sizes["unimatch-v2/member1"] != sizes["unimatch-v2/member2"]
    assert sizes["segkc/member1"] == sizes["unimatch-v2/member1"]  # the junior's alone
