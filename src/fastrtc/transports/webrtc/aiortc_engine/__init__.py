"""An engine on aioice (ICE), aiortc (DTLS, SCTP), libsrtp and PyAV, with a media path of our own."""

from fastrtc.transports.webrtc.aiortc_engine.peer import AiortcEngine

__all__ = ["AiortcEngine"]
