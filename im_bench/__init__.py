"""im-bench: a benchmark harness for semi-supervised semantic segmentation."""

__version__ = "0.1.0"
