"""What all calls of a process share: worker threads, voice detection, endpointing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from fastrtc.models.end_of_turn.source import EndpointSource, EndpointWorker
from fastrtc.models.vad.batcher import VadBatcher, VadSource
from fastrtc.threads import Workers


@dataclass
class Runtime:
    """Shared services. Tests make their own."""

    workers: Workers = field(default_factory=Workers)
    vad: VadSource = field(default_factory=VadBatcher)
    endpoint: EndpointSource = field(default_factory=EndpointWorker)


@cache
def shared_runtime() -> Runtime:
    """The one of this process."""
    return Runtime()
