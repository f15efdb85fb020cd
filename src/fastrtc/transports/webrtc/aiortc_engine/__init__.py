"""An engine on aioice, aiortc (DTLS and SCTP), libsrtp and PyAV, with our own media path."""

from fastrtc.transports.webrtc.aiortc_engine.peer import AiortcEngine

__all__ = ["AiortcEngine"]
