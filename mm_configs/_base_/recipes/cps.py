"""How FPL trains on Cityscapes with the code base of CPS; there with ResNet-101.

There are 8 processes of 1 image; `min_kept` is 50000 in each. Its rate is 0.02, but the losses are
averaged over the processes before the gradients are, so that steps are those of an eighth of it.
Weights decay by rate times decay, which no average divides: 0.02 * 1e-4, here 0.0025 * 8e-4.

Source: FPL at c139b42, its Cityscapes script.
"""

_base_ = [
    "../models/deeplabv3plus_r50_cps.py",
    "../models/semi_supervised.py",
    "../datasets/cityscapes_semi.py",
    "../schedules/sgd_poly.py",
    "../default_runtime.py",
]
custom_imports = dict(imports=["im_bench.tools.registrations"])

epochs = 140
batch_size = 8
batch_is_total = True
schedule = {
    split: dict(max_iters=epochs * steps, val_interval=steps)
    for split, images in _base_.unlabelled_images.items()
    for steps in [max(images, _base_.labelled_images[split]) // batch_size]
}
scales = (0.5, 0.75, 1.0, 1.5, 1.75, 2.0)
crop = dict(type="RandomScaleCrop", crop=800, image_pad=_base_.mean_colour, backend="cv2")
weak_view = dict(
    type="RandomChoice", transforms=[[dict(crop, ratio=(scale, scale))] for scale in scales]
)
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        labelled=dict(pipeline=[*_base_.load_labelled, weak_view]),
        unlabelled=dict(pipeline=[*_base_.load_unlabelled, weak_view]),
    ),
)
optim_wrapper = dict(
    optimizer=dict(lr=0.02 / 8, weight_decay=8 * 1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
model = dict(
    _base_.semi_supervised,
    _delete_=True,
    segmentor=dict(_base_.model, type="WindowedEncoderDecoder", windows=_base_.evaluation),
    labelled_loss=dict(type="OhemCrossEntropyLoss", threshold=0.7, min_kept=400_000),
)
