"""What the options of a `ReplyOnPause` come to: a policy, and the models that are asked."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from fastrtc.audio.canceller import EchoCanceller
from fastrtc.models.end_of_turn.source import CustomEndpoint, EndpointSource, Run
from fastrtc.models.vad.silero import HYSTERESIS, SileroVadOptions
from fastrtc.turns.options import (
    LONGEST_UTTERANCE,
    EndpointPolicy,
    InterruptionPolicy,
    TurnPolicy,
)

if TYPE_CHECKING:
    from fastrtc.handlers.reply_on_pause import ReplyOnPause

logger = logging.getLogger(__name__)

INSTALL: Final = (
    'All models of turn-taking: pip install "fastrtc[turns]", where the hub can be reached, or '
    "pip install --no-deps pipecat-ai==1.14.0 moonshine-voice==0.1.0"
)


def make_policy(handler: ReplyOnPause) -> TurnPolicy:
    """What the user's options mean to the turn machine."""
    own = handler.given_algo_options is not None or handler.given_model is not None
    usual = None if own else InterruptionPolicy()
    options: dict[str, Any] = {
        "can_interrupt": handler.can_interrupt,
        "interruption": handler.interruption or usual,
        "endpoint": EndpointPolicy(),
    }
    given = handler.given_model_options
    if isinstance(given, SileroVadOptions):
        options["threshold"] = given.threshold
        options["release"] = max(0.01, given.threshold - HYSTERESIS)
        options["min_speech"] = given.min_speech_duration_ms / 1000
        options["min_gap"] = given.min_silence_duration_ms / 1000
    if handler.given_algo_options is not None:
        options["window"] = handler.given_algo_options
        options["max_speech"] = min(
            LONGEST_UTTERANCE, handler.given_algo_options.max_continuous_speech_s
        )
    return TurnPolicy(**options)


def asks_shared_models(handler: ReplyOnPause) -> bool:
    """Whether the models that all calls share are to tell that a caller has finished."""
    return handler.endpointing == "auto" and not _asks_none(handler)


def choose_endpoint(
    handler: ReplyOnPause, shared: EndpointSource, run: Run
) -> EndpointSource | None:
    """What is asked whether the caller has finished; None where silence alone decides.

    The log says once what was chosen. ``run`` asks a model of the user's.
    """
    asked = handler.endpointing
    if why := _asks_none(handler):
        _say(why)
        return None
    if not isinstance(asked, str):
        _say(f"Turns end by silence and {type(asked).__name__}")
        return CustomEndpoint(asked, run)
    if not shared.available:
        if shared.reason:
            _warn(f"Turns end by silence alone, and cut into pauses. {shared.reason} {INSTALL}")
        else:
            _say("Turns end by silence alone: no model is to be asked")
        return None
    if shared.reason:
        _warn(
            "Turns end by silence and the words that Moonshine reads; what they sound like is not "
            f"judged. {shared.reason} {INSTALL}"
        )
    elif shared.reads_words:
        _say("Turns end by silence, Smart Turn and the words that Moonshine reads")
    else:
        _warn(f"Turns end by silence and Smart Turn; words are not read. {INSTALL}")
    return shared


def _asks_none(handler: ReplyOnPause) -> str:
    """Why no model is asked whether the caller has finished; empty where one is."""
    if handler.given_algo_options is not None:
        return "Turns end as algo_options say, which were set; no model is asked"
    if handler.given_model is not None:
        return "Turns end by the voice detector that was given; no other model is asked"
    if handler.ends_turns_itself:
        return "Turns end when determine_pause says so, which was overridden; no model is asked"
    if handler.endpointing == "vad":
        return "Turns end by silence alone, as endpointing is 'vad'"
    return ""


def choose_canceller(handler: ReplyOnPause) -> EchoCanceller | None:
    """What takes our own sound out of the caller's, where it is wanted."""
    return EchoCanceller(handler.input_sample_rate) if handler.echo_cancellation else None


@cache
def _say(what: str) -> None:
    """Once a process: it is the same for every call."""
    logger.info(what)


@cache
def _warn(what: str) -> None:
    """The same, of what somebody should mend."""
    logger.warning(what)
