"""What the far side of a line holds: sound that was sent, and that it has not played yet.

A telephone platform, or a page behind a socket, plays what it is sent in real time, one after the
other. So a little is sent ahead, against the jitter of the network, and what has been heard is
known by the clock, or better: by marks that the far side returns when it comes to them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MARK_EVERY: Final = 5
"""Frames (0.1 s) between the marks that tell how far the far side has played."""
LATE_MARK: Final = 100
"""Ticks (2 s) after which a mark that does not return is taken as reached."""


@dataclass(frozen=True)
class _Waiting:
    place: int
    reached: Callable[[], None]
    given_up: int
    """The tick after which it is waited for no more."""


class FarPlayout:
    """Counts frames of 20 ms: those sent, and those played. `tick` makes time pass."""

    def __init__(self, lead: int, *, marks: bool) -> None:
        """Set up for a far side that holds nothing.

        Args:
            lead: frames that it may hold.
            marks: whether it returns marks.
        """
        self._lead = lead
        self._marks = marks
        self.sent = 0
        self._played = 0
        """As the clock has it."""
        self._returned = 0
        """As the newest returned mark has it."""
        self._marked: deque[int] = deque()
        """Places of marks that are on their way."""
        self._dues: deque[int] = deque()
        """The ticks after which they are taken as reached."""
        self._patience = lead + LATE_MARK
        self._answers = False
        """Whether a mark has ever come back."""
        self._overdue: int | None = None
        """The tick at which one should have, and since when none has."""
        self._waiting: deque[_Waiting] = deque()
        self._ticks = 0

    @property
    def room(self) -> int:
        """Frames that may be sent now."""
        return self._lead - (self.sent - self._played)

    @property
    def unheard(self) -> int:
        """Frames that were sent and that have not been heard, as far as is known.

        From any thread.
        """
        try:
            # What stands behind a mark that has not come back has not been played.
            behind = self._marked[0]
        except IndexError:  # Not asked for first: the mark may come back between two looks.
            behind = self.sent
        return self.sent - max(self._returned, min(self._played, behind))

    @property
    def stalled(self) -> int:
        """For how many ticks marks have been overdue, from a far side that does return them."""
        if self._overdue is None or not self._answers:
            return 0
        return self._ticks - self._overdue

    def tick(self) -> None:
        """20 ms have passed."""
        self._ticks += 1
        if self._played < self.sent:
            self._played += 1
        while self._marked and self._ticks >= self._dues[0]:
            if self._overdue is None:
                self._overdue = self._ticks
            self._pass(self._marked[0])
        self._reach()

    def send(self) -> int | None:
        """A frame is sent; the place of the mark that should follow it, if one should."""
        self.sent += 1
        last = self._marked[-1] if self._marked else self._returned
        if not self._marks or self.sent - last < MARK_EVERY:
            return None
        return self._expect()

    def mark(self, reached: Callable[[], None]) -> int | None:
        """Call ``reached`` when all that was sent has been heard.

        Returns:
            The place of the mark that should be sent for it, if one should.
        """
        self._waiting.append(_Waiting(self.sent, reached, self._ticks + self._patience))
        if not self._marks or self._returned >= self.sent:
            self._reach()
            return None
        if self._marked and self._marked[-1] == self.sent:
            return None
        return self._expect()

    def returned(self, place: int) -> None:
        """The far side has come to a mark."""
        self._answers, self._overdue = True, None
        if place in self._marked:
            self._pass(place)
            self._reach()

    def clear(self) -> bool:
        """The far side drops all that it holds; whether that was anything."""
        held = self._played < self.sent
        self.forget()
        self._marked.clear()
        self._dues.clear()
        self._played = self._returned = self.sent
        return held

    def take_back(self) -> tuple[int, list[tuple[int, Callable[[], None]]]]:
        """The far side drops what it holds, to be sent again.

        What the clock says has been played when the order leaves has been played when it arrives:
        sound and order take the same way.

        Returns:
            How many frames it drops, and who waits for which of them: after so many.
        """
        dropped = self.sent - self._played
        waiting = [(max(0, one.place - self._played), one.reached) for one in self._waiting]
        self.clear()
        return dropped, waiting

    def forget(self) -> None:
        """Nobody waits any more for what was sent to be heard."""
        self._waiting.clear()

    def _expect(self) -> int:
        """A mark is sent behind all that was sent."""
        self._marked.append(self.sent)
        self._dues.append(self._ticks + self._patience)
        return self.sent

    def _pass(self, place: int) -> None:
        while self._marked and self._marked[0] <= place:
            self._marked.popleft()
            self._dues.popleft()
        self._returned = place
        self._played = max(self._played, place)

    def _reach(self) -> None:
        heard = self._returned if self._marks else self._played
        while self._waiting:
            first = self._waiting[0]
            if first.place > heard and self._ticks < first.given_up:
                break
            self._waiting.popleft()
            first.reached()
