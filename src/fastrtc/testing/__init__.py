"""A caller on virtual time: test a handler without a network, and without waiting.

from fastrtc.testing import VirtualCall, load_speech

with VirtualCall(ReplyOnPause(echo)) as call:
    call.say(load_speech("hello.wav"))
    call.wait(3.0)
    assert len(call.turns) == 1
    rate, heard = call.heard
"""

from fastrtc.testing.call import Message, VirtualCall
from fastrtc.testing.files import load_speech

__all__ = ["Message", "VirtualCall", "load_speech"]
