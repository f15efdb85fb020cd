"""`Stream`: what the user builds. It joins a handler to routes, limits and callers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

from fastrtc import metrics
from fastrtc.admission import Authorize, Door, Refused, identify, read_limit
from fastrtc.clock import overloaded
from fastrtc.configuration import Configuration, resolve_configuration
from fastrtc.context import PhoneCall
from fastrtc.elsewhere import REFUSED
from fastrtc.handlers.base import AsyncStreamHandler, StreamHandler
from fastrtc.handlers.reading import fresh_copy, read_handler
from fastrtc.handlers.values import AdditionalOutputs
from fastrtc.runtime import Runtime, shared_runtime
from fastrtc.session import Session
from fastrtc.telephones import Telephones
from fastrtc.tracing import continued
from fastrtc.transports.telephone.provider import TelephoneOptions
from fastrtc.transports.telephone.returning import Returns
from fastrtc.transports.webrtc.engines import EngineChoice, check_engine, open_engine
from fastrtc.transports.webrtc.place import MediaPlace, read_place

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import HTTPConnection
    from starlette.websockets import WebSocket

    from fastrtc.elsewhere import Elsewhere
    from fastrtc.routes import Offer
    from fastrtc.transports.opus import OpusOptions
    from fastrtc.transports.ports import PortRange
    from fastrtc.transports.sip.listener import SipListener
    from fastrtc.transports.telephone.exchange import Exchange
    from fastrtc.transports.webrtc.signalling import Signalling

logger = logging.getLogger(__name__)

Mode = Literal["send-receive", "send", "receive"]


class UIArgs(TypedDict, total=False):
    """How the page looks."""

    title: str
    subtitle: str
    icon: str
    icon_button_color: str
    pulse_color: str
    icon_radius: int
    send_input_on: Literal["submit", "change"]
    hide_title: bool
    full_screen: bool
    variant: Literal["wave", "textbox"]


class Stream(Telephones):
    """A voice line. Give it a handler, then `mount` it on an app, or `run` it."""

    being_read: ClassVar[bool] = False
    """Whether ``fastrtc run`` reads a module that may call `run` at its end."""

    def __init__(
        self,
        handler: StreamHandler | AsyncStreamHandler | Callable[..., Any],
        *,
        additional_outputs_handler: Callable[..., Any] | None = None,
        mode: Mode = "send-receive",
        modality: Literal["audio", "video", "audio-video"] = "audio",
        concurrency_limit: int | Literal["default"] | None = "default",
        time_limit: float | None = None,
        allow_extra_tracks: bool = False,
        rtp_params: dict[str, Any] | None = None,
        rtc_configuration: Configuration = None,
        server_rtc_configuration: Configuration = None,
        track_constraints: dict[str, Any] | None = None,
        additional_inputs: Any = None,
        additional_outputs: Any = None,
        ui_args: UIArgs | None = None,
        verbose: bool = True,
        authorize: Authorize | None = None,
        allowed_origins: Sequence[str] | None = None,
        telephone: TelephoneOptions | Literal[False] | None = None,
        on_dtmf: Callable[[str], Any] | None = None,
        engine: EngineChoice = "auto",
        opus: OpusOptions | None = None,
    ) -> None:
        """Set up a stream. It opens nothing.

        Args:
            handler: a handler, of which each call gets a copy; or, in the modes ``"send"`` and
                ``"receive"``, a function (see `FunctionHandler`).
            additional_outputs_handler: merges `AdditionalOutputs` into the page's outputs.
            mode: who speaks, seen from the client.
            modality: ``"audio"``.
            concurrency_limit: how many calls there may be at once, over all transports; None
                for no limit, ``"default"`` for 40, as media use one core. Whatever it is,
                nobody comes in while the process is late with the calls that it has.
            time_limit: seconds after which a call ends.
            allow_extra_tracks: accepted for old code; further tracks are declined in the answer.
            rtp_params: accepted for old code.
            rtc_configuration: what clients connect with, such as TURN servers.
            server_rtc_configuration: what the server connects with.
            track_constraints: what the page asks of the microphone.
            additional_inputs: Gradio components, or one, whose values the handler gets.
            additional_outputs: Gradio components, or one, that `AdditionalOutputs` update.
            ui_args: how the page looks.
            verbose: log calls that begin and end.
            authorize: says whether a caller may come in. It gets the request of an offer, or the
                WebSocket that carries the call, which for a telephone call has its facts, a
                `PhoneCall`, as ``websocket.state.phone``; and returns False or None for no, True
                for yes, or anything else for yes, which is then ``get_current_context().identity``;
                the identities of one caller must be equal, as an offer may be made anew.
                A sync function runs on a worker thread.
            allowed_origins: the pages that may open a WebSocket, such as
                ``["https://example.com"]``, or ``["*"]``. None for pages of the server's own host.
            telephone: how telephone calls are taken; False for none, and no routes for them.
            on_dtmf: called with each digit that a caller presses on a telephone, in the context of
                the call; the handler's own ``on_dtmf`` is called besides.
            engine: what speaks WebRTC: ``"auto"`` for the best there is, which is ``"aiortc"``,
                or an `Engine` of your own.
            opus: how sound to WebRTC clients is encoded.

        Raises:
            ValueError, TypeError: an argument is none that can be served.
            NotImplementedError: for video.
        """
        if modality not in ("audio", "video", "audio-video"):
            raise ValueError(f'expected modality "audio", got {modality!r}')
        if modality != "audio":
            raise NotImplementedError(
                f'The modality {modality!r} is not there yet; use modality="audio".'
            )
        if mode not in ("send-receive", "send", "receive"):
            raise ValueError(f'expected mode "send-receive", "send" or "receive", got {mode!r}')
        if additional_outputs and additional_outputs_handler is None:
            raise ValueError(
                "additional_outputs need an additional_outputs_handler, which says how they "
                "are updated."
            )
        if time_limit is not None and not time_limit > 0:
            raise ValueError(f"expected a time_limit over 0 s, got {time_limit}")
        self.handler = read_handler(handler, mode)
        self.mode: Mode = mode
        self.modality = modality
        self.time_limit = time_limit
        self.rtc_configuration = rtc_configuration
        self.server_rtc_configuration = server_rtc_configuration
        self.track_constraints = track_constraints
        self.additional_inputs = additional_inputs
        self.additional_outputs = additional_outputs
        self.additional_outputs_handler = additional_outputs_handler
        self.ui_args: UIArgs = ui_args or {}
        if unknown := sorted(set(self.ui_args) - set(UIArgs.__annotations__)):
            logger.warning("ui_args has no %s; what there is: UIArgs", ", ".join(unknown))
        self.takes_text = self.ui_args.get("variant") == "textbox"
        """Whether callers may type, so that a reply function gets `WebRTCData`."""
        self.verbose = verbose
        self.authorize = authorize
        self.allowed_origins = allowed_origins
        self.telephone = telephone
        self.returns = Returns()
        """How telephone calls come back whose media socket broke; a cluster sets it up."""
        self.on_dtmf = on_dtmf
        self.engine = check_engine(engine)
        if opus is not None:
            # Imported here, as whoever gives options has done.
            from fastrtc.transports.opus import OpusOptions

            if not isinstance(opus, OpusOptions):
                raise TypeError(f"expected opus to be OpusOptions, got {type(opus).__name__}")
        self.opus = opus
        self._place: MediaPlace | None = None
        self._mounted = ""
        self._phones: Exchange | None = None
        self._listeners: list[SipListener] = []
        self._door = Door(read_limit(concurrency_limit), overloaded)
        self.has_limit = concurrency_limit not in ("default", None)
        """Whether the user has said how many calls there may be."""
        self._signalling: Signalling | None = None
        self._ui: Any = None
        self._asking: asyncio.Future[dict[str, Any] | None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: all that the user gave, and nothing of the calls here."""
        own: dict[str, Any] = {
            "_phones": None,
            "_signalling": None,
            "_ui": None,
            "_asking": None,
            "_listeners": [],
        }
        return {**self.__dict__, **own, "_door": Door(self._door.limit, overloaded)}

    # Calls.

    @property
    def connections(self) -> dict[str, Session]:
        """The live calls by id; a copy."""
        return dict(self._door.sessions)

    @property
    def concurrency_limit(self) -> int | None:
        """How many calls there may be at once; None for no limit."""
        return self._door.limit

    def admit(
        self,
        session_id: str,
        *,
        transport: str = "webrtc",
        phone_mode: bool = False,
        phone: PhoneCall | None = None,
        identity: Any = None,
        reconnected: bool = False,
        watched: bool = False,
        runtime: Runtime | None = None,
    ) -> Session:
        """Let a caller in, whatever the transport: take a slot and make a session.

        The slot is free again when the session is closed.

        Args:
            session_id: its id.
            transport: ``"webrtc"`` or ``"websocket"``; of a telephone call ``phone`` says it.
            phone_mode: whether the caller is on a telephone.
            phone: the facts of a telephone call.
            identity: who calls, as `authorize` has it.
            reconnected: whether the caller lost a call of this id and comes back.
            watched: whether the client wants to see how turns are taken.
            runtime: in the place of the services that calls of this process share.

        Raises:
            Refused: the id is live, all slots are taken, or the stream is closing.
        """
        if phone is not None:
            transport = "sip" if phone.provider == "sip" else "telephone"
        self._door.check(session_id)
        handler = fresh_copy(self.handler)
        handler.takes_text = self.takes_text
        session = Session(
            session_id,
            handler,
            runtime or shared_runtime(),
            mode=self.mode,
            transport=transport,
            phone_mode=phone_mode or phone is not None,
            phone=phone,
            identity=identity,
            reconnected=reconnected,
            watched=watched,
            time_limit=self.time_limit,
            on_dtmf=self.on_dtmf,
            on_ended=self._ended,
        )
        self._door.enter(session)
        if self.elsewhere is not None:
            session.span.note(replica=self.elsewhere.replica)
        metrics.sessions.add(transport)
        metrics.live_sessions.add(transport)
        if self.verbose:
            logger.info("Call %s begins (%d live)", session_id, len(self._door.sessions))
        return session

    async def _let_in(
        self, session_id: str, *, identity: Any, reconnected: bool, **options: Any
    ) -> Session:
        """See `admit`: here a call that the caller has lost gives way, if it is still live, and
        the other replicas are asked for a place.
        """
        if not reconnected:
            self._door.check(session_id)
            await self._reserve(session_id, identity, again=False)
            return self.admit(session_id, identity=identity, **options)
        async with self._door.returning(session_id, identity):
            await self._reserve(session_id, identity, again=True)
            return self.admit(session_id, identity=identity, reconnected=True, **options)

    async def _reserve(self, session_id: str, identity: Any, *, again: bool) -> None:
        if self._door.elsewhere is not None:
            await self._door.elsewhere.reserve(session_id, identity, again=again)

    async def make_way(self, session_id: str, identity: Any) -> None:
        """See `Door.make_way`."""
        await self._door.make_way(session_id, identity)

    @property
    def refusal(self) -> Refused | None:
        """Why nobody may come in now; None while calls are taken. On the event loop."""
        return self._door.refusal

    async def find_refusal(self) -> Refused | None:
        """See `Door.find_refusal`."""
        return await self._door.find_refusal()

    async def close(self, grace: float = 0.0) -> None:
        """Take no more calls, end those that are live, and answer SIP no more.

        Who calls from now on is refused with ``shutting_down``, until a server of this stream
        starts again.

        Args:
            grace: seconds for which live calls may go on.
        """
        await self._door.close(grace)
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.close()
        for session in list(self._door.sessions.values()):
            session.end("The server is stopping")
        for session in list(self._door.sessions.values()):
            await session.close()

    def _ended(self, session: Session) -> None:
        self._door.leave(session)
        metrics.live_sessions.add(session.transport, -1)
        if self.verbose:
            logger.info("Call %s ended (%d live)", session.id, len(self._door.sessions))

    def share(self, elsewhere: Elsewhere) -> None:
        """Be one of several replicas, which count their calls together, and find each other's."""
        self._door.elsewhere = elsewhere

    @property
    def elsewhere(self) -> Elsewhere | None:
        """The other replicas; None where there are none."""
        return self._door.elsewhere

    def _session(self, webrtc_id: str) -> Session:
        session = self._door.sessions.get(webrtc_id)
        if session is None:
            raise ValueError(f"There is no live call with the id {webrtc_id!r}.")
        return session

    # Inputs and outputs.

    def set_input(self, webrtc_id: str, *args: Any) -> None:
        """Give a call the values of its inputs. From any thread.

        Raises:
            ValueError: no live call has this id; on a cluster the log says it, where the call is
                not of this replica.
        """
        if self._door.elsewhere is not None and webrtc_id not in self._door.sessions:
            self._door.elsewhere.set_input(webrtc_id, list(args))
            return
        session = self._session(webrtc_id)
        session.loop.call_soon_threadsafe(session.handler.set_args, list(args))

    async def output_stream(self, webrtc_id: str) -> AsyncIterator[AdditionalOutputs]:
        """The `AdditionalOutputs` of a call as they come, until the call ends.

        Raises:
            ValueError: no live call has this id.
        """
        if self._door.elsewhere is not None and webrtc_id not in self._door.sessions:
            read = self._door.elsewhere.outputs(webrtc_id)
        else:
            read = self._session(webrtc_id).outputs.read()
        async for outputs in read:
            yield outputs

    async def fetch_latest_output(self, webrtc_id: str) -> AdditionalOutputs:
        """The newest `AdditionalOutputs` of a call; waits for the first one.

        Raises:
            ValueError: no live call has this id, or it ended without any.
        """
        if self._door.elsewhere is not None and webrtc_id not in self._door.sessions:
            return await self._door.elsewhere.latest(webrtc_id)
        session = self._session(webrtc_id)
        if session.outputs.latest is None:
            async for outputs in session.outputs.read():
                return outputs
            raise ValueError(f"The call {webrtc_id!r} ended without outputs.")
        return session.outputs.latest

    # Serving.

    async def offer(
        self, body: Offer | dict[str, Any], request: HTTPConnection | None = None
    ) -> dict[str, Any]:
        """Answer a client's offer or candidate, as ``POST /webrtc/offer`` does.

        ``request``: what brought it, for a stream with an ``authorize`` function.
        """
        fields = body if isinstance(body, dict) else body.model_dump()
        identity = None
        with continued(None if request is None else request.headers):
            if fields.get("type") == "offer":
                try:
                    identity = await self.identify(request)
                    if request is not None and (full := request.scope.get(REFUSED)) is not None:
                        raise full
                except Refused as refused:
                    metrics.refused.add(refused.why)
                    return refused.as_reply()
            return await self._webrtc.handle(fields, identity)

    async def identify(self, connection: HTTPConnection | None) -> Any:
        """Ask the ``authorize`` function who a caller is.

        Raises:
            Refused: the caller may not come in.
        """
        return await identify(self.authorize, connection, shared_runtime().workers)

    async def websocket_offer(self, websocket: WebSocket) -> None:
        """Serve a call over a WebSocket, from its acceptance to its end."""
        from fastrtc.transports.sockets.offer import serve_offer

        with continued(websocket.headers):
            await serve_offer(
                websocket,
                (self.handler.input_sample_rate, self.handler.output_sample_rate),
                origins=self.allowed_origins,
                identify=self.identify,
                admit=self._let_in,
            )

    # Routes.

    def mount(
        self,
        app: FastAPI,
        path: str = "",
        tags: list[str] | None = None,
        dependencies: Sequence[Any] | None = None,
    ) -> None:
        """Add the stream's routes to an app.

        Args:
            app: a FastAPI app or router.
            path: what stands before the routes, such as ``"/voice"``.
            tags: for the API documentation.
            dependencies: FastAPI dependencies of all routes, such as authentication.
        """
        from fastrtc.routes import make_router

        # What is slow to load is loaded now, and not while the first caller waits.
        _ = self._webrtc
        self.handler._prepare(shared_runtime().vad, shared_runtime().endpoint)
        self._mounted = path.rstrip("/")
        self._door.open()
        app.include_router(make_router(self, path, tags, dependencies))

    def run(
        self,
        host: str = "127.0.0.1",
        port: int = 7860,
        *,
        grace: float = 30.0,
        media_address: str | None = None,
        media_ports: str | PortRange | None = None,
        **options: Any,
    ) -> None:
        """Serve the page and the routes until the process is stopped.

        While ``fastrtc run`` reads the module that the stream is in, this does nothing: the
        command serves it.

        Args:
            host: the address to listen at.
            port: and the port.
            grace: seconds that live calls have to end after SIGTERM, while new ones are refused.
                Ctrl-C, or a second signal, ends them at once.
            media_address: the IP address at which callers reach the media; None as
                `media_place` has it.
            media_ports: the UDP ports for media, such as ``"50000-50199"``; the same.
            options: ``app``, a FastAPI of your own that the stream is mounted on, to be served in
                the place of the page; and what `uvicorn.run` takes, such as ``ssl_certfile``:
                browsers give the microphone only to pages on localhost or over https.

        Raises:
            SystemExit: the port cannot be used; the text says why.
            ValueError: the media can be reached at no such address, or at no such ports.
        """
        if Stream.being_read:
            return
        from fastrtc.server import serve

        if media_address is not None or media_ports is not None:
            before = self._place or MediaPlace()
            self.media_place = read_place(
                before.address if media_address is None else media_address,
                before.ports if media_ports is None else media_ports,
            )
        serve(self, host, port, grace=grace, **options)

    @property
    def media_place(self) -> MediaPlace:
        """Where the media of this server is reached; may be set, for calls that begin then.

        Until it is set it is what ``FASTRTC_MEDIA_ADDRESS`` and ``FASTRTC_MEDIA_PORTS`` in the
        environment say.

        Raises:
            ValueError: they say something else than an IP address, or a range of ports.
        """
        if self._place is None:
            self._place = read_place()
        return self._place

    @media_place.setter
    def media_place(self, place: MediaPlace) -> None:
        self._place = place
        if self._signalling is not None:
            self._signalling.engine = open_engine(self.engine, place)

    @property
    def ui(self) -> Any:
        """The Gradio Blocks of this stream, made when they are first asked for; may be set to
        your own.

        Raises:
            ImportError: the extra ``ui`` is not installed.
            RuntimeError: this is Colab or a Space, and there is no ``rtc_configuration``.
        """
        if self._ui is None:
            # Gradio costs two seconds that only those should pay who use it.
            from fastrtc.ui.blocks import make_blocks

            self._ui = make_blocks(self)
        return self._ui

    @ui.setter
    def ui(self, blocks: Any) -> None:
        self._ui = blocks

    def fastphone(self, *args: Any, **kwargs: Any) -> None:
        """Not there: it depended on a service of another project."""
        raise NotImplementedError(
            "fastphone() depended on a hosted service. Use your own number: see the telephone "
            "guide in the documentation."
        )

    @property
    def _webrtc(self) -> Signalling:
        if self._signalling is None:
            # Imported here: aiortc costs 0.2 s that `import fastrtc` should not.
            from fastrtc.transports.webrtc.signalling import Signalling

            engine = open_engine(self.engine, self.media_place)
            self._signalling = Signalling(
                engine, self._let_in, self._server_configuration, self.opus
            )
        return self._signalling

    async def client_settings(self) -> dict[str, Any]:
        """What a client has to know to connect, and the page to introduce itself."""
        return {
            "title": self.ui_args.get("title", "FastRTC"),
            "subtitle": self.ui_args.get("subtitle", ""),
            "mode": self.mode,
            "rtc_configuration": await self.client_configuration(),
            "track_constraints": self.track_constraints,
        }

    async def client_configuration(self) -> dict[str, Any] | None:
        """The RTCConfiguration for a client that connects now.

        Clients that ask while an answer is on its way share it, so that a crowd costs the user's
        TURN service one question.
        """
        if self._asking is None:
            self._asking = asyncio.ensure_future(resolve_configuration(self.rtc_configuration))
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, task: asyncio.Future[Any]) -> None:
        self._asking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("The rtc_configuration function failed", exc_info=error)

    async def _server_configuration(self) -> dict[str, Any] | None:
        return await resolve_configuration(self.server_rtc_configuration)


__all__ = ["Configuration", "Refused", "Stream", "UIArgs"]
