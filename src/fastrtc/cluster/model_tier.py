"""The tier of models as an application of Ray Serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastrtc.cluster import MISSING
from fastrtc.models.place import wanted

if TYPE_CHECKING:
    from ray.serve import Application

GPU_SHARE: Final = 0.2
"""Of a GPU that a replica is given, where the cluster has any: the models fit on one together."""


@dataclass(frozen=True)
class Kind:
    """How a model is deployed.

    Attributes:
        replica: the class in `model_replicas`.
        given: to it.
        target: requests under way for each CPU of a replica, from which on there are more of them.
        ongoing: requests for each CPU that a replica takes at most.
        queued: requests that a caller's process holds back at most; the next is refused at once.
    """

    replica: str
    given: tuple[Any, ...]
    target: float
    ongoing: int
    queued: int


KINDS: Final[dict[str, Kind]] = {
    "stt-moonshine-tiny": Kind("MoonshineReplica", ("tiny",), 4, 32, 32),
    "stt-moonshine-base": Kind("MoonshineReplica", ("base",), 2, 32, 32),
    "tts-kokoro": Kind("KokoroReplica", (), 1, 2, 8),
    "end-of-turn-smart-turn": Kind("SmartTurnReplica", (), 1, 3, 4),
}
"""All models that a tier can have, by the name of their deployment."""


def models(
    *names: str,
    min_replicas: int = 1,
    max_replicas: int = 4,
    cpus: int = 1,
    gpus: float | None = None,
) -> Application:
    """The tier of models as a Serve application, a deployment for each.

    Run it as ``serve.run(models(...), name="fastrtc-models", route_prefix=None)``: by this name it
    is found.

    Args:
        names: of the models, as in `KINDS`; by default those that this process has `wanted`.
        min_replicas: of each model.
        max_replicas: of each model; the load decides how many there are.
        cpus: that a replica has; it does as many jobs side by side.
        gpus: share of a GPU that a replica has; by default `GPU_SHARE` where the cluster has any.

    Raises:
        ValueError: there is no such model, or none is asked for.
        ImportError: ``fastrtc[cluster]`` is not installed.
    """
    names = names or wanted()
    if not names or (unknown := [name for name in names if name not in KINDS]):
        asked = ", ".join(unknown) if names else "none"
        raise ValueError(f"expected some of the models {', '.join(KINDS)}, got {asked}")
    try:
        import ray
        from ray import serve
        from ray.serve.config import AutoscalingConfig
        from ray.serve.schema import LoggingConfig
    except ImportError as error:
        raise ImportError(f"{MISSING} ({error})") from error
    from fastrtc.cluster import model_replicas

    if gpus is None:
        gpus = GPU_SHARE if ray.is_initialized() and ray.cluster_resources().get("GPU") else 0
    made = []
    for name in dict.fromkeys(names):
        kind = KINDS[name]
        deployment = serve.deployment(
            name=name,
            ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
            max_ongoing_requests=kind.ongoing * cpus,
            max_queued_requests=kind.queued,
            autoscaling_config=AutoscalingConfig(
                min_replicas=min_replicas,
                max_replicas=max_replicas,
                target_ongoing_requests=kind.target * cpus,
            ),
            # A line for each clause and each pause would cost more than it tells.
            logging_config=LoggingConfig(enable_access_log=False),
        )
        made.append((deployment(getattr(model_replicas, kind.replica)), kind.given))
    (root, given), *others = made
    # An application has one root, which here carries the others.
    return root.bind(*given, cpus, *(other.bind(*theirs, cpus) for other, theirs in others))
