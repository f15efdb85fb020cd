/**
 * A live voice line to a FastRTC stream. Draws nothing, so any page or component can stand on it.
 */
import { Meter } from "./meter.js";
import { FastRTCError, Signalling, WebRTCTransport } from "./signalling.js";
import { WebSocketTransport } from "./socket.js";

export { FastRTCError };

/** How long ICE may mend itself before the path is sought anew, in milliseconds. */
const GRACE_MS = 1_500;
/** How long a first connection may take, in milliseconds. */
const CONNECT_MS = 20_000;
/** The same where a WebSocket is the alternative: a path that is there is found in less. */
const PATH_MS = 5_000;
/** How long one ICE restart may take before the next, and all of them before a fresh connection is tried. */
const RESTART_MS = 2_500;
const RESTARTS_MS = 10_000;
/** The first wait after a server that cannot be reached, and the longest: each is twice the one before. */
const AWAY_MS = 250;
const LONGEST_AWAY_MS = 1_000;
/** The waits before each fresh connection. */
const BACKOFF_MS = [0, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000];

const VOICE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

const MICROPHONE_ERRORS = {
  NotFoundError: "microphone_missing",
  OverconstrainedError: "microphone_missing",
  NotAllowedError: "microphone_denied",
  SecurityError: "microphone_denied",
  NotReadableError: "microphone_busy",
  AbortError: "microphone_busy",
};

const TRANSPORTS = ["auto", "webrtc", "websocket"];

/** What speaks against WebRTC, and not against the call: then a WebSocket is worth a try. */
const NO_WEBRTC = ["unsupported", "invalid_sdp", "connection_failed", "ice_failed"];
/** What says that the server has a call of this id that is not ours to replace: then only a new id will do. */
const TAKEN = ["connection_already_exists", "not_authorized"];

/** What says no more of a WebSocket than that there is none. */
const NO_SOCKET = ["unsupported", "socket_failed", "server_unreachable"];

/** Messages of a server that is watched, and the events that they become: `turn` is taken. */
const WATCHED = { steps: "steps", decision: "decision", turn: "turn_record" };

const TURNS = {
  started_talking: "hearing",
  pause_detected: "thinking",
  response_starting: "speaking",
  interrupted: "interrupted",
};

/** What is no turn while the server waits for a stop word. */
const OVERHEARD = ["started_talking", "pause_detected"];

/** Who has the turn while nothing goes on: a server with stop words says which of the two it is. */
const RESTS = { asleep: "asleep", awake: "listening" };

// Not randomUUID: a page that only listens may be served without https.
const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

/** A wait that is not the same for all callers of a server that is gone: they should not come back as one. */
const scatter = (ms) => ms * (0.5 + Math.random());

/**
 * One caller of one stream.
 *
 * Events carry their news in `detail`: `state` `{state}`, `turn` `{turn}`, `message` `{type, data}`
 * as the server sent it, `transport` `{transport}`, `error` `{code, message}` with a message made for people, `stopword` `{}` once a stop word
 * was heard. With the option `watch` the server also tells how it takes turns: `steps` `{end, steps}`, `decision`
 * `{at, kind, …}` and, once a turn is over, `turn_record`.
 */
export class FastRTCClient extends EventTarget {
  #options;
  #signalling;
  #config = {};
  #id;
  #idUsed = false;
  #lost = false; // whether the call of this id was, and is called back
  #state = "idle";
  #turn = null;
  #transport = null;
  #needsSocket = false; // as this network has shown
  #rest = "listening";
  #muted = false;
  #call = null; // AbortController of the call under way
  #connecting = null;
  #line = null;
  #graceTimer;
  #poke = null;
  #localStream = null;
  #remoteStream = null;
  #audio;
  #context = null;
  #inputMeter = null;
  #outputMeter = null;

  /**
   * @param {object} [options]
   * @param {string} [options.url="."] base URL of the stream, resolved against the page
   * @param {(body: object, cancel: AbortSignal) => Promise<object>} [options.signal] takes the place of the HTTP signalling
   * @param {() => Promise<object>} [options.settings] takes the place of fetching the stream's settings
   * @param {"auto" | "webrtc" | "websocket"} [options.transport="auto"] `auto` is WebRTC, or a WebSocket where that fails
   * @param {"send-receive" | "send" | "receive"} [options.mode] which ways the sound goes
   * @param {RTCConfiguration | null} [options.rtcConfiguration] ICE servers and the like
   * @param {MediaTrackConstraints | null} [options.trackConstraints] laid over the defaults for voice
   * @param {string} [options.deviceId] the microphone to begin with
   * @param {string} [options.id] the server's id of the first call; later ones get new ids
   * @param {HTMLAudioElement} [options.audio] plays the replies; one is made if none is given
   * @param {boolean} [options.watch=false] asks the server to tell how it takes turns
   */
  constructor(options = {}) {
    super();
    const { transport = "auto" } = options;
    if (!TRANSPORTS.includes(transport))
      throw new TypeError(`transport is one of ${TRANSPORTS.join(", ")}, not ${JSON.stringify(transport)}`);
    this.#options = { ...options, transport };
    this.#signalling = new Signalling(options.url ?? ".", options);
    this.#id = options.id ?? newId();
    this.#audio = options.audio ?? null;
  }

  /** `idle`, `connecting`, `connected`, `reconnecting`, `closed` or `failed`. */
  get state() {
    return this.#state;
  }

  /** `listening`, `asleep`, `hearing`, `thinking`, `speaking` or `interrupted`; null without a call. */
  get turn() {
    return this.#turn;
  }

  /** What carries the call, or is tried for it: `webrtc` or `websocket`; null without a call. */
  get transport() {
    return this.#transport;
  }

  /** The id by which the server knows this call. */
  get id() {
    return this.#id;
  }

  /** Whether the microphone is silenced. */
  get muted() {
    return this.#muted;
  }

  /** What the stream says of itself, overlaid with the options. */
  get config() {
    const { title = null, subtitle = null, mode, rtc_configuration, track_constraints } = this.#config;
    const options = this.#options;
    return {
      title,
      subtitle,
      mode: options.mode ?? mode ?? "send-receive",
      rtcConfiguration: options.rtcConfiguration !== undefined ? options.rtcConfiguration : (rtc_configuration ?? null),
      trackConstraints: options.trackConstraints !== undefined ? options.trackConstraints : (track_constraints ?? null),
    };
  }

  /** The audio graph of the call, for sounds of the page's own: the click that began it has started it. */
  get audioContext() {
    return this.#context;
  }

  /** The device id of the open microphone; null when none is. */
  get microphone() {
    return this.#localStream?.getAudioTracks()[0]?.getSettings().deviceId ?? null;
  }

  /** The server's sound; null until it arrives. */
  get remoteStream() {
    return this.#remoteStream;
  }

  /** Loudness of the caller right now, 0 to 1 on a decibel scale. */
  get inputLevel() {
    return this.#inputMeter?.level ?? 0;
  }

  /** Loudness of the reply right now, 0 to 1 on a decibel scale. */
  get outputLevel() {
    return this.#outputMeter?.level ?? 0;
  }

  /** The microphones of this machine; their labels are empty until the page may use one. */
  static async microphones() {
    const devices = (await globalThis.navigator?.mediaDevices?.enumerateDevices()) ?? [];
    return devices
      .filter(({ kind, deviceId }) => kind === "audioinput" && deviceId)
      .map(({ deviceId, label }) => ({ deviceId, label }));
  }

  /** Asks the stream for its settings. Every connection does so by itself: TURN credentials do not keep. */
  async configure() {
    const { url, signal, settings, mode, rtcConfiguration } = this.#options;
    const given = mode !== undefined && rtcConfiguration !== undefined;
    if (!given && (settings || url !== undefined || !signal)) this.#config = await this.#signalling.config(this.#call?.signal);
    return this.config;
  }

  /** Calls the stream; resolves once sound can flow, rejects with a `FastRTCError` after its `error` event. */
  connect() {
    if (!this.#call) this.#connecting = this.#start((this.#call = new AbortController()).signal);
    return this.#connecting;
  }

  /** Hangs up. */
  disconnect() {
    if (!this.#call) return;
    this.#hangUp();
    this.#setState("closed");
  }

  /** Silences the microphone, or lets it be heard again; holds over calls. */
  setMuted(muted) {
    this.#muted = Boolean(muted);
    for (const track of this.#localStream?.getAudioTracks() ?? []) track.enabled = !this.#muted;
  }

  /** Takes another microphone, during the call too; an empty id stands for the browser's default. */
  async setMicrophone(deviceId) {
    this.#options.deviceId = deviceId || undefined;
    if (!this.#localStream) return;
    const { signal } = this.#call;
    try {
      await this.#openMicrophone(signal, deviceId && { deviceId: { exact: deviceId } });
      await this.#line?.replaceTrack(this.#localStream.getAudioTracks()[0]);
    } catch (error) {
      if (signal.aborted) return;
      this.#report(error);
      throw error;
    }
  }

  /** Sends an object to the server as JSON; false while there is no line to send it on. */
  send(object) {
    return this.#line?.send(JSON.stringify(object)) ?? false;
  }

  /** Plays the reply; worth calling from a click after the error `autoplay_blocked`. */
  async play() {
    try {
      await Promise.all([this.#audio?.srcObject && this.#audio.play(), this.#context?.resume?.()]);
    } catch (cause) {
      // AbortError only says that a newer stream took the place of this one.
      if (cause.name === "NotAllowedError") this.#report(new FastRTCError("autoplay_blocked", { cause }));
    }
  }

  async #start(signal) {
    this.#setState("connecting");
    globalThis.addEventListener?.("online", () => this.#online(), { signal });
    globalThis.addEventListener?.("pagehide", () => this.disconnect(), { signal });
    try {
      // Made now, while the click that asked for the call still counts as one.
      if (globalThis.AudioContext) this.#context = new AudioContext();
      this.#context?.resume?.().catch(() => {}); // a browser that wants a click first: see `play`
      const { mode } = await this.configure();
      signal.throwIfAborted();
      if (mode !== "receive") await this.#openMicrophone(signal);
      await this.#dial(signal);
      this.#setState("connected");
    } catch (error) {
      if (signal.aborted) throw new FastRTCError("cancelled");
      throw this.#fail(error);
    }
  }

  async #openMicrophone(signal, choice) {
    const { deviceId = undefined } = this.#options;
    // Only wished for: a microphone that is gone since should not stop the call.
    const device = choice || (deviceId ? { deviceId: { ideal: deviceId } } : {});
    const media = globalThis.navigator?.mediaDevices;
    if (!media?.getUserMedia) throw new FastRTCError("insecure_page");
    let stream;
    try {
      stream = await media.getUserMedia({ audio: { ...VOICE, ...this.config.trackConstraints, ...device } });
    } catch (cause) {
      throw new FastRTCError(MICROPHONE_ERRORS[cause.name] ?? "microphone_failed", { cause });
    }
    if (signal.aborted) stop(stream);
    signal.throwIfAborted();
    stop(this.#localStream);
    this.#localStream = stream;
    this.setMuted(this.#muted);
    this.#inputMeter?.close();
    this.#inputMeter = this.#context && new Meter(this.#context, stream);
    stream.getAudioTracks()[0].onended = () => {
      this.#report(new FastRTCError("microphone_lost"));
      this.setMicrophone("").catch(() => {});
    };
  }

  /** Makes a fresh line over whatever there is a path for. */
  async #dial(signal) {
    if (this.#options.transport === "websocket" || this.#needsSocket) return this.#dialOver("websocket", signal);
    try {
      await this.#dialOver("webrtc", signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!this.#canFallBack || !this.#speaksAgainstWebRTC(error)) throw error;
      await this.#fallBack(error, signal);
    }
  }

  get #canFallBack() {
    const { transport, signal, url } = this.#options;
    const placed = url !== undefined || !signal; // or nobody has said where
    return transport === "auto" && placed && WebSocketTransport.possible(this.#context);
  }

  #speaksAgainstWebRTC(error) {
    // What is no error of ours comes from the browser, or from a `signal` function, which alone knows what it means.
    return error instanceof FastRTCError ? NO_WEBRTC.includes(error.code) : !this.#options.signal;
  }

  async #fallBack(error, signal) {
    this.#line?.close();
    if (error.code !== "unsupported") await this.#signalling.cancel(this.#id, signal);
    signal.throwIfAborted();
    try {
      await this.#dialOver("websocket", signal);
      this.#needsSocket = true;
    } catch (failure) {
      throw failure instanceof FastRTCError && !NO_SOCKET.includes(failure.code) ? failure : error;
    }
  }

  /** Makes a fresh line and waits until it carries sound. */
  async #dialOver(transport, signal) {
    if (this.#idUsed && !this.#lost) this.#id = newId();
    this.#rest = "listening";
    this.#setTransport(transport);
    const line = (this.#line = this.#makeLine(transport));
    this.#idUsed = true;
    line.onmessage = (text) => this.#receive(text);
    line.onstream = (remote) => this.#hear(remote);
    line.onstate = (state) => this.#watch(state);
    await line.offer();
    signal.throwIfAborted();
    const patience = this.#canFallBack ? PATH_MS : CONNECT_MS;
    if (line.state !== "connected")
      await this.#pause(patience, signal, (it) => ["connected", "failed", "closed"].includes(it));
    if (line.state !== "connected") throw new FastRTCError("ice_failed");
    this.#setTurn(this.#rest);
  }

  #makeLine(transport) {
    const { mode, rtcConfiguration } = this.config;
    const stream = this.#localStream;
    const track = stream?.getAudioTracks()[0];
    const common = { id: this.#id, mode, track, watch: Boolean(this.#options.watch), reconnected: this.#lost };
    const signalling = this.#signalling;
    return transport === "websocket"
      ? new WebSocketTransport({ ...common, url: signalling.socket, context: this.#context })
      : new WebRTCTransport({ ...common, signalling, stream, rtcConfiguration });
  }

  #hear(stream) {
    this.#remoteStream = stream;
    this.#outputMeter?.close();
    this.#outputMeter = this.#context && new Meter(this.#context, stream);
    this.#audio ??= globalThis.Audio ? new Audio() : null;
    if (this.#audio) this.#audio.srcObject = stream;
    this.play();
  }

  #watch(state) {
    this.#poke?.(state);
    // Before and after that, whoever dials or recovers is watching.
    if (this.#state !== "connected") return;
    clearTimeout(this.#graceTimer);
    if (state === "disconnected") this.#graceTimer = setTimeout(() => this.#recover(), GRACE_MS);
    // Nobody has been heard for a while already where it is silent.
    if (["silent", "failed", "closed"].includes(state)) this.#recover();
  }

  #online() {
    this.#poke?.("online");
    if (this.#state === "connected" && this.#line.state === "disconnected") this.#recover();
  }

  async #recover() {
    const { signal } = this.#call;
    clearTimeout(this.#graceTimer);
    this.#setState("reconnecting");
    this.#report(new FastRTCError("connection_lost"));
    try {
      if (!(await this.#restart(signal))) await this.#redial(signal);
      this.#setState("connected");
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  /** Seeks a new path for the same line; false when only a fresh one will do. */
  async #restart(signal) {
    const line = this.#line;
    const news = (...more) => (it) => ["connected", "closed", "online", "over", ...more].includes(it);
    let over = false;
    const limit = setTimeout(() => {
      over = true;
      this.#poke?.("over");
    }, RESTARTS_MS);
    try {
      for (let wait = AWAY_MS; !over && line.state !== "closed"; ) {
        let away = false;
        let refused = false;
        line.offer({ restart: true }).catch((error) => {
          // A network that is still away is worth another try on this line; a server that has forgotten it is not.
          away = error.code === "server_unreachable";
          refused = !away;
          this.#poke?.("refused");
        });
        if (line.state !== "connected") await this.#pause(RESTART_MS, signal, news("refused"));
        if (away && line.state !== "connected") {
          await this.#pause(scatter(wait), signal, news());
          wait = Math.min(2 * wait, LONGEST_AWAY_MS);
        }
        if (line.state === "connected") return true;
        if (refused) return false;
      }
    } finally {
      clearTimeout(limit);
    }
    return false;
  }

  /** Calls back under the same id, on a fresh line. */
  async #redial(signal) {
    let cause;
    this.#lost = true;
    for (const wait of BACKOFF_MS) {
      this.#line.close();
      if (wait) await this.#pause(scatter(wait), signal, (it) => it === "online");
      try {
        await this.configure();
        return await this.#dial(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (TAKEN.includes(error.code)) this.#lost = false;
        cause = error;
      }
    }
    throw new FastRTCError("reconnect_failed", { cause });
  }

  /** Waits `ms`, or until some `news` (a state of the line, `online`) is `enough`. */
  #pause(ms, signal, enough) {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        this.#poke = null;
        signal.aborted ? reject(signal.reason) : resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener("abort", end);
      this.#poke = (news) => enough(news) && end();
    });
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (typeof message?.type !== "string") return;
    this.#emit("message", message);
    const { type, data } = message;
    if (type === "log") this.#follow(data);
    else if (type === "stopword") this.#emit("stopword", {});
    else if (type === "error")
      this.#report(new FastRTCError("server_error", { text: typeof data === "string" ? data : message.message }));
    else if (this.#options.watch && Object.hasOwn(WATCHED, type)) {
      // A handler may send messages of the same name, but hardly of the same form.
      if (data && typeof data === "object") this.#emit(WATCHED[type], data);
    } else if (type === "end_stream" || (type === "update_connection" && data === "closed")) this.#end(data);
  }

  #follow(log) {
    const replying = ["speaking", "thinking"].includes(this.#turn);
    if (Object.hasOwn(RESTS, log)) {
      this.#rest = RESTS[log];
      // Sleep waits for the end of the reply.
      if (log === "awake" || !replying) this.#setTurn(this.#rest);
    } else if (Object.hasOwn(TURNS, log)) {
      if (this.#turn !== "asleep" || !OVERHEARD.includes(log)) this.#setTurn(TURNS[log]);
    }
    // A caller who talks already has the turn, however late the reply is said to be over.
    else if (log === "response_finished" && replying) this.#setTurn(this.#rest);
  }

  #end(reason) {
    if (!this.#call) return;
    this.disconnect();
    this.#report(
      new FastRTCError("stream_ended", { text: reason !== "closed" && typeof reason === "string" && reason }),
    );
  }

  #fail(error) {
    if (!(error instanceof FastRTCError))
      error = new FastRTCError("server_refused", { detail: error.message, cause: error });
    this.#hangUp();
    this.#setState("failed");
    return this.#report(error);
  }

  #hangUp() {
    clearTimeout(this.#graceTimer);
    this.#call.abort();
    this.#call = null;
    this.#lost = false;
    this.#line?.close();
    stop(this.#localStream);
    this.#inputMeter?.close();
    this.#outputMeter?.close();
    this.#context?.close();
    if (this.#audio) this.#audio.srcObject = null;
    this.#line = this.#localStream = this.#remoteStream = null;
    this.#inputMeter = this.#outputMeter = this.#context = null;
    this.#setTurn(null);
    this.#setTransport(null);
  }

  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#emit("state", { state });
  }

  #setTurn(turn) {
    if (turn === this.#turn) return;
    this.#turn = turn;
    this.#emit("turn", { turn });
  }

  #setTransport(transport) {
    if (transport === this.#transport) return;
    this.#transport = transport;
    this.#emit("transport", { transport });
  }

  #report(error) {
    this.#emit("error", { code: error.code, message: error.message });
    return error;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
