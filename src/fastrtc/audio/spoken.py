"""Sound that knows its words."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


class Spoken(tuple[int, NDArray[Any]]):
    """Sound with its text: a pair of rate and samples that also knows its words.

    Yield ``Spoken(24_000, samples, "Hello!")``, and the call can tell which words an interrupted
    caller has heard.
    """

    text: str

    def __new__(cls, rate: int, samples: NDArray[Any], text: str = "") -> Spoken:
        """Sound as a handler may emit it, and the words that are said in it."""
        spoken = super().__new__(cls, (rate, samples))
        spoken.text = text
        return spoken

    def __getnewargs__(self) -> tuple[int, NDArray[Any], str]:
        """For copies."""
        return self[0], self[1], self.text

    def __repr__(self) -> str:
        shape = getattr(self[1], "shape", "?")
        return f"Spoken({self[0]}, samples of shape {shape}, {self.text!r})"
