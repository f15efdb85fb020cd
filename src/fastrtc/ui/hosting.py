"""Hosts on which a call needs a TURN server."""

from __future__ import annotations

from gradio.utils import colab_check, get_space

from fastrtc.stream import Stream


def check_hosting(stream: Stream) -> None:
    """Find out whether calls can reach this machine.

    Raises:
        RuntimeError: this is Colab or a Space, and there is no ``rtc_configuration``.
    """
    host = "Colab" if colab_check() else "Hugging Face Spaces" if get_space() else ""
    if host and not stream.rtc_configuration:
        raise RuntimeError(
            f"On {host} no call gets through without a TURN server, as its machines take no UDP "
            "from outside. Give the stream an rtc_configuration, such as "
            "Stream(..., rtc_configuration=get_cloudflare_turn_credentials_async): see the page "
            "on deploying in the documentation."
        )
