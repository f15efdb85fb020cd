"""How far a measurement is: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

WIDTH: Final = 24
TICK: Final = 0.1


class Progress:
    """Shows how many of the seconds that it will take have passed."""

    def __init__(self, seconds: float, out: TextIO | None = None) -> None:
        """``out``: where it is shown; stderr if it is not given."""
        self._out = sys.stderr if out is None else out
        self._seconds = max(seconds, TICK)
        self._done = 0.0
        self._text = ""
        self._live = self._out.isatty()

    def tell(self, text: str) -> None:
        """Say what is done now."""
        if text == self._text:
            return
        self._text = text
        if self._live:
            self._draw(0.0)
        else:
            print(text, file=self._out, flush=True)

    def advance(self, seconds: float) -> None:
        """So many of the seconds are over."""
        self._done += seconds
        self._draw(0.0)

    def at_most(self, seconds: float) -> None:
        """Show that so many more are over, which `advance` will count later."""
        self._draw(seconds)

    def wait(self, seconds: float) -> None:
        """Let them pass."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.at_most(seconds - left)
            time.sleep(min(left, TICK))
        self.advance(seconds)

    def skip_to(self, seconds: float) -> None:
        """What comes next begins after so many of all the seconds."""
        self._done = seconds

    def clear(self) -> None:
        """Take the bar away, for what is printed next."""
        if self._live:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def _draw(self, more: float) -> None:
        if self._live:
            share = min(1.0, (self._done + more) / self._seconds)
            full = plain("█", self._out)
            bar = (full * round(share * WIDTH)).ljust(WIDTH)
            self._out.write(f"\r\x1b[K[{bar}] {100 * share:3.0f} %  {self._text}")
            self._out.flush()


def plain(text: str, out: TextIO) -> str:
    """A text as an output can show it: blocks become other signs where it has none."""
    try:
        text.encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "".join(c if c.isascii() else "#" for c in text)
    return text
