"""``fastrtc serve``: a stream on a cluster, or on all cores of this machine."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shlex
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from fastrtc.admission import DEFAULT_LIMIT
from fastrtc.cluster import CPUS, GRACE, MISSING

TOKEN: Final = Path.home() / ".ray" / "auth_token"
"""Where Ray keeps the token that it makes for clusters of its own."""
UNCOUNTED: Final = 1_000
"""CPUs that Ray is told of where the machine is all that there is: what a replica reserves says on
which host of a cluster it goes, and here there is one."""
REACHED_WITHIN: Final = 2.0
"""Seconds in which a proxy takes a connection."""
ERROR_LINES: Final = 6
"""Of a replica's error, that are shown below it all."""


def add_to(command: argparse.ArgumentParser) -> None:
    """Declare the options. Ray is not needed for that."""
    add = command.add_argument
    add("target", help="module:stream or file.py:stream")
    add("--app", metavar="module:app", help="a FastAPI app of your own, with the stream mounted")
    add("--host", default="127.0.0.1", help="default: %(default)s")
    add("--port", type=int, default=7860, help="default: %(default)s")
    add(
        "--replicas",
        type=read_replicas,
        default=(1, 1),
        metavar="N or MIN-MAX",
        help="how many processes; with a range as many as the live calls need; default: 1",
    )
    add(
        "--slots",
        type=read_slots,
        default=DEFAULT_LIMIT,
        help="calls that a replica has room for; default: %(default)s",
    )
    add(
        "--grace",
        type=read_grace,
        default=GRACE,
        metavar="SECONDS",
        help="how long calls may go on where a replica leaves; default: %(default)g",
    )
    add(
        "--cpus",
        type=read_cpus,
        default=CPUS,
        metavar="N",
        help="of Ray's, that a replica reserves on a cluster: 1 where models are in it; "
        "default: %(default)g",
    )
    add("--name", default="fastrtc", help="of the Serve application; default: %(default)s")
    add(
        "--address",
        default=None,
        help='of a Ray cluster to join, or "auto" for one on this machine; '
        "without it, one is started, and ends with this command",
    )


def read_replicas(text: str) -> tuple[int, int]:
    """The fewest and the most replicas that ``"3"`` or ``"2-8"`` asks for."""
    first, dash, last = text.partition("-")
    try:
        fewest, most = int(first), int(last if dash else first)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected N or MIN-MAX, got {text!r}") from None
    if not 1 <= fewest <= most:
        raise argparse.ArgumentTypeError(f"expected 1 or more, and MIN up to MAX, got {text!r}")
    return fewest, most


def read_slots(text: str) -> int:
    """A number of calls."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 call or more, got {text!r}")
    return int(text)


def read_grace(text: str) -> float:
    """A number of seconds."""
    return _read_number(text, "0 s or more")


def read_cpus(text: str) -> float:
    """A number of CPUs."""
    return _read_number(text, "0 CPUs or more")


def _read_number(text: str, expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return number


def run(options: argparse.Namespace) -> None:
    """Deploy, and stay until the process is stopped if the cluster is ours."""
    _prepare_ray(options)
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise SystemExit(f"{MISSING} ({error})") from None
    from fastrtc.loading import load_stream
    from fastrtc.server import name_of

    load_stream(options.target)  # so that a mistake in it is seen here, and now
    _start(options)
    _deploy(options)
    if not _is_ours(options) and not _is_reached(options):
        print(
            f"\n  It is served, but not at port {options.port} of this machine: the proxies of a "
            "Serve that runs already keep the host and the port that it was started with.",
            flush=True,
        )
        return
    print(f"\n  Open http://{name_of(options.host)}:{options.port} and talk.", flush=True)
    if _is_ours(options):
        # Its port is another one each time, and other clusters may be on this machine.
        address = ray.get_runtime_context().gcs_address
        again = shlex.join(["fastrtc", *sys.argv[1:], "--address", address])
        print(f"  To update it: {again}\n", flush=True)
        _stay(serve, options.name, options.grace)
        ray.shutdown()


def _is_ours(options: argparse.Namespace) -> bool:
    """Whether the cluster begins and ends with this command."""
    return options.address is None


def _is_reached(options: argparse.Namespace) -> bool:
    """Whether a proxy of Serve's listens where the options say."""
    from fastrtc.server import name_of

    place = name_of(options.host), options.port
    with contextlib.suppress(OSError), socket.create_connection(place, REACHED_WITHIN):
        return True
    return False


def _prepare_ray(options: argparse.Namespace) -> None:
    """Set what Ray reads when it is imported."""
    # What Ray tells of its use, and where, is for its users to decide.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Or every other call would be missing in the log.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    if not _is_ours(options) and TOKEN.exists():
        # A Ray that was started on this machine wants it, and does not look for it by itself.
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _start(options: argparse.Namespace) -> None:
    """Start a cluster, or join one, and see that Serve runs there."""
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions, ProxyLocation

    from fastrtc.server import check_port

    ours = _is_ours(options)
    if ours:
        check_port(options.host, options.port)
    ray.init(
        address=options.address or "local",
        num_cpus=UNCOUNTED if ours else None,
        include_dashboard=False if ours else None,
        log_to_driver=ours,
        logging_level=logging.WARNING,
        namespace="serve",
    )
    location = ProxyLocation.HeadOnly if ours else ProxyLocation.EveryNode
    serve.start(
        http_options=HTTPOptions(host=options.host, port=options.port, location=location),
    )


def _deploy(options: argparse.Namespace) -> None:
    """Deploy the stream, and the models that it wants of a tier."""
    from ray import serve

    from fastrtc.cluster import deployment, models, wanted
    from fastrtc.cluster.model_calls import APP

    if wanted():
        serve.run(models(), name=APP, route_prefix=None)
    app = deployment(
        _from_anywhere(options.target),
        app=options.app and _from_anywhere(options.app),
        replicas=options.replicas,
        slots=options.slots,
        grace=options.grace,
        media_address=options.media_address,
        media_ports=options.media_ports,
        options={"ray_actor_options": {"num_cpus": options.cpus}},
    )
    try:
        serve.run(app, name=options.name, route_prefix="/")
    except RuntimeError as error:
        raise SystemExit(f"{error}\n{_why(serve, options.name)}") from None


def _why(serve: Any, name: str) -> str:
    """What Serve says of a deployment that did not start: the end of its error."""
    found = serve.status().applications.get(name)
    told = [it.message for it in found.deployments.values()] if found else []
    return "\n".join("\n".join(text.strip().splitlines()[-ERROR_LINES:]) for text in told)


def _from_anywhere(target: str) -> str:
    """The same for a process that is started in another folder."""
    place, colon, name = target.partition(":")
    return f"{os.path.abspath(place)}{colon}{name}" if place.endswith(".py") else target


def _stay(serve: Any, name: str, grace: float) -> None:
    """Wait for a signal, then let the calls end; a second signal ends them at once."""
    from fastrtc.cluster.switchboard import let_end

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
    with contextlib.suppress(KeyboardInterrupt):
        print("  The calls that are live may end. Ctrl-C ends them now.", flush=True)
        let_end(name, grace)
        serve.delete(name)
