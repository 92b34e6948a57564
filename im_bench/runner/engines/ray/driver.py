"""The process that holds the connection to a Ray cluster.

Ray's library ends its process when the cluster is lost, writes to the terminal and takes over
signals. Here it does so without harm to the runner. When the runner dies, all stages are asked to
stop at their next safe point.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection

import ray
from ray.exceptions import (
    AuthenticationError,
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from im_bench.errors import ImBenchError
from im_bench.runner.engines.ray.messages import Cancel, Cluster, Over, Refused, Room, Start
from im_bench.runner.engines.ray.task import run_stage
from im_bench.runner.failures import Cause, Failure

#: Seconds between looks at the tasks, and at the nodes.
POLL_SECONDS, LOOK_SECONDS = 0.1, 2.0
#: Seconds that stages have to stop after the runner died.
GRACE_SECONDS = 30.0


def main(descriptor: int, address: str) -> None:
    """Serve the runner at the other end of a connection until it closes it."""
    runner = Connection(descriptor)
    try:
        connect(address)
    except ImBenchError as error:
        runner.send(Refused(str(error)))
        return
    _Driver(runner).serve()
    ray.shutdown()


def connect(address: str) -> None:
    """Connect this process to a Ray cluster.

    Raises:
        ImBenchError: There is none, or this machine cannot take part in it.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or "auto"
    if address != "auto":
        _knock(address)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        raise ImBenchError(
            "no Ray cluster runs on this machine: start one with `ray start --head`, join one with "
            "`ray start --address HOST:PORT`, or name another machine's with --address HOST:PORT"
        ) from None
    except AuthenticationError:
        raise ImBenchError(
            f"the Ray cluster at {address} wants a token: copy ~/.ray/auth_token from its head "
            "and set RAY_AUTH_MODE=token"
        ) from None
    except (RuntimeError, OSError, ValueError, RayError) as error:
        raise ImBenchError(_explain(address, str(error))) from None


def _knock(address: str) -> None:
    """Make sure that somebody listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ImBenchError(
            f"{address} is no address of a Ray cluster: give HOST:PORT as `ray start --head` names "
            "it, or auto for the one on this machine"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except (OSError, OverflowError) as error:
        raise ImBenchError(
            f"no Ray cluster answers at {address} ({error}): see whether its head runs, and the "
            "address that `ray start --head` named"
        ) from None


def _explain(address: str, error: str) -> str:
    text = " ".join(error.split())
    if "Version mismatch" in text:
        return f"{text}: install the same versions of Ray and Python on all machines"
    if "node info" in text or "raylet" in text:
        return (
            f"this machine is no node of the Ray cluster at {address}: join it with "
            f"`ray start --address {address} --num-cpus 0`, or run im-bench on a node"
        )
    return f"no connection to the Ray cluster at {address}: {text}"


class _Driver:
    """Carries out what the runner says, and tells it what becomes of its tasks."""

    def __init__(self, runner: Connection) -> None:
        self._runner = runner
        self._task = ray.remote(run_stage)
        self._running: dict[ray.ObjectRef[int], str] = {}
        self._cluster: Cluster | None = None
        self._next_look = 0.0

    def serve(self) -> None:
        """Run until the runner closes the connection, then end what still runs."""
        with suppress(EOFError, OSError):
            while True:
                self._look()
                while self._runner.poll(0 if self._running else LOOK_SECONDS / 4):
                    self._obey(self._runner.recv())
                for over in self._ended():
                    self._runner.send(over)
        self._cancel(at_once=False)
        deadline = time.monotonic() + GRACE_SECONDS
        while self._running and time.monotonic() < deadline:
            self._ended()

    def _obey(self, message: Start | Cancel) -> None:
        if isinstance(message, Cancel):
            self._cancel(message.at_once)
            return
        needs = message.needs
        task = self._task.options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=int(needs.memory * 2**30) or None,
            max_retries=0,
            name=os.path.basename(message.path),  # noqa: PTH119 - a name, not a file
        )
        self._running[task.remote(message.path)] = message.path

    def _cancel(self, at_once: bool) -> None:
        for reference in self._running:
            ray.cancel(reference, force=at_once)

    def _ended(self) -> list[Over]:
        """Return the tasks that are over, after a short while if there are none."""
        if not self._running:
            return []
        done, _ = ray.wait(list(self._running), timeout=POLL_SECONDS)
        return [_over(self._running.pop(reference), reference) for reference in done]

    def _look(self) -> None:
        """Tell the runner, not too often, which nodes there are."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        nodes = tuple(_room(node["Resources"]) for node in ray.nodes() if node["Alive"])  # type: ignore[no-untyped-call]
        cluster = Cluster(nodes, _possible())
        if cluster != self._cluster:
            self._runner.send(cluster)
            self._cluster = cluster


def _over(path: str, reference: ray.ObjectRef[int]) -> Over:
    try:
        return Over(path, ray.get(reference))
    except OutOfMemoryError:
        why = "Ray ended it because its node ran out of memory: reduce batch or size"
        return Over(path, 1, failure=Failure(Cause.MEMORY, why))
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ImBenchError):
            return Over(path, 1, failure=Failure(Cause.INPUT, str(cause)))
        why = f"its Ray worker could not start it: {type(cause).__name__}: {cause}"
        return Over(path, 1, failure=Failure(Cause.ERROR, why))
    except TaskCancelledError:
        return Over(path, lost="Ray cancelled it")
    except (NodeDiedError, LocalRayletDiedError):
        return Over(path, lost="its Ray node died")
    except WorkerCrashedError:
        return Over(path, lost="its Ray worker or node died")
    except RayError as error:
        text = next(iter(str(error).splitlines()), "")
        return Over(path, lost=f"Ray lost it ({type(error).__name__}: {text})")


def _room(resources: Mapping[str, float]) -> Room:
    return Room(
        resources.get("CPU", 0.0),
        resources.get("GPU", 0.0),
        resources.get("memory", 0.0) / 2**30,
    )


def _possible() -> Room:
    """Return what an autoscaler could add at most; nothing where there is none."""
    try:
        from ray._private.state import state

        return _room(state.get_max_resources_from_cluster_config() or {})
    except (ImportError, AttributeError):  # no public function says it
        return Room()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
