"""DeepLabV3+ with ResNet-50 as CPS and FPL have it (FPL with ResNet-101) on Cityscapes.

For weights see `deeplabv3plus_r50_unimatch.py`. The head starts as there, drawn from a normal
distribution by fan in, with two small differences: the image's mean is projected together with the
other branches (fan in 1280, not 256 and 1024), and the classifier's bias starts at 0.
"""

_base_ = ["deeplabv3plus_r50_unimatch.py"]
crop_size = (800, 800)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(multi_grid=(2, 2, 4)),
    decode_head=dict(
        aspp_act_cfg=dict(type="LeakyReLU"),
        init_cfg=dict(type="Kaiming", layer="Conv2d", mode="fan_in"),
    ),
    test_cfg=dict(crop_size=crop_size, stride=(534, 534)),
)
evaluation = dict(window=800, stride=534, border="shift", combine="logits")
