"""A telephone menu, by voice and by keys, that hangs up when the caller has said good bye.

`fastrtc run examples/phone_assistant.py`, and talk to the page. For a telephone number see
docs/telephone.md: it is the same command, and an address that Twilio reaches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastrtc import (
    AdditionalOutputs,
    CloseStream,
    ReplyOnPause,
    Stream,
    TelephoneOptions,
    get_current_context,
    get_stt_model,
    get_tts_model,
)

MENU = "For our opening hours say hours, or press one. To find us say address, or press two."
CHOICES = {
    "1": (r"hours|open|one\b", "We are open from nine to six, Monday to Friday."),
    "2": (r"address|where|find|two\b", "We are at number five, Station Road."),
    "0": (r"bye|goodbye|thank|zero\b", "Thank you for calling. Good bye!"),
}
stt, tts = get_stt_model(), get_tts_model()


class Menu(ReplyOnPause):
    """Answers a key as it answers a word, even in the middle of a sentence."""

    def on_dtmf(self, digit: str) -> None:
        get_current_context().state["digit"] = digit
        self.trigger_response()


def choose(said: str) -> str | None:
    """The key of what was said."""
    for digit, (words, _) in CHOICES.items():
        if re.search(words, said.lower()):
            return digit
    return None


def say(text: str) -> Iterator[Any]:
    yield AdditionalOutputs({"role": "assistant", "content": text})
    yield from tts.stream_tts_sync(text)


def greet() -> Iterator[Any]:
    yield from say(f"Hello! {MENU}")


def reply(audio: Any) -> Iterator[Any]:
    digit = get_current_context().state.pop("digit", None)
    if digit is None:
        said = stt.stt(audio)
        if not said:
            return
        yield AdditionalOutputs({"role": "user", "content": said})
        digit = choose(said)
    _, answer = CHOICES.get(digit or "", ("", f"I am sorry. {MENU}"))
    yield from say(answer)
    if digit == "0":
        yield CloseStream("The caller has said good bye")


stream = Stream(
    Menu(reply, startup_fn=greet),
    # The menu is the greeting, and the assistant itself says good bye.
    telephone=TelephoneOptions(greeting=None, goodbye=None),
    ui_args={"title": "A telephone menu", "subtitle": "Say: when are you open?"},
)

if __name__ == "__main__":
    stream.run()
