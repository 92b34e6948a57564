"""Inconsistency Masks in a single training: the teachers are averages of the student.

The papers' generations have trained teachers instead: `--teachers A.pth B.pth` of tools/train.py
puts them in the averages' place.
"""

custom_hooks = [
    dict(
        type="InconsistencyMaskHook",
        teachers=dict(type="EmaTeachers", decays=[0.99, 0.996, 0.999]),
        log_interval=50,
    )
]
