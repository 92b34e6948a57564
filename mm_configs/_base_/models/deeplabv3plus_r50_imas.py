"""DeepLabV3+ with ResNet-50 as iMAS has it on Cityscapes, at output stride 16.

Its other setting has `model.backbone.output_stride=8` and
`model.decode_head.dilations="(12, 24, 36)"`. For weights see `deeplabv3plus_r50_unimatch.py`.
"""

_base_ = ["deeplabv3plus_r50_unimatch.py"]
crop_size = (769, 769)
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(multi_grid=(2, 2, 4), ceil_mode=True, zero_init_residual=True),
    auxiliary_head=dict(
        type="AuxiliaryHead",
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True, loss_weight=0.4),
    ),
    test_cfg=dict(crop_size=crop_size, stride=(512, 512)),
)
evaluation = dict(window=769, stride=512)
