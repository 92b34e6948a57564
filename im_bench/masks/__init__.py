"""Inconsistency Masks (IM): learn only from what several teachers agree on.

A few teachers, trained on the labelled images, predict every unlabelled one. Where all of them say
the same, that is the pseudo-label (:func:`consensus`). Where they differ, somebody is wrong: these
pixels form the *inconsistency mask*. They are taken out of the pseudo-label and also blanked in the
image (:func:`block_output`, :func:`block_input`), so that a student neither learns a doubtful label
nor sees what it would be about. The mask may be eroded and dilated first (:func:`erode`,
:func:`dilate`), and images with too much of it left out (:func:`agreed_foreground`,
:func:`same_classes`). :func:`inconsistency_masked` does all of this in order. The best students
are the next generation's teachers. Without the masks this is a model ensemble (ME):
:func:`mean_ensemble`, :func:`unanimous_ensemble`.

Labels are one byte per pixel (0/1, a class index, or one bit per class); everything is batched,
pure, works on any device and never waits for it.

Vorndran and Roeck, "Inconsistency Masks", arXiv 2401.14387.
"""

from im_bench.masks.bits import count_bits, pack_bits, unpack_bits
from im_bench.masks.blocking import block_input, block_output
from im_bench.masks.consensus import (
    Consensus,
    Space,
    consensus,
    deviating,
    foreground_sizes,
    inconsistent_sizes,
)
from im_bench.masks.ensembles import mean_ensemble, unanimous_ensemble
from im_bench.masks.filters import agreed_foreground, same_classes
from im_bench.masks.morphology import dilate, dilate_bits, dilate_classes, erode
from im_bench.masks.pseudo_labels import (
    ImageFilter,
    MaskedBatch,
    MaskOptions,
    grown_labels,
    inconsistency_masked,
    kept_images,
)

__all__ = [
    "Consensus",
    "ImageFilter",
    "MaskOptions",
    "MaskedBatch",
    "Space",
    "agreed_foreground",
    "block_input",
    "block_output",
    "consensus",
    "count_bits",
    "deviating",
    "dilate",
    "dilate_bits",
    "dilate_classes",
    "erode",
    "foreground_sizes",
    "grown_labels",
    "inconsistency_masked",
    "inconsistent_sizes",
    "kept_images",
    "mean_ensemble",
    "pack_bits",
    "same_classes",
    "unanimous_ensemble",
    "unpack_bits",
]
