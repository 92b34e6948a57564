"""How the code base of U2PL trains on Cityscapes; there with ResNet-101.

There are 8 processes of 2 images; `min_kept` is 100000 in each. As there, padding of labelled
images counts as class 0, the road. It pads on all sides, and we on the right and below. It
validates on a centre crop and publishes what sliding windows give, which we validate with.

Source: Haochen-Wang409/U2PL at ab3d2be, `experiments/cityscapes` and `u2pl/dataset/`.
"""

_base_ = [
    "../models/deeplabv3plus_r50_u2pl.py",
    "../models/semi_supervised.py",
    "../datasets/cityscapes_semi.py",
    "../schedules/sgd_poly.py",
    "../default_runtime.py",
]
custom_imports = dict(imports=["im_bench.tools.registrations"])

epochs = 200
batch_size = 16
batch_is_total = True
schedule = {
    split: dict(max_iters=epochs * (images // batch_size), val_interval=images // batch_size)
    for split, images in _base_.unlabelled_images.items()
}


def weak_view(label_pad):
    """Shrink as often as enlarge, without anti-aliasing; pad with the mean colour."""
    crop = dict(
        type="RandomScaleCrop",
        crop=769,
        image_pad=_base_.mean_colour,
        label_pad=label_pad,
        backend="cv2",
    )
    views = [[dict(crop, ratio=(0.5, 1.0))], [dict(crop, ratio=(1.0, 2.0))]]
    return dict(type="RandomChoice", transforms=views)


train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        labelled=dict(pipeline=[*_base_.load_labelled, weak_view(0)]),
        unlabelled=dict(pipeline=[*_base_.load_unlabelled, weak_view(255)]),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=5e-4))
model = dict(
    _base_.semi_supervised,
    _delete_=True,
    segmentor=dict(_base_.model, type="WindowedEncoderDecoder", windows=_base_.evaluation),
    labelled_loss=dict(type="OhemCrossEntropyLoss", threshold=0.7, min_kept=800_000),
)
