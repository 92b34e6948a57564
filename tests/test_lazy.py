from __future__ import annotations

import subprocess
import sys

import pytest

from im_bench.lazy import lazy_module


def test_module_is_imported_on_first_use_only():
    script = (
        "import sys; from im_bench.lazy import lazy_module; m = lazy_module('colorsys');"
        "assert 'colorsys' not in sys.modules;"
        "assert m.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0);"
        "assert 'colorsys' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_missing_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = lazy_module("math").nothing


def test_missing_module_is_reported_on_use():
    missing = lazy_module("no_such_module_at_all")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        _ = missing.anything
