"""DeepLabV3+ with ResNet-50 as UniMatch (also FixMatch, DAW, RankMatch) has it on Cityscapes.

ImageNet weights are downloaded when a training starts. A file on disk does as well, with
`--cfg-options model.backbone.init_cfg.checkpoint=resnet50.pth`: in the names of the original code,
of CSAIL or of MMSegmentation, for a stem of 64, 64 and 128 channels. MMSegmentation's own weights
have a stem of half as many: set `model.backbone.stem_channels=64` and
`model.backbone.init_cfg.checkpoint=open-mmlab://resnet50_v1c`. No weights:
`model.backbone.init_cfg=None`.

`evaluation` is how the original passes images through the network, as the argument `windows` of a
`LabelSpaceSegmentor`. An `EncoderDecoder` has `test_cfg`, which shifts windows inside and averages
logits.
"""

custom_imports = dict(imports=["im_bench.models.deeplabv3plus", "im_bench.models.resnet"])
crop_size = (801, 801)
norm_cfg = dict(type="SyncBN", requires_grad=True)
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
    backbone=dict(
        type="DilatedResNet",
        depth=50,
        output_stride=16,
        norm_cfg=norm_cfg,
        zero_init_residual=False,  # matters without weights only
        init_cfg=dict(
            type="Pretrained",
            checkpoint="http://sceneparsing.csail.mit.edu/model/pretrained_resnet/resnet50-imagenet.pth",
        ),
    ),
    decode_head=dict(
        type="DeepLabV3PlusHead",
        dilations=(6, 12, 18),
        num_classes=19,
        norm_cfg=norm_cfg,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="slide", crop_size=crop_size, stride=(534, 534)),
)
evaluation = dict(mode="slide", window=801, stride=534, border="truncate", combine="probabilities")
