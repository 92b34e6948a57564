"""A supervised config of MMSegmentation, as anyone might have one: SegFormer on own data."""

default_scope = "mmseg"

classes = ("background", "road", "roof", "tree")
palette = [[0, 0, 0], [120, 120, 120], [180, 60, 60], [40, 140, 60]]
data_root = "data/aerial"
crop_size = (512, 512)
iterations = 20_000

norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=crop_size,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type="MixVisionTransformer",
        embed_dims=32,
        num_stages=4,
        num_layers=[2, 2, 2, 2],
        num_heads=[1, 2, 5, 8],
        patch_sizes=[7, 3, 3, 3],
        sr_ratios=[8, 4, 2, 1],
        out_indices=(0, 1, 2, 3),
    ),
    decode_head=dict(
        type="SegformerHead",
        in_channels=[32, 64, 160, 256],
        in_index=[0, 1, 2, 3],
        channels=256,
        num_classes=len(classes),
        norm_cfg=norm_cfg,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0),
    ),
    test_cfg=dict(mode="whole"),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="BaseSegDataset",
        data_root=data_root,
        data_prefix=dict(img_path="images/train", seg_map_path="labels/train"),
        metainfo=dict(classes=classes, palette=palette),
        img_suffix=".png",
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=6e-5, weight_decay=0.01))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=iterations)
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2000),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
)
log_processor = dict(by_epoch=False)
