"""Inconsistency Masks inside MMSegmentation.

Importing this package (``custom_imports`` of a config) registers what a supervised config needs to
learn from unlabelled images as well: the hook, the loss, the data set and its sampler.
"""

from im_bench.data.loading import LoadImage, LoadLabels
from im_bench.data.transforms import LoadPseudoLabels
from im_bench.plugin.data import LabelledAndUnlabelled, LabelledUnlabelledSampler
from im_bench.plugin.hook import InconsistencyMaskHook
from im_bench.plugin.loss import InconsistencyMaskedLoss
from im_bench.plugin.online_teachers import EmaTeachers, SnapshotTeachers
from im_bench.plugin.teachers import TEACHERS, CheckpointTeachers, TeacherEnsemble

__all__ = [
    "TEACHERS",
    "CheckpointTeachers",
    "EmaTeachers",
    "InconsistencyMaskHook",
    "InconsistencyMaskedLoss",
    "LabelledAndUnlabelled",
    "LabelledUnlabelledSampler",
    "LoadImage",
    "LoadLabels",
    "LoadPseudoLabels",
    "SnapshotTeachers",
    "TeacherEnsemble",
]
