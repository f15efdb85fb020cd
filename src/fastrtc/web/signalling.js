/**
 * What the browser and the server say to each other before there is a line, and the words for what can go wrong.
 * Nothing here touches the page.
 */
import { Watchdog } from "./watchdog.js";

/** How long the server may take over one reply, in milliseconds. */
const REPLY_MS = 10_000;
/** How long a call waits for the server to let an older one go. */
const CANCEL_MS = 1_000;

const WORDS = {
  insecure_page: "This page may not use a microphone. Open it over https, or on localhost.",
  unsupported: "This browser cannot make the call: it has no WebRTC, or this page is not served over https.",
  microphone_missing: "No microphone was found. Plug one in and try again.",
  microphone_denied: "The microphone is blocked for this page. Allow it in the browser's site settings and try again.",
  microphone_busy: "Another program is using the microphone. Close that program and try again.",
  microphone_failed: "The microphone could not be opened.",
  microphone_lost: "The microphone was unplugged.",
  concurrency_limit_reached: ({ limit }) =>
    limit > 1
      ? `All lines are busy: the server takes ${limit} calls at a time. Try again in a moment.`
      : limit === 1
        ? "The line is busy: the server takes 1 call at a time. Try again in a moment."
        : "All lines are busy. Try again in a moment.",
  shutting_down: "The server is about to stop and takes no more calls. Try again in a moment.",
  not_authorized: "You are not allowed to call this stream.",
  connection_already_exists: "A call with this id is already open.",
  invalid_sdp: "The server could not read this browser's offer.",
  unknown_connection: "The server no longer knows this call.",
  stream_missing: "There is no stream at this address.",
  server_refused: ({ detail }) => `The server could not take the call${detail ? ` (${detail})` : ""}.`,
  server_unreachable: "The server cannot be reached. Check that it is running and that you are online.",
  connection_failed: "Something went wrong on the server, so it could not take the call.",
  server_error: "Something went wrong on the server.",
  ice_failed:
    "No path to the server was found. A firewall may be in the way; on such a network the server needs a TURN relay.",
  socket_failed:
    "No WebSocket to the server could be opened. A proxy may be in the way, or the server does not allow this page.",
  connection_lost: "The connection was lost. Trying to get it back.",
  reconnect_failed: "The connection was lost and could not be brought back. Check the network, then call again.",
  stream_ended: "The server ended the call.",
  autoplay_blocked: "The browser is holding back the sound. Click or tap the page to hear it.",
  cancelled: "The call was hung up before it began.",
};

/** An error that can be shown as it is: `code` for programs, `message` for people. */
export class FastRTCError extends Error {
  constructor(code, { text, cause, ...meta } = {}) {
    const words = WORDS[code] ?? WORDS.server_refused({ detail: code });
    super(text || (typeof words === "function" ? words(meta) : words), { cause });
    this.name = "FastRTCError";
    this.code = code;
  }
}

/** The server's refusal as an error. */
export function readRefusal({ meta }) {
  const { error = "server_refused", ...more } = meta ?? {};
  return new FastRTCError(error, more);
}

/** Runs `work(signal)`, but no longer than `ms` and not beyond `cancel`. */
function within(ms, cancel, work) {
  return new Promise((resolve, reject) => {
    const limit = new AbortController();
    const stop = (reason) => {
      reject(reason);
      limit.abort(reason);
    };
    const cancelled = () => stop(cancel.reason);
    const timer = setTimeout(() => stop(new FastRTCError("server_unreachable")), ms);
    if (cancel?.aborted) cancelled();
    cancel?.addEventListener("abort", cancelled);
    work(limit.signal)
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer);
        cancel?.removeEventListener("abort", cancelled);
      });
  });
}

/** The server's side of the signalling, over HTTP unless functions carry it elsewhere. */
export class Signalling {
  #base;
  #signal;
  #settings;

  /**
   * @param {string} url base of the stream
   * @param {object} [functions]
   * @param {(body: object, cancel: AbortSignal) => Promise<object>} [functions.signal] carries a body and brings the reply
   * @param {() => Promise<object>} [functions.settings] brings the stream's settings
   */
  constructor(url, { signal, settings } = {}) {
    this.#signal = signal;
    this.#settings = settings;
    const base = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    this.#base = base;
  }

  /** The stream's own settings; none when the server has none to give. */
  config(cancel) {
    return within(REPLY_MS, cancel, async (signal) => {
      if (this.#settings) return this.#ask();
      const response = await this.#fetch("webrtc/config", { signal });
      // Some sites answer any unknown path with their front page.
      const none = response.status === 404 || (response.ok && !/json/.test(response.headers.get("content-type")));
      return none ? {} : this.#read(response);
    });
  }

  /** Sends an offer or a candidate; a refusal comes back as an error. */
  async send(body, cancel, ms = REPLY_MS) {
    const carry = this.#signal ?? ((it, signal) => this.#post(it, signal));
    const reply = await within(ms, cancel, async (signal) => carry(body, signal));
    if (reply?.status === "failed") throw readRefusal(reply);
    return reply;
  }

  /** Takes an offer back, so that its place is free; a server that does not see why is not waited for. */
  async cancel(id, cancel) {
    await this.send({ type: "cancel", webrtc_id: id }, cancel, CANCEL_MS).catch(() => {});
  }

  /** Where the stream takes calls over a WebSocket. */
  get socket() {
    const url = new URL("websocket/offer", this.#base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url;
  }

  async #ask() {
    let told;
    try {
      told = await this.#settings();
    } catch (cause) {
      if (cause instanceof FastRTCError) throw cause;
      throw new FastRTCError("server_refused", { text: cause?.message ?? cause, cause });
    }
    if (told?.status === "failed") throw readRefusal(told);
    if (told?.error) throw new FastRTCError("server_refused", { text: told.error });
    return told ?? {};
  }

  async #post(body, signal) {
    const headers = { "Content-Type": "application/json" };
    const request = { method: "POST", headers, body: JSON.stringify(body), signal };
    return this.#read(await this.#fetch("webrtc/offer", request));
  }

  async #fetch(path, request) {
    try {
      return await fetch(new URL(path, this.#base), { cache: "no-store", ...request });
    } catch (cause) {
      throw new FastRTCError("server_unreachable", { cause });
    }
  }

  async #read(response) {
    // A proxy answers so in place of a server that is away.
    if ([502, 503, 504].includes(response.status)) throw new FastRTCError("server_unreachable");
    if (response.status === 404) throw new FastRTCError("stream_missing");
    if (response.status === 403) throw new FastRTCError("not_authorized");
    if (response.status >= 500) throw new FastRTCError("connection_failed");
    if (!response.ok) throw new FastRTCError("server_refused", { detail: `HTTP ${response.status}` });
    try {
      return await response.json();
    } catch (cause) {
      throw new FastRTCError("server_refused", { detail: "its reply makes no sense", cause });
    }
  }
}

/**
 * One peer connection, with the data channel beside the sound. Any other transport has the same `state`,
 * `offer`, `replaceTrack`, `send` and `close`, and calls back in the same three ways.
 */
export class WebRTCTransport {
  /** Called with the new `state`. */
  onstate = () => {};
  /** Called with each text that the server sends. */
  onmessage = () => {};
  /** Called with the server's sound, a `MediaStream`. */
  onstream = () => {};

  #id;
  #signalling;
  #pc;
  #watch;
  #reconnected;
  #watchdog;
  #channel;
  #sender = null;
  #channelClosed = false;
  #outbox = Promise.resolve();
  #round = new AbortController();

  constructor({ id, signalling, mode, track, stream, rtcConfiguration, watch = false, reconnected = false }) {
    if (!globalThis.RTCPeerConnection) throw new FastRTCError("unsupported");
    this.#id = id;
    this.#signalling = signalling;
    this.#watch = watch;
    this.#reconnected = reconnected;
    const pc = (this.#pc = new RTCPeerConnection(rtcConfiguration ?? undefined));
    const changed = () => this.onstate(this.state);
    pc.onconnectionstatechange = changed;
    this.#watchdog = new Watchdog(pc, changed);
    pc.onicecandidate = ({ candidate }) => this.#trickle(candidate);
    pc.ontrack = ({ receiver, track, streams }) => {
      // A conversation would rather hear the reply soon than smooth.
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
      this.onstream(streams[0] ?? new MediaStream([track]));
    };

    this.#channel = pc.createDataChannel("text");
    this.#channel.onmessage = ({ data }) => this.onmessage(data);
    this.#channel.onclose = () => {
      this.#channelClosed = true;
      changed();
    };

    if (mode === "receive") pc.addTransceiver("audio", { direction: "recvonly" });
    else {
      const direction = mode === "send" ? "sendonly" : "sendrecv";
      this.#sender = pc.addTransceiver(track, { direction, streams: [stream] }).sender;
    }
  }

  /**
   * `connectionState` of the peer; also `closed` once the server has shut the channel, and `silent` once nothing comes
   * of a server that always sends something.
   */
  get state() {
    if (this.#channelClosed) return "closed";
    return this.#watchdog.silent ? "silent" : this.#pc.connectionState;
  }

  /**
   * Offers the line to the server; `restart` seeks a new path for a line that has lost its own.
   * Resolves to whether it was answered: a newer offer, or `close`, makes an older one moot.
   */
  async offer({ restart = false } = {}) {
    this.#round.abort();
    const round = (this.#round = new AbortController());
    const exchange = async () => {
      if (restart) this.#pc.restartIce();
      await this.#pc.setLocalDescription();
      const { sdp, type } = this.#pc.localDescription;
      const mark = restart ? { restart } : this.#reconnected && { reconnected: true };
      const body = { sdp, type, webrtc_id: this.#id, ...mark, ...(this.#watch && { watch: true }) };
      const answer = await this.#signalling.send(body, round.signal);
      await this.#pc.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
      if (!round.signal.aborted) this.#watchdog.watch(answer.sdp);
      return true;
    };
    const answered = exchange().catch((error) => {
      if (round.signal.aborted) return false;
      throw error;
    });
    // The server knows the call only once it has answered, so every candidate waits for that.
    this.#outbox = answered.catch(() => round.abort());
    return answered;
  }

  #trickle(candidate) {
    if (!candidate?.candidate) return;
    const { signal } = this.#round;
    const body = { type: "ice-candidate", webrtc_id: this.#id, candidate: candidate.toJSON() };
    // One that is lost is no harm: the others may do without it.
    const send = () => signal.aborted || this.#signalling.send(body, signal);
    this.#outbox = this.#outbox.then(send).catch(() => {});
  }

  /** Sends another microphone's sound, on the same line. */
  async replaceTrack(track) {
    await this.#sender?.replaceTrack(track);
  }

  /** Sends a text; false while the channel cannot carry it. */
  send(text) {
    if (this.#channel.readyState !== "open") return false;
    this.#channel.send(text);
    return true;
  }

  close() {
    this.onstate = this.onmessage = this.onstream = () => {};
    this.#round.abort();
    this.#watchdog.close();
    this.#channel.close();
    this.#pc.close();
  }
}
