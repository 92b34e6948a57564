"""The 1x1 U-Net of the from-scratch study, for a binary task on RGB images.

For other tasks set `model.label_space`, for instance
`dict(kind="multiclass", outputs=9)` or `dict(kind="multilabel", outputs=3)`, and
`model.backbone.in_channels` for grey images. The head's outputs follow the label space.
"""

custom_imports = dict(
    imports=["im_bench.models.preprocessor", "im_bench.models.segmentor", "im_bench.models.unet"]
)
width = 0.5
model = dict(
    type="LabelSpaceSegmentor",
    label_space=dict(kind="binary", outputs=1),
    data_preprocessor=dict(type="BatchPreprocessor"),
    backbone=dict(type="UNet1x1", in_channels=3, width=width),
    decode_head=dict(type="UNet1x1Head", width=width),
)
