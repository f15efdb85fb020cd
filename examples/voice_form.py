"""Fill in a form by talking: what you say goes into its field, and what you type stays there.

pip install "fastrtc[stt,tts,ui]"
python examples/voice_form.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import gradio as gr

from fastrtc import AdditionalOutputs, ReplyOnPause, Stream, get_stt_model, get_tts_model

SAID = {
    "name": r"(?:my name is|i am called) ([\w' -]+)",
    "city": r"i live in ([\w' -]+)",
    "email": r"my (?:e-?mail|email address|address) is ([\w. -]+ at [\w. -]+ dot \w+)",
}
"""How each field is said."""
stt, tts = get_stt_model(), get_tts_model()


def read(text: str) -> dict[str, str]:
    """The fields that a sentence fills in."""
    found = {}
    for field, pattern in SAID.items():
        if match := re.search(pattern, text, re.IGNORECASE):
            found[field] = match[1].split(" and ")[0].strip(" .")
    if "email" in found:
        address = found["email"].lower().replace(" at ", "@").replace(" dot ", ".")
        found["email"] = address.replace(" ", "")
    return found


def reply(audio: Any, name: str, city: str, email: str) -> Iterator[Any]:
    text = stt.stt(audio)
    if not text:
        return
    said = read(text)
    form = {"name": name, "city": city, "email": email} | said
    missing = [field for field, value in form.items() if not value]
    if missing:
        answer = f"What is your {missing[0]}?"
    else:
        answer = "Thank you, {name} from {city}. I write to {email}.".format(**form)
    yield AdditionalOutputs(said, answer)
    yield from tts.stream_tts_sync(answer)


def fill_in(name: str, city: str, email: str, _: str, said: dict[str, str], answer: str) -> Any:
    """The fields as they are now, and in them what was said."""
    form = {"name": name, "city": city, "email": email} | said
    return form["name"], form["city"], form["email"], answer


fields = [gr.Textbox(label="Name"), gr.Textbox(label="City"), gr.Textbox(label="Email")]
stream = Stream(
    ReplyOnPause(reply),
    additional_inputs=fields,
    additional_outputs=[*fields, gr.Textbox(label="Assistant")],
    additional_outputs_handler=fill_in,
    ui_args={"title": "A form to talk to", "subtitle": "My name is Anna, and I live in Paris."},
)

if __name__ == "__main__":
    stream.ui.launch()
