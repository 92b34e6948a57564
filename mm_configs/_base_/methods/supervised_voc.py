"""Supervised learning on the labelled images of Pascal only, with UniMatch's recipe.

As there a batch has 16 labelled images, and an epoch is one pass over the labelled list, which is
not repeated.
"""

_base_ = "../recipes/unimatch_voc.py"
batch_size = 16
schedule = {
    split: dict(max_iters=_base_.epochs * (images // batch_size), val_interval=images // batch_size)
    for split, images in _base_.labelled_images.items()
}
lists = {
    split: dict(labelled=each["labelled"], _delete_=True) for split, each in _base_.lists.items()
}
train_dataloader = dict(batch_size=batch_size, dataset=dict(unlabelled=None))
model = dict(method=dict(name="supervised"))
