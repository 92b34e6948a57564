"""Pascal VOC 2012 with the labels of SBD and the partitions of the papers.

The folder is what `im-bench data prepare pascal` writes; the environment variable `PASCAL` names
it. As in the papers all images without a label are unlabelled ones, and validation is on the
official validation images.

The blended splits are U2PL's, or with `PARTITIONS=unimatch` those of CPS, which label other images.

A config picks a split by `train_dataloader = dict(dataset=_base_.lists[split])`, which its recipe
makes of `ann_files`.
"""

data_root = "{{$PASCAL:data/pascal}}"
family = "cps" if "{{$PARTITIONS:u2pl}}" == "unimatch" else "u2pl"
labelled_images = {
    **{str(count): count for count in (92, 183, 366, 732, 1464)},
    **{"1-16": 662, "1-8": 1323, "1-4": 2646},
}
unlabelled_images = {split: 10582 - images for split, images in labelled_images.items()}
folders = {
    split: f"lists/{'classic' if split.isdigit() else family}-{split}" for split in labelled_images
}
ann_files = {
    split: dict(labelled=f"{folder}/labelled.txt", unlabelled=f"{folder}/unlabelled-and-val.txt")
    for split, folder in folders.items()
}

mean_colour = (104, 116, 124)  # BGR, as images are loaded

# A recipe puts its weak view behind these.
load_labelled = [dict(type="LoadImage"), dict(type="LoadLabels")]
load_unlabelled = [dict(type="LoadImage"), dict(type="BlankAnnotations")]

images = dict(
    type="PascalVOCDataset",
    data_root=data_root,
    data_prefix=dict(img_path="images", seg_map_path="labels"),
    img_suffix=".png",
)
train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,  # of len(): an epoch counts whole batches
    sampler=dict(type="TicketSampler"),
    collate_fn=dict(type="collate_semi"),
    dataset=dict(type="SemiDataset", labelled=images, unlabelled=images),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        images, ann_file="lists/test.txt", pipeline=[*load_labelled, dict(type="PackSegInputs")]
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="NamedIoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
