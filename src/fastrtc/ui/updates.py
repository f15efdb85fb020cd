"""`AdditionalOutputs` on their way into Gradio components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import gradio as gr
from gradio.blocks import Block

from fastrtc.runtime import shared_runtime
from fastrtc.session import OutputsReader, Session

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
        if session.id in self._calls:
            return
        self._calls[session.id] = (session, session.outputs.reader())
        session.on_close(
            lambda: session.loop.call_later(FETCHED_WITHIN, self._calls.pop, session.id, None)
        )

    async def fetch(self, call_id: str, *values: Any) -> Any:
        """What the outputs are to show now, from the present values of the inputs.

        The page asks again only when it has this: so it comes in order, and when outputs are
        quicker than the page it gets the sum of them.
        """
        shown: list[Any] = [gr.skip() for _ in self._outputs]
        given = list(values)
        session, reader = self._calls.get(call_id, (None, None))
        for outputs in reader.drain() if reader is not None else ():
            try:
                made = await shared_runtime().workers.ask(self._fn, *given, *outputs.args)
                changes = self._listed(made)
            except Exception as error:
                assert session is not None
                session.report(error, "the additional_outputs_handler")
                continue
            shown = [_merged(*pair) for pair in zip(shown, changes, strict=True)]
            for index, at in self._shared:
                given[index] = changes[at].get("value", given[index])
        shown = [it if len(it) > 1 else gr.skip() for it in shown]
        return shown if len(shown) != 1 else shown[0]

    def _listed(self, made: Any) -> list[dict[str, Any]]:
        """What the function returned, as an update for each output."""
        count = len(self._outputs)
        if count == 0:
            return []
        if isinstance(made, dict) and all(isinstance(key, Block) for key in made):
            return [_as_update(made.get(it, gr.skip())) for it in self._outputs]
        if count == 1:
            return [_as_update(made)]
        if not isinstance(made, (tuple, list)) or len(made) != count:
            raise ValueError(
                f"expected {count} values from the additional_outputs_handler, one for each "
                f"output, got {_describe(made)}"
            )
        return [_as_update(it) for it in made]


def _as_update(value: Any) -> dict[str, Any]:
    """A change of a component in Gradio's form, whichever form it was given in."""
    if isinstance(value, Block):
        return {**value.constructor_args, "__type__": "update"}
    if isinstance(value, dict) and value.get("__type__") == "update":
        return value
    return gr.update(value=value)


def _merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {**before, **after}


def _describe(made: Any) -> str:
    return f"{len(made)}" if isinstance(made, (tuple, list)) else type(made).__name__
