"""All weights that the package can use, by the names that users know."""

from __future__ import annotations

from typing import Final

from fastrtc.models.end_of_turn.smart_turn import SMART_TURN
from fastrtc.models.stt.moonshine_weights import BASE, TINY
from fastrtc.models.tts.kokoro_weights import KOKORO, SPARE_VOICES, VOICES
from fastrtc.models.vad.silero import WEIGHTS as SILERO
from fastrtc.models.weights import Weights

CATALOGUE: Final[dict[str, tuple[Weights, ...]]] = {
    "silero-vad": (SILERO,),
    "smart-turn": (SMART_TURN,),
    "moonshine/tiny": TINY,
    "moonshine/base": BASE,
    "kokoro": (KOKORO, VOICES["af_heart"]),
    "kokoro/voices": tuple(VOICES.values()),
    "kokoro/spare-voices": (SPARE_VOICES,),
}
