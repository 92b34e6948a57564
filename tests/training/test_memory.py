from __future__ import annotations

import subprocess
import sys

import pytest

# Frees and asks again for 32 MiB; prints how many pages the kernel had to give anew.
_CODE = """
import resource, torch
from im_bench.training.memory import keep_freed_memory
{call}
for _ in range(4):
    torch.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    torch.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str) -> int:
    code = _CODE.format(call=call)
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return int(output.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_is_used_again() -> None:
    assert faults("keep_freed_memory()") < faults("") / 4
