"""Inconsistency Masks of trained teachers, which `--teachers A.pth B.pth` of tools/train.py names.

Averages of the student instead, in one training:
`--cfg-options custom_hooks.0.teachers.type=EmaTeachers`.
"""

custom_hooks = [
    dict(type="InconsistencyMaskHook", teachers=dict(type="CheckpointTeachers"), log_interval=50)
]
