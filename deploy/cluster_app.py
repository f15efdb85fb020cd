"""What a cluster serves: the stream of app.py, as an application of Ray Serve."""

from __future__ import annotations

from fastrtc.cluster import deployment

app = deployment(
    "app:stream",  # each replica reads it for itself, and loads models of its own
    replicas=(2, 20),
    # The models of app.py are in each replica: docs/deploying/scaling.md has what a core carries.
    slots=20,
    options={"ray_actor_options": {"num_cpus": 1}},
    # The manifests beside this file wait as long as this, and somewhat longer.
    grace=600,
)
