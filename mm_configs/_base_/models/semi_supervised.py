"""What wraps any network of 19 classes, so that a semi-supervised method trains it.

A recipe says `model = dict(_base_.semi_supervised, _delete_=True, segmentor=...)`.
"""

semi_supervised = dict(
    type="SemiSupervisedSegmentor",
    label_space=dict(kind="multiclass", outputs=19),
    auxiliary_weight=0.4,  # where the network has auxiliary heads
    data_preprocessor=dict(
        type="SemiPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
)
