"""How the code base of U2PL trains on Pascal.

There are 4 processes of 4 images. As there, padding of labelled images counts as
class 0, the background. It pads on all sides, and we on the right and below.

Source: Haochen-Wang409/U2PL at ab3d2be, `experiments/pascal` and `u2pl/dataset/`.
"""

_base_ = [
    "../models/deeplabv3plus_r50_u2pl.py",
    "../models/semi_supervised.py",
    "../datasets/pascal_semi.py",
    "../schedules/sgd_poly.py",
    "../default_runtime.py",
]
custom_imports = dict(imports=["im_bench.tools.registrations"])

epochs = 80
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
        crop=513,
        image_pad=_base_.mean_colour,
        label_pad=label_pad,
        backend="cv2",
    )
    views = [[dict(crop, ratio=(0.5, 1.0))], [dict(crop, ratio=(1.0, 2.0))]]
    return dict(type="RandomChoice", transforms=views)


lists = {
    split: dict(
        labelled=dict(ann_file=files["labelled"], pipeline=[*_base_.load_labelled, weak_view(0)]),
        unlabelled=dict(
            ann_file=files["unlabelled"], pipeline=[*_base_.load_unlabelled, weak_view(255)]
        ),
    )
    for split, files in _base_.ann_files.items()
}
train_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(  # heads learn ten times as fast
    optimizer=dict(lr=0.01, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
model = dict(
    _base_.semi_supervised,
    _delete_=True,
    label_space=dict(kind="multiclass", outputs=21),
    segmentor=dict(
        _base_.model,
        type="WindowedEncoderDecoder",
        windows=dict(mode="whole"),
        test_cfg=dict(mode="whole"),
        decode_head=dict(_base_.model["decode_head"], num_classes=21),
        auxiliary_head=None,
    ),
)
resnet101 = dict(
    depth=101,
    init_cfg=dict(
        checkpoint="http://sceneparsing.csail.mit.edu/model/pretrained_resnet/resnet101-imagenet.pth"
    ),
)
