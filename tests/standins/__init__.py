"""Services of others, as far as our examples use them: strict about what they get."""

from __future__ import annotations

from tests.standins.chat import chat_endpoint
from tests.standins.live import live_model
from tests.standins.realtime import realtime_model
from tests.standins.speech import Speech

__all__ = ["Speech", "chat_endpoint", "live_model", "realtime_model"]
