"""Which replica has which call, and where the next one goes. Pure: it knows no clock and no Ray.

Every replica reports what it has, a few times a second. So all that is known here may be lost, and
is whole again a moment later.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

GONE: Final = 2.0
"""Seconds without a report after which a replica gets no calls."""
FORGOTTEN: Final = 60.0
"""Seconds after which nothing is known of it any more."""
RESERVED: Final = 8.0
"""Seconds that a place is kept for a call that was sent there, until a report has it: longer than
an ``authorize`` function has."""
NEARLY: Final = 2
"""Calls that the replica that was asked may have more than the emptiest: to pass a call on costs
more than that is worth."""


@dataclass(frozen=True)
class Report:
    """What a replica says of itself.

    Attributes:
        replica: its id, which no other ever has.
        address: ``host:port`` of its inner door.
        slots: calls that it has room for.
        calls: the ids of those that are live.
        pages: the pages whose state it keeps.
        late: whether it has too little time for the calls that it has.
        leaving: whether it takes no more, as it is about to go.
    """

    replica: str
    address: str
    slots: int
    calls: frozenset[str] = frozenset()
    pages: frozenset[str] = frozenset()
    late: bool = False
    leaving: bool = False


@dataclass(frozen=True)
class Home:
    """The replica that has a call.

    Attributes:
        replica: its id.
        address: of its inner door.
        silent: whether it should have reported, and has not.
    """

    replica: str
    address: str
    silent: bool = False


class Unreachable(Exception):
    """What knows of all replicas does not answer now."""


class Full(Exception):
    """There is room nowhere.

    Attributes:
        limit: how many calls there may be.
        why: ``"overloaded"`` if there were places, but no time; ``"shutting_down"`` if all
            replicas leave.
    """

    def __init__(self, limit: int, why: str = "") -> None:
        super().__init__(f"all {limit} places are taken")
        self.limit = limit
        self.why = why


class Post:
    """A replica as it is known here."""

    def __init__(self, report: Report, now: float) -> None:
        self.report = report
        self.seen = now
        self.since = dict.fromkeys(report.calls, now)
        """Its calls, and when each was first heard of."""
        self.reserved: dict[str, float] = {}
        """Calls on their way to it, and until when they are waited for."""
        self.claimed: dict[str, float] = {}
        """Pages that it was given, and until when a report with them is waited for."""
        self.lost = False
        """Whether it did not answer, and has not reported since."""

    def take(self, report: Report, now: float) -> None:
        """It has reported again."""
        self.report = report
        self.seen = now
        self.lost = False
        self.since = {it: self.since.get(it, now) for it in report.calls}
        for call_id in [it for it in self.reserved if it in report.calls]:
            del self.reserved[call_id]
        for page in [it for it, until in self.claimed.items() if until < now]:
            del self.claimed[page]

    def settle(self, now: float) -> None:
        """Calls that never arrived need no place."""
        for call_id in [it for it, until in self.reserved.items() if until < now]:
            del self.reserved[call_id]

    def is_fresh(self, now: float) -> bool:
        """Whether it reports."""
        return not self.lost and now - self.seen <= GONE

    def home(self, now: float) -> Home:
        """Where it is."""
        return Home(self.report.replica, self.report.address, silent=not self.is_fresh(now))

    @property
    def calls(self) -> int:
        """How many it has, with those on their way."""
        return len(self.report.calls) + len(self.reserved)

    @property
    def load(self) -> float:
        """The share of its places that are taken."""
        return self.calls / self.report.slots

    def has(self, call_id: str, now: float) -> bool:
        """Whether a call is there, or on its way."""
        if self.lost:
            return False
        return call_id in self.since or self.reserved.get(call_id, -math.inf) >= now

    def came(self, call_id: str) -> float:
        """When a call that it has came there."""
        until = self.reserved.get(call_id)
        return self.since[call_id] if until is None else until - RESERVED


class Board:
    """The replicas of one stream. Times are seconds on any clock that does not go back."""

    def __init__(self) -> None:
        self._posts: dict[str, Post] = {}
        self._began: float | None = None
        self.drains = False
        """Whether all replicas are to leave, as the stream is served no more."""

    def take(self, report: Report, now: float) -> None:
        """A replica says what it has."""
        if self._began is None:
            self._began = now
        post = self._posts.get(report.replica)
        if post is None:
            self._posts[report.replica] = Post(report, now)
        else:
            post.take(report, now)
        for name in [it for it, post in self._posts.items() if now - post.seen > FORGOTTEN]:
            del self._posts[name]

    def lose(self, replica: str) -> None:
        """A replica does not answer: what it had is gone, unless it reports again."""
        post = self._posts.get(replica)
        if post is not None:
            # Since when it had its calls is kept: one that was cut off comes back with calls whose
            # callers may have a newer home meanwhile.
            post.lost = True
            post.reserved.clear()
            post.claimed.clear()

    def homes(self, now: float) -> list[Home]:
        """The replicas that report."""
        return [post.home(now) for post in self._fresh(now)]

    def calls(self, now: float) -> int:
        """How many are live."""
        return sum(len(post.report.calls) for post in self._fresh(now))

    def find(self, call_id: str, now: float, *, besides: str = "") -> Home | None:
        """Where a call is; None if no replica has it.

        Args:
            call_id: its id.
            now: the time.
            besides: a replica that is not meant.

        Raises:
            Unreachable: it is not known here, where not all replicas have reported yet.
        """
        posts = [post for post in self._posts.values() if post.report.replica != besides]
        having = [post for post in posts if post.has(call_id, now)]
        if not having:
            self._check(now)
            return None
        # Where two have it, one has not noticed yet that it lost its caller.
        return max(having, key=lambda it: it.came(call_id)).home(now)

    def find_page(self, page: str, here: str, now: float) -> Home | None:
        """Which replica keeps the state of a page: if none does, then ``here`` from now on. None if
        that does not report.
        """
        posts = self._fresh(now)
        having = [it for it in posts if page in it.report.pages or page in it.claimed]
        if not having:
            having = [post for post in posts if post.report.replica == here]
            for post in having:
                post.claimed[page] = now + RESERVED
        return having[0].home(now) if having else None

    def place(
        self,
        call_id: str,
        here: str,
        limit: int | None,
        now: float,
        *,
        stays: bool = False,
        rather: bool = False,
        avoid: Collection[str] = (),
    ) -> Home:
        """Find a replica for a new call, and keep a place there.

        A call that a replica has, or that is on its way to one, stays there: two offers of it, to
        two replicas, meet.

        Args:
            call_id: its id.
            here: the replica that asks, or that has the page of the call.
            limit: how many calls there may be in all; None for as many as have a place.
            now: the time.
            stays: whether the call cannot be sent to another, as its socket is open already. Then
                the time, the limit and the places of all together count, but not those of one.
            rather: whether it should be ``here`` as long as there is room, and not only while that
                is nearly as empty as the others.
            avoid: replicas that have turned it down.

        Raises:
            Full: there is room nowhere.
            Unreachable: not all replicas have reported yet, or not that which asks.
        """
        self._check(now, here)
        posts = self._fresh(now)
        for post in posts:
            post.settle(now)
            if post.has(call_id, now) and not stays and post.report.replica not in avoid:
                return post.home(now)
            post.reserved.pop(call_id, None)
        # Who comes back has a place already.
        others = sum(len(post.report.calls - {call_id}) + len(post.reserved) for post in posts)
        if limit is not None and others >= limit:
            raise Full(limit)
        places = sum(post.report.slots for post in posts)
        if stays and others >= places:
            raise Full(places)
        staying = [post for post in posts if not post.report.leaving]
        open_ = [
            post
            for post in staying
            if post.report.replica not in avoid
            and (post.report.replica == here if stays else post.load < 1.0)
        ]
        if not staying:
            raise Full(limit or places, "shutting_down")
        if not open_:
            raise Full(places if limit is None else min(limit, places))
        in_time = [post for post in open_ if not post.report.late]
        if not in_time:
            raise Full(max(1, others), "overloaded")
        best = min(in_time, key=lambda it: it.load)
        ours = next((it for it in in_time if it.report.replica == here), best)
        if rather or ours.calls - best.calls <= NEARLY:
            best = ours
        best.reserved[call_id] = now + RESERVED
        return best.home(now)

    def release(self, call_id: str) -> None:
        """A call that a place was kept for will not come."""
        for post in self._posts.values():
            post.reserved.pop(call_id, None)

    def room(self, limit: int | None, now: float) -> int:
        """How many calls could still come. Raises `Unreachable` as `place` does."""
        self._check(now)
        posts = self._fresh(now)
        for post in posts:
            post.settle(now)
        free = sum(
            max(0, post.report.slots - post.calls)
            for post in posts
            if not (post.report.leaving or post.report.late)
        )
        return free if limit is None else min(free, limit - sum(post.calls for post in posts))

    def _fresh(self, now: float) -> list[Post]:
        return [post for post in self._posts.values() if post.is_fresh(now)]

    def _check(self, now: float, here: str | None = None) -> None:
        if self._began is None or now - self._began < GONE:
            raise Unreachable("not all replicas have reported yet")
        if here is not None and not (here in self._posts and self._posts[here].is_fresh(now)):
            raise Unreachable("the replica that asks has not reported yet")
