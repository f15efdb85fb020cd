"""Speech for tests: Kokoro says it, and Moonshine reads it. Each sentence is made once."""

from __future__ import annotations

import importlib.util
import re
from functools import cache

from fastrtc import KokoroTTSOptions, get_stt_model, get_tts_model
from fastrtc.audio.convert import audio_to_int16
from fastrtc.models.stt.moonshine import moonshine_available
from fastrtc.models.tts.kokoro_weights import KOKORO, SPARE_VOICES, VOICES
from tests.conftest import Sound, missing

HEART = "af_heart"
KUMO = "jm_kumo"
"""Japanese, for a second speaker: a package carries it."""
QUESTION = "What time is it?"
ASKED = "Computer, what time is it?"
CALLED = "Computer."


@cache
def said(text: str, voice: str = HEART) -> Sound:
    """A sentence; 24 kHz, shape (1, n)."""
    have_voice = VOICES[voice].find() or SPARE_VOICES.find()
    if importlib.util.find_spec("kokoro_onnx") is None or not KOKORO.find() or not have_voice:
        missing("Kokoro")
    rate, samples = get_tts_model().tts(text, KokoroTTSOptions(voice=voice))
    return rate, audio_to_int16(samples)[None]


def read(audio: Sound) -> str:
    """The words of a clip, without punctuation and capitals."""
    if not moonshine_available():
        missing("Moonshine")
    return " ".join(re.findall(r"[a-z']+", get_stt_model().stt(audio).lower()))
