"""Cityscapes with the label partitions of the papers.

The folder is what `im-bench data prepare cityscapes-semi` writes; the environment variable
`CITYSCAPES` names it, and `PARTITIONS` the family of the lists: `u2pl`, as in U2PL, iMAS and
Inconsistency Masks, or `unimatch`, as in UniMatch, CPS and FPL. They label other images, so numbers
of both do not compare. As in the papers all images without a label are unlabelled ones, and
validation is on the official validation images.

A config picks a split by `train_dataloader = dict(dataset=_base_.lists[split])`.
"""

data_root = "{{$CITYSCAPES:data/cityscapes-semi}}"
family = "{{$PARTITIONS:u2pl}}"
labelled_images = {"1-16": 186, "1-8": 372, "1-4": 744, "1-2": 1488}
unlabelled_images = {"1-16": 2789, "1-8": 2603, "1-4": 2231, "1-2": 1487}
lists = {
    split: dict(
        labelled=dict(ann_file=f"lists/{family}-{split}/labelled.txt"),
        unlabelled=dict(ann_file=f"lists/{family}-{split}/unlabelled-and-val.txt"),
    )
    for split in labelled_images
}

mean_colour = (104, 116, 124)  # BGR, as images are loaded

# A recipe puts its weak view behind these.
load_labelled = [dict(type="LoadImage"), dict(type="LoadLabels")]
load_unlabelled = [dict(type="LoadImage"), dict(type="BlankAnnotations")]

images = dict(
    type="CityscapesDataset",
    data_root=data_root,
    data_prefix=dict(img_path="images", seg_map_path="labels"),
    img_suffix=".png",
    seg_map_suffix=".png",
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
