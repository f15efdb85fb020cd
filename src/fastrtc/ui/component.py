"""`WebRTC`: a live call as a Gradio component, on the JavaScript client of the built-in page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import gradio as gr
from gradio import component_meta
from gradio.blocks import Block
from gradio.context import get_blocks_context

from fastrtc.configuration import Configuration
from fastrtc.handlers.values import WebRTCData
from fastrtc.runtime import shared_runtime
from fastrtc.stream import Mode, Stream
from fastrtc.ui.hosting import check_hosting
from fastrtc.ui.modules import LOADER, STYLE
from fastrtc.ui.server_functions import make_server_functions
from fastrtc.ui.updates import Updates

Blocks = Block | Sequence[Block] | set[Block] | None

QUIETLY: Final[dict[str, Any]] = {"show_progress": "hidden", "api_visibility": "private"}
"""How Gradio runs what happens several times a second."""


class _WithoutStub(component_meta.ComponentMeta):
    """Gradio writes a stub file beside the source of each component class; not beside ours."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        write = component_meta.create_or_modify_pyi
        component_meta.create_or_modify_pyi = lambda *_: None
        try:
            return super().__new__(cls, *args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            component_meta.create_or_modify_pyi = write


class WebRTC(gr.HTML, metaclass=_WithoutStub):
    """A live call as a Gradio component.

    Put it into your Blocks, and give its `stream` a handler, or a `Stream` that is served
    elsewhere too. As an input of other events its value is the id of the call, and with the
    variant ``"textbox"`` a `WebRTCData`.

    Events: ``state_change`` (the call begins, is answered, breaks off or ends),
    ``start_recording`` and ``stop_recording`` (sound flows, or has ended), ``submit`` (text was
    sent), ``tick`` (the handler asks for its inputs).
    """

    # `fetch` is ours: there are outputs.
    EVENTS = [  # type: ignore[assignment] # noqa: RUF012 (Gradio's way)
        "tick",
        "state_change",
        "submit",
        "start_recording",
        "stop_recording",
        "fetch",
    ]

    def __init__(
        self,
        value: None = None,
        height: int | str | None = None,
        width: int | str | None = None,
        label: str | None = None,
        every: gr.Timer | float | None = None,
        inputs: Any = None,
        show_label: bool | None = None,
        container: bool = True,
        scale: int | None = None,
        min_width: int = 160,
        interactive: bool | None = None,
        visible: bool | Literal["hidden"] = True,
        elem_id: str | None = None,
        elem_classes: list[str] | str | None = None,
        render: bool = True,
        key: int | str | tuple[int | str, ...] | None = None,
        mirror_webcam: bool = True,
        rtc_configuration: Configuration = None,
        server_rtc_configuration: Configuration = None,
        track_constraints: dict[str, Any] | None = None,
        time_limit: float | None = None,
        allow_extra_tracks: bool = False,
        mode: Mode = "send-receive",
        modality: Literal["audio", "video", "audio-video"] = "audio",
        rtp_params: dict[str, Any] | None = None,
        icon: str | None = None,
        icon_button_color: str | None = None,
        pulse_color: str | None = None,
        icon_radius: int | None = None,
        button_labels: dict[str, str] | None = None,
        variant: Literal["textbox", "wave"] = "wave",
        full_screen: bool | None = True,
        *,
        serves: Stream | None = None,
        updates: list[Updates] | None = None,
    ) -> None:
        """Set up a component.

        Args:
            value: accepted for old code.
            height: of the component, in pixels or as a CSS length.
            width: the same.
            label: a name for the component.
            every: see `gradio.HTML`.
            inputs: see `gradio.HTML`.
            show_label: whether the label is shown.
            container: whether there is a box around it.
            scale: see `gradio.HTML`.
            min_width: in pixels.
            interactive: accepted for old code.
            visible: whether it is shown.
            elem_id: its id in the page.
            elem_classes: its classes in the page.
            render: whether it is put into the Blocks around it now.
            key: see `gradio.HTML`.
            mirror_webcam: accepted for old code.
            rtc_configuration: what clients connect with, such as TURN servers; a dict, or a
                function that gives one for each connection.
            server_rtc_configuration: the same for the server's side.
            track_constraints: what is asked of the microphone.
            time_limit: seconds after which a call ends.
            allow_extra_tracks: accepted for old code.
            mode: who speaks, seen from the page: ``"send-receive"`` both, ``"send"`` the caller,
                ``"receive"`` the server.
            modality: ``"audio"``.
            rtp_params: accepted for old code.
            icon: path or URL of a picture, which is then the button.
            icon_button_color: a CSS colour; otherwise the theme's.
            pulse_color: a CSS colour of the rings around an icon, which move with the sound;
                otherwise the theme's.
            icon_radius: of an icon's corners, in percent; 50 is a circle.
            button_labels: texts for ``"start"``, ``"stop"`` and ``"waiting"``.
            variant: ``"wave"``, or ``"textbox"`` for a caller who may type or talk.
            full_screen: whether it takes the height of the page, or is a small box.
            serves: not for apps: Gradio gives it when it makes the component anew.
            updates: the same.

        Raises:
            ValueError, NotImplementedError: an argument is none that can be served.
        """
        if variant not in ("wave", "textbox"):
            raise ValueError(f'expected the variant "wave" or "textbox", got {variant!r}')
        self.variant = variant
        self._mode: Mode = mode
        self._options: dict[str, Any] = {
            "mode": mode,
            "modality": modality,
            "time_limit": time_limit,
            "rtc_configuration": rtc_configuration,
            "server_rtc_configuration": server_rtc_configuration,
            "track_constraints": track_constraints,
        }
        self._served = serves
        self._updates: list[Updates] = [] if updates is None else updates
        super().__init__(
            value=None,
            label=label,
            html_template='<div class="fastrtc"></div>',
            css_template=STYLE,
            js_on_load=LOADER,
            apply_default_css=False,
            every=every,
            inputs=inputs,
            show_label=False,  # the call shows it in its own place
            scale=scale,
            min_width=min_width,
            visible=visible,
            elem_id=elem_id,
            elem_classes=elem_classes,
            render=render,
            key=key,
            container=container,
            server_functions=make_server_functions(self),
        )
        if "props" not in vars(self):
            return  # an update that an event returns: all that counts are the arguments
        self.props["settings"] = {
            "mode": mode,
            "variant": variant,
            "show_label": show_label is not False,
            # Gradio puts its address before the URLs of files.
            "icon": self.serve_static_file(icon),
            "icon_button_color": icon_button_color,
            "pulse_color": pulse_color,
            "icon_radius": icon_radius,
            "button_labels": button_labels or {},
            "full_screen": full_screen is not False,
            "height": height,
            "width": width,
        }

    @property
    def constructor_args(self) -> dict[str, Any]:
        """What Gradio makes the component anew with, when an event changes a property of it."""
        kept = {} if self._served is None else {"serves": self._served, "updates": self._updates}
        return {**super().constructor_args, **kept}

    def serving(self) -> Stream:
        """The stream that it shows.

        Raises:
            RuntimeError: it shows none yet.
        """
        if self._served is None:
            raise RuntimeError("This component serves nothing yet: call its stream(handler, ...).")
        return self._served

    def preprocess(self, payload: Any) -> WebRTCData | str:  # type: ignore[override]
        """The id of the call, or what was typed into it."""
        fields = payload if isinstance(payload, dict) else {"webrtc_id": payload}
        call_id, text = fields.get("webrtc_id"), fields.get("textbox")
        data = WebRTCData(
            call_id if isinstance(call_id, str) else "", text if isinstance(text, str) else ""
        )
        return data if self.variant == "textbox" else data.webrtc_id

    def postprocess(self, value: Any) -> Any:
        """What Python may set is a word to the client."""
        return value

    def api_info(self) -> dict[str, Any]:
        """See `gradio.HTML`."""
        return {"type": "object"}

    # Calls.

    def stream(  # type: ignore[override] # `gradio.HTML` has an event of this name
        self,
        fn: Any = None,
        inputs: Blocks = None,
        outputs: Blocks = None,
        js: str | None = None,
        concurrency_limit: int | Literal["default"] | None = "default",
        concurrency_id: str | None = None,
        time_limit: float | None = None,
        trigger: Callable[..., Any] | None = None,
        send_input_on: Literal["submit", "change"] = "change",
    ) -> Any:
        """Let callers of this component talk to a handler.

        Args:
            fn: a handler, in the modes ``"send"`` and ``"receive"`` also a function; or a `Stream`
                whose limits, settings and calls are then shared.
            inputs: this component, and those whose values the handler gets; without this one in
                the mode ``"receive"``.
            outputs: this component, or nothing.
            js: JavaScript that changes the inputs' values before they are sent.
            concurrency_limit: how many calls there may be at once; see `Stream`.
            concurrency_id: accepted for old code: inputs wait for nobody.
            time_limit: seconds after which a call ends; otherwise that of the component.
            trigger: what begins a call besides the component's own button, such as
                ``button.click``.
            send_input_on: whether the handler is told of values when they change, or when they
                are submitted.

        Raises:
            TypeError, ValueError: an argument is none that can be served.
            RuntimeError: this is Colab or a Space, and there is no ``rtc_configuration``; or there
                are no Blocks around.
        """
        if get_blocks_context() is None:
            raise RuntimeError("Call stream() where the component is: inside `with gr.Blocks():`.")
        others = self._check_inputs(inputs, outputs, send_input_on)
        if isinstance(fn, Stream):
            self._check_stream(fn, concurrency_limit, time_limit)
            self._served = fn
        else:
            options = {**self._options, "concurrency_limit": concurrency_limit}
            if time_limit is not None:
                options["time_limit"] = time_limit
            self._served = Stream(fn, telephone=False, **options)
        if self.variant == "textbox":
            self._served.takes_text = True
        check_hosting(self._served)
        runtime = shared_runtime()
        self._served.handler._prepare(runtime.vad, runtime.endpoint)

        given = [self, *others]
        for component in others:
            if hasattr(component, send_input_on):
                listen = getattr(component, send_input_on)
                # The last of several changes is what counts.
                listen(
                    self._take_inputs, given, js=js, queue=False, trigger_mode="always_last",
                    **QUIETLY,
                )  # fmt: skip
        self.submit(self._take_text, given, js=js, queue=False, trigger_mode="multiple", **QUIETLY)
        if trigger is not None:
            trigger(lambda: "start_webrtc_stream", None, self, **QUIETLY)
        return self.tick(
            self._take_inputs, given, js=js, queue=False, trigger_mode="always_last", **QUIETLY
        )

    def on_additional_outputs(
        self,
        fn: Callable[..., Any],
        inputs: Blocks = None,
        outputs: Blocks = None,
        js: str | None = None,
        concurrency_limit: int | Literal["default"] | None = "default",
        concurrency_id: str | None = None,
        show_progress: Literal["full", "minimal", "hidden"] = "hidden",
        queue: bool = True,
    ) -> Any:
        """Update components by the `AdditionalOutputs` of a call.

        May be called several times; each function gets every output. If one raises, the page shows
        the error, and the next output comes.

        Args:
            fn: gets the values of ``inputs``, then what was in the `AdditionalOutputs`; returns
                what ``outputs`` are to show, as handlers of Gradio do: a value, a tuple, a dict by
                component, ``gr.update`` or ``gr.skip``.
            inputs: components whose present values ``fn`` gets.
            outputs: components that it updates; they may be among ``inputs``.
            js: JavaScript that changes the inputs' values before they are sent.
            concurrency_limit: accepted for old code: every caller gets updates.
            concurrency_id: accepted for old code.
            show_progress: what is shown over the outputs while a call is on.
            queue: accepted for old code: updates wait in no queue.
        """
        given, shown = listed(inputs), listed(outputs)
        updates = Updates(fn, given, shown)
        self._updates.append(updates)

        async def fetch(call: WebRTCData | str, *values: Any) -> Any:
            return await updates.fetch(id_of(call), *values)

        return self.fetch(
            fetch, [self, *given], shown, js=js, queue=False, trigger_mode="always_last",
            show_progress=show_progress, api_visibility="private",
        )  # fmt: skip

    def follow(self, call_id: str) -> None:
        """Collect the outputs of a call that was made from this component."""
        session = self.serving().connections.get(call_id)
        if session is not None:
            for updates in self._updates:
                updates.follow(session)

    async def _take_inputs(self, call: WebRTCData | str, *values: Any) -> None:
        call_id = id_of(call)
        # Gone, or not there yet: there is nobody who would want them.
        if call_id in self.serving().connections:
            self.serving().set_input(call_id, *values)

    async def _take_text(self, call: WebRTCData | str, *values: Any) -> None:
        session = self.serving().connections.get(id_of(call))
        if session is None:
            raise gr.Error("The call has ended; the text was not sent.", print_exception=False)
        typed = [call] if isinstance(call, WebRTCData) else []
        self.serving().set_input(session.id, *typed, *values)
        respond = getattr(session.handler, "trigger_response", None)
        if respond is not None:
            respond()

    def _check_stream(self, stream: Stream, concurrency_limit: Any, time_limit: Any) -> None:
        if stream.mode != self._mode:
            raise ValueError(f'the stream has mode="{stream.mode}", its component "{self._mode}"')
        given = {**self._options, "time_limit": time_limit or self._options["time_limit"]}
        given["concurrency_limit"] = None if concurrency_limit == "default" else concurrency_limit
        own = [name for name in given if name not in ("mode", "modality") and given[name]]
        if own:
            raise ValueError(f"give {', '.join(own)} to the Stream, and not to its component")

    def _check_inputs(self, inputs: Blocks, outputs: Blocks, send_input_on: str) -> list[Any]:
        """The components beside this one whose values the handler gets."""
        given, shown = listed(inputs), listed(outputs)
        if send_input_on not in ("submit", "change"):
            raise ValueError(f'expected send_input_on "submit" or "change", got {send_input_on!r}')
        if any(it is not self for it in shown):
            raise ValueError("The only output of stream() is the WebRTC component itself.")
        if self._mode == "receive":
            if self in given:
                raise ValueError('In mode="receive" the WebRTC component is no input.')
            return given
        if not given or given[0] is not self:
            raise ValueError("The first input of stream() is the WebRTC component itself.")
        return given[1:]


def id_of(call: WebRTCData | str) -> str:
    """The id of a call, from the value of a component."""
    return call.webrtc_id if isinstance(call, WebRTCData) else call


def listed(blocks: Any) -> list[Any]:
    """Components that were given as one, several, or none."""
    if blocks is None:
        return []
    return [blocks] if isinstance(blocks, Block) else list(blocks)
