"""The same by generations: trained networks label all images once, then a student learns."""

_base_ = "supervised.py"

custom_imports = dict(imports=["im_bench.plugin"])

cache_dir = "work_dirs/pseudo_labels/generation_1"

train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="LabelledUnlabelledSampler", labelled=2, unlabelled=2),
    dataset=dict(
        type="LabelledAndUnlabelled",
        cache_dir=cache_dir,
        labelled=_base_.train_dataloader.dataset,
        unlabelled=dict(
            type="BaseSegDataset",
            data_root=_base_.data_root,
            data_prefix=dict(img_path="images/unlabelled"),
            metainfo=dict(classes=_base_.classes, palette=_base_.palette),
            img_suffix=".png",
        ),
    ),
)
custom_hooks = [
    dict(
        type="InconsistencyMaskHook",
        teachers=dict(
            type="CheckpointTeachers",
            checkpoints=["work_dirs/segformer/iter_20000.pth", "work_dirs/pspnet/iter_20000.pth"],
            # None: the student's own architecture; else a config, or the path of one.
            models=[None, "configs/pspnet.py"],
        ),
        cache_dir=cache_dir,
    )
]
model = dict(
    decode_head=dict(
        loss_decode=dict(
            _delete_=True,
            type="InconsistencyMaskedLoss",
            loss=dict(type="CrossEntropyLoss"),
            normalise="kept",
        )
    )
)
