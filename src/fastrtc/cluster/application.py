"""A stream as an application of Ray Serve."""

from __future__ import annotations

import math
from typing import Any, Final

from ray import cloudpickle, serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig

from fastrtc.admission import DEFAULT_LIMIT
from fastrtc.cluster import CPUS, GRACE
from fastrtc.cluster.replica import AppSource, Line, Settings, Source
from fastrtc.cluster.scaling import ByCalls
from fastrtc.stream import Stream
from fastrtc.transports.webrtc.place import read_place

PATIENCE: Final = 60.0
"""Seconds for which fewer replicas must have been enough before one leaves."""
SPARE: Final = 30.0
"""Seconds that a replica has beyond that, to say goodbye and to be gone."""
TARGET: Final = 0.7
"""The share of its slots that a replica should have taken: the others are there for those who
call while another replica starts."""
REQUESTS: Final = 1_000
"""That a replica has at once: a socket is one for as long as its call lasts."""


def deployment(
    stream: Source,
    *,
    app: AppSource | None = None,
    replicas: int | tuple[int, int] = 1,
    slots: int = DEFAULT_LIMIT,
    target: float = TARGET,
    patience: float = PATIENCE,
    grace: float = GRACE,
    media_address: str | None = None,
    media_ports: str | None = None,
    options: dict[str, Any] | None = None,
) -> serve.Application:
    """The Serve application of a stream, for `ray.serve.run`.

    Args:
        stream: a stream; or where one is, as ``"module:stream"``, which each replica reads for
            itself.
        app: the FastAPI app that the stream is mounted on, in the place of the built-in page and
            the routes: a function that gives it, called with the stream in each replica, or where
            that or the app is, as ``"module:app"``.
        replicas: how many; or the fewest and the most, between which Serve's autoscaler follows
            the live calls.
        slots: calls that a replica has room for.
        target: the share of its slots that the autoscaler wants taken.
        patience: seconds for which fewer replicas must have been enough before one leaves.
        grace: seconds that live calls have to end where a replica leaves.
        media_address: the IP address at which callers reach the media; None for that which
            ``FASTRTC_MEDIA_ADDRESS`` says on each host, or all that a host has.
        media_ports: the UDP ports for media, such as ``"50000-50199"``; the same.
        options: what else `ray.serve.deployment` takes, such as ``ray_actor_options`` or
            ``max_replicas_per_node``.

    Raises:
        ValueError: a number is none that can be served.
        TypeError: the stream cannot be sent to replicas; the text says why.
    """
    if not isinstance(stream, str):
        _check_travels(stream)
    read_place(media_address, media_ports)
    fewest, most = (replicas, replicas) if isinstance(replicas, int) else replicas
    if not 1 <= fewest <= most:
        raise ValueError(f"expected replicas of 1 or more, or (fewest, most), got {replicas!r}")
    if slots < 1:
        raise ValueError(f"expected slots of 1 or more, got {slots!r}")
    if not 0 < target <= 1:
        raise ValueError(f"expected a target over 0 and up to 1, got {target!r}")
    for name, seconds in ("patience", patience), ("grace", grace):
        if not 0 <= seconds < math.inf:
            raise ValueError(f"expected a {name} of 0 s or more, got {seconds!r}")
    # Its own types of what it takes are wrong.
    routing: Any = RequestRouterConfig
    chosen: dict[str, Any] = {
        "name": "Line",
        "ray_actor_options": {"num_cpus": CPUS},
        "max_ongoing_requests": REQUESTS,
        "graceful_shutdown_timeout_s": grace + SPARE,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": 1.0,
        "health_check_timeout_s": 5.0,
        # All that are new, before one that is old goes: nobody waits for a place meanwhile.
        "max_surge_percent": 100,
        "rolling_update_percentage": 1.0,
        "request_router_config": routing(
            request_router_class="fastrtc.cluster.router:CallRouter",
            request_routing_stats_period_s=1.0,
        ),
    }
    if fewest == most:
        chosen["num_replicas"] = fewest
    else:
        chosen["autoscaling_config"] = AutoscalingConfig(
            min_replicas=fewest,
            max_replicas=most,
            upscale_delay_s=1.0,
            downscale_delay_s=patience,
            look_back_period_s=2.0,
            # Without it replicas tell of their calls every ten seconds.
            metrics_interval_s=1.0,
            policy=AutoscalingPolicy(
                policy_function=ByCalls, policy_kwargs={"slots": slots, "target": target}
            ),
        )
    chosen.update(options or {})
    line: Any = serve.deployment(**chosen)(serve.ingress()(Line))
    bound: serve.Application = line.bind(
        stream, app, Settings(slots, grace, media_address, media_ports)
    )
    return bound


def _check_travels(stream: Stream) -> None:
    if not isinstance(stream, Stream):
        raise TypeError(
            f'expected a Stream, or where one is, as "module:stream", got {type(stream).__name__}'
        )
    try:
        cloudpickle.dumps(stream)
    except Exception as error:
        raise TypeError(
            "This stream cannot be sent to replicas, as what its handler uses cannot be pickled "
            f'({error}). Let each replica read it for itself: deployment("module:stream").'
        ) from error
