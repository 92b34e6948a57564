"""How the code base of UniMatch V2 trains on Cityscapes: network, views, batch, rates and length.

There are 4 processes of 2 labelled and 2 unlabelled images; `min_kept` is 200000 in each. The
backbone learns by 5e-6, the head by 40 times that.

Source: LiheYoung/UniMatch-V2 at f6afb4d, `configs/cityscapes.yaml` and `dataset/`.
"""

_base_ = [
    "../models/dpt_dinov2.py",
    "../models/semi_supervised.py",
    "../datasets/cityscapes_semi.py",
    "../schedules/adamw_poly.py",
    "../default_runtime.py",
]
custom_imports = dict(imports=["im_bench.tools.registrations"])

epochs = 180
batch_size = 8
batch_is_total = True
schedule = {
    split: dict(max_iters=epochs * (images // batch_size), val_interval=images // batch_size)
    for split, images in _base_.unlabelled_images.items()
}
weak_view = dict(type="RandomScaleCrop", crop=798, ratio=(0.5, 2.0), image_pad=0)
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        labelled=dict(pipeline=[*_base_.load_labelled, weak_view]),
        unlabelled=dict(pipeline=[*_base_.load_unlabelled, weak_view]),
    ),
)
segmentor = dict(_base_.model, type="WindowedEncoderDecoder", windows=_base_.evaluation)
model = dict(
    _base_.semi_supervised,
    _delete_=True,
    segmentor=segmentor,
    labelled_loss=dict(type="OhemCrossEntropyLoss", threshold=0.7, min_kept=800_000),
)
