"""FastRTC: turns a Python function into a live voice line.

The names below are imported when they are first used, so that ``import fastrtc`` is quick and
loads no model, no codec and no web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

__version__: Final = "1.0.0.dev0"

_HOMES: Final[dict[str, str]] = {
    "AdditionalOutputs": "fastrtc.handlers.values",
    "AlgoOptions": "fastrtc.turns.options",
    "AppState": "fastrtc.handlers.reply_on_pause",
    "AsyncStreamHandler": "fastrtc.handlers.base",
    "AudioEmitType": "fastrtc.handlers.values",
    "CartesiaTTSOptions": "fastrtc.models.tts.cartesia",
    "CloseStream": "fastrtc.handlers.values",
    "CallError": "fastrtc.transports.telephone.outbound",
    "Context": "fastrtc.context",
    "EndOfTurnModel": "fastrtc.models.end_of_turn.protocol",
    "Heard": "fastrtc.turns.record",
    "InterruptionPolicy": "fastrtc.turns.options",
    "KokoroTTSOptions": "fastrtc.models.tts.speaker",
    "ModelBusy": "fastrtc.models.inference",
    "ModelOptions": "fastrtc.models.vad.silero",
    "MoonshineSTT": "fastrtc.models.stt.recogniser",
    "OpusOptions": "fastrtc.transports.opus",
    "PauseDetectionModel": "fastrtc.models.vad.silero",
    "PhoneCall": "fastrtc.context",
    "ReplyOnPause": "fastrtc.handlers.reply_on_pause",
    "ReplyOnStopWords": "fastrtc.handlers.reply_on_stopwords",
    "STTModel": "fastrtc.models.stt.recogniser",
    "SileroVadOptions": "fastrtc.models.vad.silero",
    "SipAccount": "fastrtc.transports.sip.account",
    "SmartTurn": "fastrtc.models.end_of_turn.smart_turn",
    "Spoken": "fastrtc.audio.spoken",
    "Stream": "fastrtc.stream",
    "StreamHandler": "fastrtc.handlers.base",
    "TTSModel": "fastrtc.models.tts.voice",
    "TelephoneOptions": "fastrtc.transports.telephone.provider",
    "Transcript": "fastrtc.models.stt.captions",
    "Turn": "fastrtc.turns.record",
    "UIArgs": "fastrtc.stream",
    "Warning": "fastrtc.errors",
    "WebRTC": "fastrtc.ui.component",
    "WebRTCData": "fastrtc.handlers.values",
    "WebRTCError": "fastrtc.errors",
    "aggregate_bytes_to_16bit": "fastrtc.audio.files",
    "async_aggregate_bytes_to_16bit": "fastrtc.audio.files",
    "audio_to_bytes": "fastrtc.audio.files",
    "audio_to_file": "fastrtc.audio.files",
    "audio_to_float32": "fastrtc.audio.convert",
    "audio_to_int16": "fastrtc.audio.convert",
    "get_cloudflare_turn_credentials": "fastrtc.turn_servers",
    "get_cloudflare_turn_credentials_async": "fastrtc.turn_servers",
    "get_current_context": "fastrtc.context",
    "get_hf_turn_credentials": "fastrtc.turn_servers",
    "get_hf_turn_credentials_async": "fastrtc.turn_servers",
    "get_silero_model": "fastrtc.models.vad.silero",
    "get_stt_model": "fastrtc.models.stt.recogniser",
    "get_tts_model": "fastrtc.models.tts.speaker",
    "get_turn_credentials": "fastrtc.turn_servers",
    "get_turn_credentials_async": "fastrtc.turn_servers",
    "get_twilio_turn_credentials": "fastrtc.turn_servers",
    "get_twilio_turn_credentials_async": "fastrtc.turn_servers",
    "stt_for_chunks": "fastrtc.models.stt.recogniser",
    "wait_for_item": "fastrtc.handlers.waiting",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fastrtc' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


if TYPE_CHECKING:
    from fastrtc.audio.convert import audio_to_float32 as audio_to_float32
    from fastrtc.audio.convert import audio_to_int16 as audio_to_int16
    from fastrtc.audio.files import aggregate_bytes_to_16bit as aggregate_bytes_to_16bit
    from fastrtc.audio.files import async_aggregate_bytes_to_16bit as async_aggregate_bytes_to_16bit
    from fastrtc.audio.files import audio_to_bytes as audio_to_bytes
    from fastrtc.audio.files import audio_to_file as audio_to_file
    from fastrtc.audio.spoken import Spoken as Spoken
    from fastrtc.context import Context as Context
    from fastrtc.context import PhoneCall as PhoneCall
    from fastrtc.context import get_current_context as get_current_context
    from fastrtc.errors import Warning as Warning
    from fastrtc.errors import WebRTCError as WebRTCError
    from fastrtc.handlers.base import AsyncStreamHandler as AsyncStreamHandler
    from fastrtc.handlers.base import StreamHandler as StreamHandler
    from fastrtc.handlers.reply_on_pause import AppState as AppState
    from fastrtc.handlers.reply_on_pause import ReplyOnPause as ReplyOnPause
    from fastrtc.handlers.reply_on_stopwords import ReplyOnStopWords as ReplyOnStopWords
    from fastrtc.handlers.values import AdditionalOutputs as AdditionalOutputs
    from fastrtc.handlers.values import AudioEmitType as AudioEmitType
    from fastrtc.handlers.values import CloseStream as CloseStream
    from fastrtc.handlers.values import WebRTCData as WebRTCData
    from fastrtc.handlers.waiting import wait_for_item as wait_for_item
    from fastrtc.models.end_of_turn.protocol import EndOfTurnModel as EndOfTurnModel
    from fastrtc.models.end_of_turn.smart_turn import SmartTurn as SmartTurn
    from fastrtc.models.inference import ModelBusy as ModelBusy
    from fastrtc.models.stt.captions import Transcript as Transcript
    from fastrtc.models.stt.recogniser import MoonshineSTT as MoonshineSTT
    from fastrtc.models.stt.recogniser import STTModel as STTModel
    from fastrtc.models.stt.recogniser import get_stt_model as get_stt_model
    from fastrtc.models.stt.recogniser import stt_for_chunks as stt_for_chunks
    from fastrtc.models.tts.cartesia import CartesiaTTSOptions as CartesiaTTSOptions
    from fastrtc.models.tts.speaker import KokoroTTSOptions as KokoroTTSOptions
    from fastrtc.models.tts.speaker import get_tts_model as get_tts_model
    from fastrtc.models.tts.voice import TTSModel as TTSModel
    from fastrtc.models.vad.silero import ModelOptions as ModelOptions
    from fastrtc.models.vad.silero import PauseDetectionModel as PauseDetectionModel
    from fastrtc.models.vad.silero import SileroVadOptions as SileroVadOptions
    from fastrtc.models.vad.silero import get_silero_model as get_silero_model
    from fastrtc.stream import Stream as Stream
    from fastrtc.stream import UIArgs as UIArgs
    from fastrtc.transports.opus import OpusOptions as OpusOptions
    from fastrtc.transports.sip.account import SipAccount as SipAccount
    from fastrtc.transports.telephone.outbound import CallError as CallError
    from fastrtc.transports.telephone.provider import TelephoneOptions as TelephoneOptions
    from fastrtc.turn_servers import (
        get_cloudflare_turn_credentials as get_cloudflare_turn_credentials,
    )
    from fastrtc.turn_servers import (
        get_cloudflare_turn_credentials_async as get_cloudflare_turn_credentials_async,
    )
    from fastrtc.turn_servers import get_hf_turn_credentials as get_hf_turn_credentials
    from fastrtc.turn_servers import get_hf_turn_credentials_async as get_hf_turn_credentials_async
    from fastrtc.turn_servers import get_turn_credentials as get_turn_credentials
    from fastrtc.turn_servers import get_turn_credentials_async as get_turn_credentials_async
    from fastrtc.turn_servers import get_twilio_turn_credentials as get_twilio_turn_credentials
    from fastrtc.turn_servers import (
        get_twilio_turn_credentials_async as get_twilio_turn_credentials_async,
    )
    from fastrtc.turns.options import AlgoOptions as AlgoOptions
    from fastrtc.turns.options import InterruptionPolicy as InterruptionPolicy
    from fastrtc.turns.record import Heard as Heard
    from fastrtc.turns.record import Turn as Turn
    from fastrtc.ui.component import WebRTC as WebRTC
