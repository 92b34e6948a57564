"""The same with Inconsistency Masks in one training: averages of the student are its teachers."""

_base_ = "supervised.py"

custom_imports = dict(imports=["im_bench.plugin"])

train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="LabelledUnlabelledSampler", labelled=2, unlabelled=2),
    dataset=dict(
        type="LabelledAndUnlabelled",
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
        teachers=dict(type="EmaTeachers", decays=[0.99, 0.996, 0.999]),
        warmup=2000,
        ramp=2000,
    )
]
