"""What online semi-supervised methods are made of: views, pseudo-labels, mixing, losses, teachers.

A method (:mod:`im_bench.methods.online`) arranges these parts; :class:`SemiSupervisedSegmentor`
wraps a segmentor of MMSegmentation and lets a method train it.
"""
