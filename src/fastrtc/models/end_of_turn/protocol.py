"""What a model of the end of turn is."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray


@runtime_checkable
class EndOfTurnModel(Protocol):
    """A model that tells a caller who has finished from one who only pauses."""

    def end_of_turn(self, audio: tuple[int, NDArray[Any]]) -> float:
        """Probability in [0, 1] that the caller has finished.

        Args:
            audio: what was said in this turn so far: rate in Hz, int16 ``(1, n)``.
        """

    def warmup(self) -> None:
        """Called once before the first call of `end_of_turn`."""
