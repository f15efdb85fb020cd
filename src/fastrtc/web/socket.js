/** A line over a WebSocket, for networks that WebRTC finds no path through. */
import { FastRTCError, readRefusal } from "./signalling.js";

const WORKLETS = new URL("./worklets.js", import.meta.url);

/** How long the server may take to begin, in milliseconds. */
const START_MS = 10_000;
/** The time between two pings, and how many may go unanswered: no line is lost that was alive in the last 15 s. */
const PING_MS = 5_000;
const UNANSWERED = 3;
/** Seconds of the caller's sound that may wait for the network. */
const MOST_UNSENT = 1;
/** Sample rates of the wire, in Hz: any in this span that makes whole frames, or else one of these two. */
const LOWEST = 8_000;
const LOW = 24_000;
const HIGHEST = 48_000;
const FRAMES = 50;

const isWireRate = (rate) => rate >= LOWEST && rate <= HIGHEST && rate % FRAMES === 0;

/** The sample rate to ask for, given that of the audio graph. */
export function chooseRate(rate) {
  if (isWireRate(rate)) return rate;
  return rate < HIGHEST ? LOW : HIGHEST;
}

/** Whether the server's format is one that this file speaks. */
const isKnown = ({ encoding, framing, channels, sample_rate }) =>
  encoding === "pcm_s16le" && framing === "binary" && channels === 1 && isWireRate(sample_rate);

/** One WebSocket with sound and texts on it. The same interface as `WebRTCTransport`. */
export class WebSocketTransport {
  /** Called with the new `state`. */
  onstate = () => {};
  /** Called with each text that the server sends, save those of the socket itself. */
  onmessage = () => {};
  /** Called with the server's sound, a `MediaStream`. */
  onstream = () => {};

  #id;
  #url;
  #mode;
  #track;
  #context;
  #watch;
  #reconnected;
  #state = "new";
  #socket = null;
  #settle = () => {};
  #node = null;
  #source = null;
  #mostUnsent = 0;
  #pinging;
  #unanswered = 0;

  /** Whether this browser has what it takes. */
  static possible(context) {
    return Boolean(globalThis.WebSocket && context?.audioWorklet);
  }

  constructor({ id, url, mode, track, context, watch = false, reconnected = false }) {
    if (!WebSocketTransport.possible(context)) throw new FastRTCError("unsupported");
    this.#id = id;
    this.#url = url;
    this.#mode = mode;
    this.#track = track;
    this.#context = context;
    this.#watch = watch;
    this.#reconnected = reconnected;
  }

  /** `new`, `connecting`, `connected` or `closed`. */
  get state() {
    return this.#state;
  }

  /** Calls the server. Resolves to whether it has answered: `close` makes the call moot. */
  async offer({ restart = false } = {}) {
    // What was under way on a socket that broke is gone, so only a fresh call will do.
    if (restart) throw new FastRTCError("unknown_connection");
    this.#become("connecting");
    try {
      await this.#context.audioWorklet.addModule(WORKLETS);
    } catch (cause) {
      throw new FastRTCError("socket_failed", { cause });
    }
    return this.#state === "connecting" && this.#open();
  }

  #open() {
    const socket = (this.#socket = new WebSocket(this.#url));
    socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => this.#fail(new FastRTCError("server_unreachable")), START_MS);
      this.#settle = (error) => {
        clearTimeout(limit);
        error ? reject(error) : resolve(this.#state === "connected");
      };
      const format = {
        encoding: "pcm_s16le",
        sample_rate: chooseRate(this.#context.sampleRate),
        channels: 1,
        framing: "binary",
        marks: true,
      };
      const marks = { ...(this.#watch && { watch: true }), ...(this.#reconnected && { reconnected: true }) };
      const start = { event: "start", websocket_id: this.#id, ...marks, format };
      socket.onopen = () => this.#tell(start);
      socket.onmessage = ({ data }) => this.#receive(data);
      socket.onclose = () => this.#fail(new FastRTCError("socket_failed"));
    });
  }

  #receive(data) {
    this.#unanswered = 0;
    if (typeof data !== "string") return this.#play(data);
    const message = parse(data);
    if (typeof message?.event === "string") this.#obey(message);
    else if (message?.status === "failed" && this.#state === "connecting") this.#fail(readRefusal(message));
    else {
      if (message?.type === "log" && message.data === "interrupted") this.#node?.port.postMessage({ clear: true });
      this.onmessage(data);
    }
  }

  #obey({ event, format, mark }) {
    if (event === "started" && this.#state === "connecting") this.#begin(format ?? {});
    else if (event === "clear") this.#node?.port.postMessage({ clear: true });
    else if (event === "mark" && mark) this.#node?.port.postMessage({ mark });
  }

  #begin(format) {
    if (!isKnown(format))
      return this.#fail(new FastRTCError("server_refused", { detail: "its sound is of another kind" }));
    const { sample_rate: rate } = format;
    const sends = this.#mode !== "receive";
    this.#mostUnsent = MOST_UNSENT * rate * Int16Array.BYTES_PER_ELEMENT;
    this.#node = new AudioWorkletNode(this.#context, "fastrtc-line", {
      channelCount: 1,
      channelCountMode: "explicit",
      outputChannelCount: [1],
      processorOptions: { rate, sends },
    });
    this.#node.port.onmessage = ({ data: { frame, mark } }) => {
      if (mark) this.#tell({ event: "mark", mark });
      // Under way for seconds it would be of no more use, and would delay all that follows.
      else if (this.#socket.bufferedAmount < this.#mostUnsent) this.#socket.send(frame);
    };
    // The sound goes to an audio element by way of a stream: then the browser knows what the microphone's echo is.
    const output = this.#context.createMediaStreamDestination();
    this.#node.connect(output);
    if (sends) this.replaceTrack(this.#track);
    this.#pinging = setInterval(() => this.#ping(), PING_MS);
    this.#become("connected");
    this.#settle();
    if (this.#mode !== "send") this.onstream(output.stream);
  }

  #play(data) {
    // A client that only sends plays nothing; half a sample is none.
    if (this.#mode === "send" || !this.#node) return;
    this.#node.port.postMessage({ sound: new Int16Array(data, 0, data.byteLength >> 1) }, [data]);
  }

  /** Counts pings, not time, as a page in the background is slow to wake. */
  #ping() {
    if (this.#unanswered++ === UNANSWERED) this.#fail(new FastRTCError("socket_failed"));
    else this.#tell({ event: "ping" });
  }

  /** Sends another microphone's sound, on the same line. */
  async replaceTrack(track) {
    this.#track = track;
    if (!this.#node) return;
    this.#source?.disconnect();
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#node);
  }

  /** Sends a text; false while the line cannot carry it. */
  send(text) {
    if (this.#state !== "connected") return false;
    this.#socket.send(text);
    return true;
  }

  close() {
    this.onstate = this.onmessage = this.onstream = () => {};
    if (this.#state === "connected") this.#tell({ event: "stop" });
    this.#fail();
  }

  #fail(error) {
    clearInterval(this.#pinging);
    if (this.#socket) {
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close();
    }
    this.#source?.disconnect();
    this.#node?.port.postMessage({ close: true });
    this.#node?.disconnect();
    this.#source = this.#node = null;
    this.#become("closed");
    this.#settle(error);
  }

  #become(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.onstate(state);
  }

  #tell(message) {
    this.#socket.send(JSON.stringify(message));
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // whoever reads the messages passes over what is none
  }
}
