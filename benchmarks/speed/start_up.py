"""How long the light commands take, as a user waits for them.

python benchmarks/speed/start_up.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "im-bench --help": ["--help"],
    "im-bench plan --suite from-scratch": ["plan", "--suite", "from-scratch"],
}
HEAVY = ("torch", "mmengine", "mmseg", "cv2", "pandas", "wandb")
PROBE = "import sys; from im_bench.cli.app import main; sys.argv[1:] = {args}; " + (
    "\ntry: main()\nexcept SystemExit: pass\nsys.stderr.write(','.join(m for m in {heavy} "
    "if m in sys.modules))"
)


def measure(arguments: list[str], repeats: int = 7) -> dict[str, object]:
    """Return the median seconds of a command, and the heavy modules that it imports."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        command = [sys.executable, "-m", "im_bench.cli.app", *arguments]
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    probe = PROBE.format(args=arguments, heavy=HEAVY)
    imported = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    return {"seconds": round(statistics.median(seconds), 3), "imports": imported.stderr}


if __name__ == "__main__":
    print(json.dumps({name: measure(arguments) for name, arguments in COMMANDS.items()}, indent=2))
