"""A Ray cluster of several nodes on this machine, in a process of its own.

It is told on standard input what to do, and answers each line with one: ``add {...}`` starts a
node and answers with the process number of its raylet; ``kill PID`` kills a raylet, ``lose PID``
also its workers, at the same moment, as when the machine fails. At the end of the input the cluster
ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}


def main(folder: str) -> None:
    os.environ["RAY_TMPDIR"] = folder  # also keeps `ray_current_cluster` out of /tmp/ray
    Path(folder, "ray").mkdir()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    answer(cluster.address)
    nodes = {}
    for line in sys.stdin:
        what, _, argument = line.partition(" ")
        if what == "add":
            node = cluster.add_node(**SMALL, **json.loads(argument))
            pid = node.all_processes["raylet"][0].process.pid
            nodes[pid] = node
            answer(pid)
        else:
            if what == "lose":
                lose(int(argument))
            cluster.remove_node(nodes.pop(int(argument)), allow_graceful=False)
            answer("killed")
    cluster.shutdown()


def lose(raylet: int) -> None:
    """Kill a raylet and the workers that it started, before either can do anything about it."""
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    for pid in (raylet, *map(int, children)):
        os.kill(pid, signal.SIGKILL)


def answer(value: Any) -> None:
    sys.__stdout__.write(json.dumps(value) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    main(sys.argv[1])
