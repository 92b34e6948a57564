"""Semi-supervised methods: which there are, and where. Light: nothing here imports torch."""

from __future__ import annotations

from im_bench.methods.registry import known_methods, method_class

__all__ = ["known_methods", "method_class"]
