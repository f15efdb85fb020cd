"""A Ray of one node with a tier of models in it."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE = 60.0
STORE_BYTES = 100 * 2**20
LIGHT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}
"""What a test needs nothing of costs seconds at the start."""


@contextlib.contextmanager
def tier(*names: str, cpus: int = 1, max_replicas: int = 1) -> Iterator[None]:
    """The models are deployed, and this process belongs to their cluster."""
    # Replicas import what this process does.
    os.environ.update(LIGHT, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    import ray
    from ray import serve
    from ray.serve.config import ProxyLocation

    from fastrtc.cluster import models
    from fastrtc.cluster.model_calls import APP

    # Short, as sockets are in it, whose paths are bounded.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray") as folder:
        ray.init(
            address="local",
            num_cpus=8,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=STORE_BYTES,
            _temp_dir=folder,
        )
        try:
            serve.start(proxy_location=ProxyLocation.Disabled)
            serve.run(
                models(*names, cpus=cpus, max_replicas=max_replicas), name=APP, route_prefix=None
            )
            yield
        finally:
            serve.shutdown()
            ray.shutdown()
            # Ray does not wait for the processes it has ended, which is warned of when they are
            # forgotten: better here than in another test.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                gc.collect()


def replica_pids(name: str) -> list[int]:
    """The processes of a model's replicas, as the kernel knows them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (folder / "cmdline").read_bytes()
            if title.startswith(b"ray::ServeReplica") and name.encode() in title:
                found.append(int(folder.name))
    return found


def eventually(ready: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for what is to come."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)
