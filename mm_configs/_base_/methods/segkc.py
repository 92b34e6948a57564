"""SegKC with UniMatch V2's recipe: the junior's backbone is DINOv2-S, the senior's DINOv2-B.

There is no public code; see the method for what had to be decided.
"""

_base_ = "../recipes/unimatch_v2.py"
senior = dict(
    _base_.segmentor,
    backbone=dict(_base_.segmentor.backbone, **_base_.dinov2_b.backbone),
    decode_head=dict(_base_.segmentor.decode_head, **_base_.dinov2_b.decode_head),
)
model = dict(method=dict(name="segkc"), twin=senior)
