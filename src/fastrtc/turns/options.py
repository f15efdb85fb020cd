"""What users may set about turn-taking, and what the machine makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VAD_RATE: Final = 16_000
"""Hz. All positions in this folder are samples at this rate."""
STEP_SAMPLES: Final = 512
"""Samples per voice-activity probability: 32 ms, the window of Silero VAD."""
STEP_SECONDS: Final = STEP_SAMPLES / VAD_RATE
LONGEST_UTTERANCE: Final = 300.0
"""Seconds. An utterance without an end ends here, so that memory is bounded."""


@dataclass
class AlgoOptions:
    """How a pause is found, over a window of the last ``audio_chunk_duration`` seconds.

    The window slides with every 32 ms of sound. Where the user sets no `AlgoOptions`, about
    0.3 s of silence end a turn instead.

    Attributes:
        audio_chunk_duration: length of the window in seconds.
        started_talking_threshold: more seconds of speech than this in the window, and the
            caller has begun to talk.
        speech_threshold: fewer seconds of speech than this in the window, and the caller has
            paused.
        max_continuous_speech_s: seconds of talking after which the turn ends without a pause.
    """

    audio_chunk_duration: float = 0.6
    started_talking_threshold: float = 0.2
    speech_threshold: float = 0.1
    max_continuous_speech_s: float = float("inf")

    def __post_init__(self) -> None:
        if not 0 < self.audio_chunk_duration <= 60:
            raise ValueError(
                "expected an audio_chunk_duration over 0 and up to 60 s, "
                f"got {self.audio_chunk_duration}"
            )
        for name in ("started_talking_threshold", "speech_threshold"):
            value = getattr(self, name)
            if not 0 <= value < self.audio_chunk_duration:
                raise ValueError(
                    f"expected {name} in [0, audio_chunk_duration = "
                    f"{self.audio_chunk_duration}) seconds, got {value}"
                )
        if not self.max_continuous_speech_s > 0:
            raise ValueError(
                f"expected a positive max_continuous_speech_s, got {self.max_continuous_speech_s}"
            )


@dataclass(frozen=True)
class InterruptionPolicy:
    """How the caller's voice ends a reply, and what becomes of a false alarm.

    At the onset of voice the reply is held: it fades within 5 ms and waits. If the caller goes
    on, it has been interrupted, and is over. If it was a cough, a knock or an "mm-hm", it is a
    false alarm, and the reply goes on from where it was held.

    Attributes:
        onset: seconds of voice after which the reply is held.
        min_speech: seconds of voice that are surely meant: they end the reply.
        resume_after: seconds of silence after less than that, and the reply goes on.
        words: whether a recogniser, where one is installed, is asked about short sounds, so
            that "stop" ends the reply at once and "mm-hm" does not. Without it "stop" has to be
            said for as long as anything else.
        readable: seconds of voice after which it is asked for the first time. It is asked
            again when the voice stops.
    """

    onset: float = 0.09
    min_speech: float = 0.8
    resume_after: float = 0.35
    words: bool = True
    readable: float = 0.45

    def __post_init__(self) -> None:
        for name in ("onset", "min_speech", "resume_after", "readable"):
            value = getattr(self, name)
            if not 0 < value <= 10:
                raise ValueError(f"expected {name} over 0 and up to 10 s, got {value}")
        if not isinstance(self.words, bool):
            raise TypeError(f"expected words to be True or False, got {self.words!r}")
        if self.min_speech < self.onset:
            raise ValueError(
                f"expected min_speech of at least onset = {self.onset} s, got {self.min_speech}"
            )


@dataclass(frozen=True)
class EndpointPolicy:
    """How long a silence must last before it ends a turn, by how finished the caller seems.

    Attributes:
        soon: seconds, where the caller has surely finished.
        late: seconds, where the caller has surely not; people who are lost for a word rarely
            take longer.
        sure, unsure: the probabilities of an end from which on, and under which, it is sure.
            Between them the seconds change evenly, by ratio.
        unjudged: seconds, while no judgement has come yet.
    """

    soon: float = 0.2
    late: float = 1.4
    sure: float = 0.8
    unsure: float = 0.25
    unjudged: float = 0.8


@dataclass(frozen=True)
class TurnPolicy:
    """What the turn machine goes by.

    Attributes:
        threshold: a probability from which a step counts as voice.
        release: while there is voice, it lasts down to this probability. Silero's own
            hysteresis is 0.15.
        min_speech: seconds of voice that are surely speech and start a turn.
        end_silence: seconds of silence that end a turn, where nothing but silence is judged.
        endpoint: how judgements of what was said become seconds of silence; None where nothing
            but silence is judged.
        window: judge by this window in place of all of the above.
        min_gap: inside the window, gaps shorter than this many seconds count as speech.
        max_speech: seconds after which a turn ends without a pause.
        can_interrupt: whether the caller's speech ends a reply.
        interruption: how; None where whatever starts a turn ends a reply too, at once.
    """

    threshold: float = 0.5
    release: float = 0.35
    min_speech: float = 0.09
    end_silence: float = 0.3
    endpoint: EndpointPolicy | None = None
    window: AlgoOptions | None = None
    min_gap: float = 0.1
    max_speech: float = LONGEST_UTTERANCE
    can_interrupt: bool = True
    interruption: InterruptionPolicy | None = InterruptionPolicy()
