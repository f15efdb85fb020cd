"""`AdditionalOutputs` on their way into Gradio components."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import gradio as gr
from gradio.blocks import Block

from fastrtc.messages import create_message
from fastrtc.outputs import OutputsReader
from fastrtc.runtime import shared_runtime
from fastrtc.session import Session

LONGEST: Final = 0.1
"""Seconds for which outputs are collected, before the page is shown what there is."""
FETCHED_WITHIN: Final = 30.0
"""Seconds after the end of a call in which its last outputs can be fetched."""


class Updates:
    """One function that turns outputs into what components show, for all calls of a component.

    The client is told of outputs over its data channel and fetches what is there: nothing polls,
    no request stays open for the length of a call, and what the page shows is what the function
    builds on, however it came to be.
    """

    def __init__(self, fn: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        self._fn = fn
        self._outputs = outputs
        self._shared = [(inputs.index(it), at) for at, it in enumerate(outputs) if it in inputs]
        """Components that are both: where among the inputs, and where among the outputs."""
        self._calls: dict[str, tuple[Session, OutputsReader]] = {}

    def follow(self, session: Session) -> None:
        """Collect the outputs of a call, from its answer on."""
        if self._calls.get(session.id, (None, None))[0] is session:
            return  # it has restarted ICE
        call = self._calls[session.id] = (session, session.outputs.reader())

        def forget() -> None:
            if self._calls.get(session.id) is call:
                del self._calls[session.id]

        session.on_close(lambda: session.loop.call_later(FETCHED_WITHIN, forget))

    async def fetch(self, call_id: str, *values: Any) -> Any:
        """What the outputs are to show now, from the present values of the inputs.

        The page asks again only when it has this: so it comes in order, and when outputs are
        quicker than the page it gets the sum of them.
        """
        changes = self._unchanged()
        session, reader = self._calls.get(call_id, (None, None))
        if session is None or reader is None:
            return self._shown(changes)
        given = list(values)
        enough = time.monotonic() + LONGEST
        while (outputs := reader.take()) is not None:
            newest = await self._make(session, [*given, *outputs.args])
            changes = [{**old, **new} for old, new in zip(changes, newest, strict=True)]
            if not reader.waiting:
                break
            if time.monotonic() > enough and not session.ending:
                # They come faster than they are made: the page should see some of them.
                session.send_message(create_message("fetch_output"))
                break
            await self._read_back(given, newest)
        return self._shown(changes)

    def _unchanged(self) -> list[dict[str, Any]]:
        return [{} for _ in self._outputs]

    async def _make(self, session: Session, args: list[Any]) -> list[dict[str, Any]]:
        """What the function makes of some outputs; nothing, if it raises."""
        try:
            return self._listed(await shared_runtime().workers.ask(self._fn, *args))
        except Exception as error:
            session.report(error, "the additional_outputs_handler")
            return self._unchanged()

    async def _read_back(self, given: list[Any], changes: list[dict[str, Any]]) -> None:
        """Let the next outputs build on these, in the form in which the page would give them."""
        for index, at in self._shared:
            if "value" in changes[at]:
                value = changes[at]["value"]
                given[index] = await shared_runtime().workers.ask(
                    _as_given, self._outputs[at], value
                )

    def _shown(self, changes: list[dict[str, Any]]) -> Any:
        """What Gradio is to get; plain values where it can be, which it handles off the loop."""
        shown = [
            change["value"] if list(change) == ["value"] else {"__type__": "update", **change}
            for change in changes
        ]
        return shown if len(shown) != 1 else shown[0]

    def _listed(self, made: Any) -> list[dict[str, Any]]:
        """What the function returned, as the changed properties of each output."""
        count = len(self._outputs)
        if isinstance(made, dict) and made and all(isinstance(key, Block) for key in made):
            unknown = [key for key in made if key not in self._outputs]
            if unknown:
                raise ValueError(f"the additional_outputs_handler returned {unknown[0]}, no output")
            return [_changes(made.get(it, gr.skip())) for it in self._outputs]
        if count == 0:
            return []
        if count == 1:
            return [_changes(made)]
        if not isinstance(made, (tuple, list)) or len(made) != count:
            raise ValueError(
                f"expected {count} values from the additional_outputs_handler, one for each "
                f"output, got {_describe(made)}"
            )
        return [_changes(it) for it in made]


def _changes(value: Any) -> dict[str, Any]:
    """The properties that a value changes, in whichever form of Gradio's it was given."""
    if isinstance(value, Block):
        return dict(value.constructor_args)
    if isinstance(value, dict) and value.get("__type__") == "update":
        return {name: it for name, it in value.items() if name != "__type__"}
    return {"value": value}


def _as_given(component: Any, value: Any) -> Any:
    """A value that a component shows, as a function gets it."""
    return component.preprocess(component.postprocess(value))


def _describe(made: Any) -> str:
    return f"{len(made)}" if isinstance(made, (tuple, list)) else type(made).__name__
