"""What a cluster serves: the stream of app.py, as an application of Ray Serve."""

from __future__ import annotations

from fastrtc.cluster import deployment

app = deployment(
    "app:stream",  # each replica reads it for itself, and loads models of its own
    replicas=(2, 20),
    slots=40,
    # The manifests beside this file wait as long as this, and somewhat longer.
    grace=600,
)
