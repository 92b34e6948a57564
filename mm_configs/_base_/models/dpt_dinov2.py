"""DINOv2-S with a DPT head as UniMatch V2 has it on Cityscapes.

The backbone's weights are downloaded from the Hugging Face hub when a training starts. A file does
as well: `--backbone-weights FILE` of tools/train.py, or `random` to begin without: docs/dinov2.md.

`dinov2_b` is what DINOv2-B has otherwise. `evaluation` is how the original passes images through
the network; every image is covered by windows of full size.
"""

custom_imports = dict(imports=["im_bench.models.dinov2", "im_bench.models.dpt"])
crop_size = (798, 798)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="mmseg.SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop_size,
    ),
    backbone=dict(type="DINOv2", size="s", weights="hub"),
    decode_head=dict(
        type="NormFreeDPTHead",
        in_channels=384,
        channels=64,
        widths=(48, 96, 192, 384),
        num_classes=19,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="slide", crop_size=crop_size, stride=(532, 532)),
)
dinov2_b = dict(
    backbone=dict(size="b"),
    decode_head=dict(in_channels=768, channels=128, widths=(96, 192, 384, 768)),
)
evaluation = dict(mode="slide", window=798, stride=532, border="shift", combine="probabilities")
