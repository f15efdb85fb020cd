"""What holds whatever is heard, told and judged, and however turns are set up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.turns.endpointing import Opinion
from fastrtc.turns.machine import Told
from fastrtc.turns.options import AlgoOptions, EndpointPolicy, InterruptionPolicy, TurnPolicy
from tests.turns.calls import SILENCE, VOICE
from tests.turns.line import Hear, Judge, Line, Step, Tell

ODD = [float("nan"), float("inf"), float("-inf")]

probabilities = st.one_of(
    st.sampled_from([VOICE, VOICE, SILENCE, SILENCE, 0.95, 0.85, 0.4]),
    st.floats(0, 1),
    st.sampled_from(ODD),
)
levels = st.one_of(st.none(), st.floats(-100, 0), st.sampled_from(ODD))
lengths = st.one_of(st.integers(1, 4), st.integers(1, 30))
opinions = st.builds(
    Opinion,
    probability=st.one_of(st.none(), st.floats(0, 1), st.sampled_from(ODD)),
    words=st.one_of(st.none(), st.sampled_from(["", "I want to", "Stop.", "Yes, please."])),
)
hearings = st.builds(Hear, probability=probabilities, level=levels, times=lengths)
judgements = st.builds(
    Judge, opinion=opinions, stale_by=st.sampled_from([0, 0, 0, -512, 512, 9_999])
)
tellings = st.builds(
    Tell,
    told=st.sampled_from(
        [Told.REPLY_BEGAN, Told.REPLY_ENDED, Told.FORCED, Told.MEANT, Told.NOT_MEANT]
    ),
)
utterances = st.tuples(st.integers(3, 25), st.integers(2, 30)).map(
    lambda times: [Hear(VOICE, times=times[0]), Hear(SILENCE, times=times[1])]
)
# Something is told in the middle of a short sound, or in the silence after it.
moments = st.tuples(st.integers(3, 9), st.integers(0, 12), tellings).map(
    lambda m: [Hear(VOICE, times=m[0]), *[Hear(SILENCE)] * m[1], m[2]]
)
parts = st.lists(
    st.one_of(
        utterances, moments, *(step.map(lambda s: [s]) for step in (hearings, judgements, tellings))
    ),
    max_size=15,
)
# Three lists: one alone is short as a rule.
scripts = st.tuples(parts, parts, parts).map(
    lambda lists: [step for parts in lists for part in parts for step in part]
)

odd_seconds = st.sampled_from([0.01, 0.032, 0.09, 0.1, 0.3, 0.6, 1.0, 3.0])
interruptions = st.one_of(
    st.just(InterruptionPolicy()),
    st.tuples(odd_seconds, odd_seconds, odd_seconds, odd_seconds).map(
        lambda s: InterruptionPolicy(min(s[:2]), max(s[:2]), s[2], readable=s[3])
    ),
)
# Where a pause takes more speech than a start, or none at all, a window makes no sense.
windows = st.sampled_from(
    [None, None, AlgoOptions(), AlgoOptions(0.6, 0.4, 0.1), AlgoOptions(1.0, 0.1, 0.05)]
)
endpoints = st.sampled_from(
    [None, EndpointPolicy(), EndpointPolicy(late=5.0), EndpointPolicy(soon=0.01, unjudged=0.01)]
)
policies = st.builds(
    TurnPolicy,
    min_speech=st.sampled_from([0.032, 0.09, 0.25]),
    end_silence=st.sampled_from([0.032, 0.3, 1.0]),
    endpoint=endpoints,
    window=windows,
    max_speech=st.sampled_from([0.01, 2.0, 300.0]),
    can_interrupt=st.booleans(),
    interruption=interruptions,
)


def follow(policy: TurnPolicy, script: list[Step]) -> Line:
    """Let a line live through a script, and to its end; it raises where a law is broken."""
    line = Line(policy)
    for step in script:
        line.take(step)
    line.finish()
    return line


@given(policies, scripts)
@settings(deadline=None, max_examples=300)
def test_the_laws_hold_whatever_is_heard_told_and_judged(
    policy: TurnPolicy, script: list[Step]
) -> None:
    follow(policy, script)
