"""What the tests of a stream on a cluster ask of Serve; called by the driver of `RayHosts`."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation

from fastrtc.cluster import deployment

NAME = "fastrtc"


def start(port: int) -> None:
    """Start Serve, with a proxy on each host that has a replica."""
    serve.start(
        http_options=HTTPOptions(host="0.0.0.0", port=port, location=ProxyLocation.EveryNode)
    )


def deploy(replicas: list[int], wait: bool = True, **options: Any) -> None:
    """Deploy `tests.e2e.cluster_apps`.

    ``wait``: until it runs, and the old replicas are gone.
    """
    app = deployment(
        "tests.e2e.cluster_apps:stream",
        app="tests.e2e.cluster_apps:with_routes",
        replicas=(replicas[0], replicas[-1]),
        options={"ray_actor_options": {"num_cpus": 0.1}},
        **options,
    )
    target = serve.RunTarget(app, name=NAME, route_prefix="/")
    serve.run_many([target], wait_for_applications_running=wait)


def states() -> Any:
    """How many replicas are in each state."""
    application = serve.status().applications.get(NAME)
    return application.deployments["Line"].replica_states if application else {}
