"""Modules that are imported when they are first used.

A method's file holds its declaration and its algorithm. Planning reads the declaration of every
method and must not wait for PyTorch, so these files name it without importing it::

    if TYPE_CHECKING:
        import torch
    else:
        torch = lazy_module("torch")
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


class _LazyModule(ModuleType):
    """Stands for a module; importing it is left to the first use of an attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # introspection is no use
            raise AttributeError(name)
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value


def lazy_module(name: str) -> Any:
    """Return a stand-in for the module of that name, which need not be installed yet."""
    return _LazyModule(name)
