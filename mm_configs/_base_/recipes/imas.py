"""How the code base of iMAS trains on Cityscapes, at output stride 16.

There are 4 processes of 4 images; `min_kept` is 100000 in each.

Source: ZhenZHAO/iMAS at 96e57e0.
"""

_base_ = [
    "../models/deeplabv3plus_r50_imas.py",
    "../models/semi_supervised.py",
    "../datasets/cityscapes_semi.py",
    "../schedules/sgd_poly.py",
    "../default_runtime.py",
]
custom_imports = dict(imports=["im_bench.tools.registrations"])

epochs = 240
batch_size = 16
batch_is_total = True
schedule = {
    split: dict(max_iters=epochs * (images // batch_size), val_interval=images // batch_size)
    for split, images in _base_.unlabelled_images.items()
}
weak_view = dict(type="RandomScaleCrop", crop=769, ratio=(0.5, 2.0), image_pad=_base_.mean_colour)
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        labelled=dict(pipeline=[*_base_.load_labelled, weak_view]),
        unlabelled=dict(pipeline=[*_base_.load_unlabelled, weak_view]),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=5e-4))
model = dict(
    _base_.semi_supervised,
    _delete_=True,
    segmentor=dict(_base_.model, type="WindowedEncoderDecoder", windows=_base_.evaluation),
    labelled_loss=dict(type="OhemCrossEntropyLoss", threshold=0.7, min_kept=400_000),
)
