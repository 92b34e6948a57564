"""DeepLabV3+ with ResNet-50 as CPS and FPL have it (FPL with ResNet-101) on Cityscapes.

For weights see `deeplabv3plus_r50_unimatch.py`.
"""

_base_ = ["deeplabv3plus_r50_unimatch.py"]
crop_size = (800, 800)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(multi_grid=(2, 2, 4)),
    decode_head=dict(aspp_act_cfg=dict(type="LeakyReLU")),
    test_cfg=dict(crop_size=crop_size, stride=(534, 534)),
)
evaluation = dict(window=800, stride=534, border="shift", combine="logits")
