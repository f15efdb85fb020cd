"""Text to speech for users: `get_tts_model`, and Kokoro as a voice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from fastrtc.models.inference import speaking_pool
from fastrtc.models.place import Here, Runner, Where, placed
from fastrtc.models.tts.kokoro import RATE, KokoroNet, shared_kokoro
from fastrtc.models.tts.kokoro_weights import VOICES
from fastrtc.models.tts.talk import Floats
from fastrtc.models.tts.voice import ClauseVoice, Part
from fastrtc.threads import readers

if TYPE_CHECKING:
    from fastrtc.models.tts.cartesia import CartesiaTTSModel

TIER_SECONDS: Final = 1.0
TIER_SECONDS_A_LETTER: Final = 0.05
"""What a tier has for a clause: somewhat over twice what it takes alone."""


@dataclass
class KokoroTTSOptions:
    """How Kokoro speaks.

    Attributes:
        voice: one of 54, such as ``af_heart`` (American, female) or ``bm_george`` (British, male);
            ``fastrtc.models.tts.kokoro_weights.VOICES`` has the names.
        speed: 0.5 to 2; 1 is the voice's own.
        lang: as espeak-ng names it: ``en-us``, ``en-gb``, ``fr-fr``, ``it``, ``es``, ``pt-br``,
            ``hi``. Text is prepared for speech in English only.
    """

    voice: str = "af_heart"
    speed: float = 1.0
    lang: str = "en-us"

    def __post_init__(self) -> None:
        if self.voice not in VOICES:
            raise ValueError(f"expected one of the voices {', '.join(VOICES)}, got {self.voice!r}")
        if not isinstance(self.speed, (int, float)) or not 0.5 <= self.speed <= 2:
            raise ValueError(f"expected a speed of 0.5 to 2, got {self.speed!r}")


class KokoroTTSModel(ClauseVoice[KokoroTTSOptions]):
    """Kokoro, at 24 kHz. One network serves all callers: a clause at a time, first clauses first.

    It takes about half of the time that its sound lasts.
    """

    def __init__(
        self,
        *,
        folder: str | Path | None = None,
        where: Where = "local",
        standby: bool = False,
    ) -> None:
        """Load the network and let it say something.

        Args:
            folder: where to look for the weights first; then in ``FASTRTC_MODELS``, in installed
                packages, on the hub.
            where: ``"cluster"`` has the tier of models of a Ray cluster speak. This process then
                loads the network when the tier first fails to answer in time, and speaks itself.
            standby: with ``"cluster"``, load it now all the same.

        Raises:
            ValueError: there is no such place.
            ImportError: ``fastrtc[tts]`` is not installed.
            WeightsError: its weights cannot be had; the text says how they can.
        """
        here = _KokoroHere(lambda: shared_kokoro(folder))
        self._voice: Runner[Floats] = placed(where, "tts-kokoro", here, _bound, standby=standby)

    def _checked(self, options: KokoroTTSOptions | None) -> KokoroTTSOptions:
        if options is None:
            return KokoroTTSOptions()
        if not isinstance(options, KokoroTTSOptions):
            raise TypeError(f"expected KokoroTTSOptions, got {type(options).__name__}")
        # A copy, checked again: the caller's may have been changed, and may change yet.
        return replace(options)

    def _rate(self, options: KokoroTTSOptions) -> int:
        return RATE

    def _parts(
        self, words: str, options: KokoroTTSOptions, *, urgent: bool
    ) -> Generator[Part, None, None]:
        yield self._voice.run(*_given(words, options), urgent=urgent), True

    async def _aparts(
        self, words: str, options: KokoroTTSOptions, *, urgent: bool
    ) -> AsyncGenerator[Part, None]:
        yield await self._voice.arun(*_given(words, options), urgent=urgent), True


def _given(words: str, options: KokoroTTSOptions) -> tuple[str, str, float, str]:
    """As `KokoroNet.say` takes it."""
    return words, options.voice, options.speed, options.lang


def _bound(words: str, *options: object) -> float:
    """Seconds that a tier has for a clause."""
    return TIER_SECONDS + TIER_SECONDS_A_LETTER * len(words)


class _KokoroHere(Here[Floats]):
    """Kokoro in this process."""

    def __init__(self, net: Callable[[], KokoroNet]) -> None:
        def load() -> Callable[..., Floats]:
            loaded = net()
            return lambda *given: loaded.say(*given)

        super().__init__(load, lambda: speaking_pool())
        self._net = net

    # A download must not keep the threads that speak for others.

    def run(self, *given: Any, urgent: bool = True) -> Floats:
        self._net().voice(given[1])
        return super().run(*given, urgent=urgent)

    async def arun(self, *given: Any, urgent: bool = True) -> Floats:
        if not self.is_loaded or not self._net().has_voice(given[1]):
            await readers.call(lambda: self._net().voice(given[1]))
        return await super().arun(*given, urgent=urgent)


@overload
def get_tts_model(
    model: Literal["kokoro"] = "kokoro",
    *,
    folder: str | Path | None = None,
    where: Where = "local",
    standby: bool = False,
) -> KokoroTTSModel: ...


@overload
def get_tts_model(
    model: Literal["cartesia"], *, cartesia_api_key: str | None = None, base_url: str = ...
) -> CartesiaTTSModel: ...


def get_tts_model(model: str = "kokoro", **options: Any) -> KokoroTTSModel | CartesiaTTSModel:
    """A voice: ``"kokoro"`` on this machine, loaded once in a process and warm, or ``"cartesia"``.

    Args:
        model: which one.
        options: of `KokoroTTSModel` or `CartesiaTTSModel`.

    Raises:
        ValueError: there is no such model or place, or Cartesia has no key.
        ImportError, WeightsError: see `KokoroTTSModel`.
    """
    if model == "kokoro":
        return KokoroTTSModel(**options)
    if model == "cartesia":
        from fastrtc.models.tts.cartesia import CartesiaTTSModel

        return CartesiaTTSModel(**options)
    raise ValueError(f"expected 'kokoro' or 'cartesia', got {model!r}")
