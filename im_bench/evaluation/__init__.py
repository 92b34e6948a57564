"""How good a prediction is: overlap, cell counts, and their mmengine metrics.

``overlap`` counts pixels and makes IoU, Dice and accuracy of them; ``cells`` finds, redraws and
counts cells; ``presence`` says which classes an image shows; ``metrics`` registers all of it with
mmengine. ``metric`` says what a metric is, ``scores`` has the built-in ones, and ``registry`` finds
them by name. Import the modules by name: the light ones must not bring torch.
"""
