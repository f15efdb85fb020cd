/** Which ways the sound goes, as the caller sees it. */
export type Mode = "send-receive" | "send" | "receive";

export type ConnectionState = "idle" | "connecting" | "connected" | "reconnecting" | "closed" | "failed";

/** What carries a call: WebRTC over UDP, or a WebSocket over TCP. */
export type Transport = "webrtc" | "websocket";

/** `asleep` until a stop word is heard. */
export type Turn = "listening" | "asleep" | "hearing" | "thinking" | "speaking" | "interrupted";

export type LogEvent =
  | "started_talking"
  | "pause_detected"
  | "response_starting"
  | "interrupted"
  | "response_finished"
  | "asleep"
  | "awake";

/** Codes that the client itself gives; a refusing server may add its own. */
export type ErrorCode =
  | "insecure_page"
  | "unsupported"
  | "microphone_missing"
  | "microphone_denied"
  | "microphone_busy"
  | "microphone_failed"
  | "microphone_lost"
  | "concurrency_limit_reached"
  | "not_authorized"
  | "connection_already_exists"
  | "invalid_sdp"
  | "unknown_connection"
  | "stream_missing"
  | "server_refused"
  | "server_unreachable"
  | "connection_failed"
  | "server_error"
  | "ice_failed"
  | "socket_failed"
  | "connection_lost"
  | "reconnect_failed"
  | "stream_ended"
  | "autoplay_blocked"
  | "cancelled"
  | (string & {});

export interface OfferBody {
  type: "offer";
  sdp: string;
  webrtc_id: string;
  /** Present on an ICE restart of a call that the server already knows. */
  restart?: true;
  /** Present where the client wants to know how the server takes turns. */
  watch?: true;
  /** Present where a call of this id was lost, and its caller comes back. */
  reconnected?: true;
}

export interface CandidateBody {
  type: "ice-candidate";
  webrtc_id: string;
  candidate: RTCIceCandidateInit;
}

/** Takes an offer back that led nowhere. */
export interface CancelBody {
  type: "cancel";
  webrtc_id: string;
}

export interface FailedReply {
  status: "failed";
  meta: { error: string; limit?: number; [detail: string]: unknown };
}

export type SignalBody = OfferBody | CandidateBody | CancelBody;
export type SignalReply = { type: "answer"; sdp: string } | { status: "success" } | FailedReply;

/** The stream's settings as the server gives them, at `/webrtc/config`. */
export interface Settings {
  title?: string | null;
  subtitle?: string | null;
  mode?: Mode;
  rtc_configuration?: RTCConfiguration | null;
  track_constraints?: MediaTrackConstraints | null;
  /** Why there are none. */
  error?: string;
}

export interface FastRTCOptions {
  /** Base URL of the stream, resolved against the page; `"."` by default. */
  url?: string;
  /**
   * Takes the place of the HTTP signalling. Without a `url` beside it, the stream's settings are not fetched, and no
   * WebSocket is fallen back on.
   */
  signal?: (body: SignalBody, cancel: AbortSignal) => Promise<SignalReply>;
  /**
   * Takes the place of fetching the stream's settings. Asked before every connection, as TURN credentials do not keep;
   * what it rejects with, or an `error` in its answer, is the text of the error `server_refused`.
   */
  settings?: () => Promise<Settings | FailedReply>;
  /**
   * `"auto"` by default: WebRTC, or a WebSocket where WebRTC is missing or finds no path. A network that has needed
   * the WebSocket once gets it at once from then on.
   */
  transport?: "auto" | Transport;
  /** Goes before the stream's own setting. */
  mode?: Mode;
  /** Goes before the stream's own setting; null asks for the browser's defaults. */
  rtcConfiguration?: RTCConfiguration | null;
  /** Laid over the defaults: echo cancellation, noise suppression and gain control, all on. */
  trackConstraints?: MediaTrackConstraints | null;
  /** The microphone to begin with, should it be there. */
  deviceId?: string;
  /** The server's id of the first call; each later call gets a new one. */
  id?: string;
  /** Plays the replies; the client makes one if none is given. */
  audio?: HTMLAudioElement;
  /** Asks the server to tell how it takes turns: the events `steps`, `decision` and `turn_record`. */
  watch?: boolean;
}

export interface StreamConfig {
  title: string | null;
  subtitle: string | null;
  mode: Mode;
  rtcConfiguration: RTCConfiguration | null;
  trackConstraints: MediaTrackConstraints | null;
}

export interface Microphone {
  deviceId: string;
  /** Empty until the page may use a microphone. */
  label: string;
}

export interface ServerMessage {
  type:
    | "log"
    | "error"
    | "warning"
    | "end_stream"
    | "update_connection"
    | "send_input"
    | "fetch_output"
    | "stopword"
    | "steps"
    | "decision"
    | "turn"
    | (string & {});
  data?: unknown;
  /** The text of an `error` or a `warning`, beside or instead of `data`. */
  message?: string;
  [field: string]: unknown;
}

/**
 * 32 ms of a call: probability that it is voice, loudness of the caller and of what was played to them in dBFS
 * (-100 for silence), and who has the floor: "listening", "speaking", "replying" and so on.
 */
export type Step = [probability: number, level: number, playing: number, state: string];

export interface Steps {
  /** When the last step ended, in seconds of the caller's sound since the call began. */
  end: number;
  steps: Step[];
}

/** What was decided, and by what evidence. */
export interface Decision {
  /** Seconds of the caller's sound since the call began. */
  at: number;
  kind:
    | "user started"
    | "user may have finished"
    | "user finished"
    | "user went on"
    | "may interrupt"
    | "user interrupts"
    | "false alarm"
    | (string & {});
  /** Probability that the caller has finished. */
  finished: number | null;
  /** Seconds of silence that this asks for. */
  patience: number | null;
  /** What was said lately. */
  words: string | null;
}

/** One turn of the caller and the reply to it; times in seconds of the caller's sound since the call began. */
export interface TurnRecord {
  number: number;
  speech_start: number | null;
  speech_end: number | null;
  decided: number | null;
  /** Why it ended; null where silence alone ended it. */
  evidence: {
    opinion: { probability: number | null; words: string | null };
    speech: number;
    finished: number;
    patience: number;
  } | null;
  /** Replies that were begun before it was sure, and discarded. */
  speculated: number;
  first_output: number | null;
  first_sound: number | null;
  reply_end: number | null;
  interrupted: boolean;
  /** When the reply was held for nothing, and for how many seconds. */
  false_alarms: [at: number, seconds: number][];
  heard: { seconds: number; text: string };
  error: string | null;
}

export interface FastRTCEventMap {
  state: CustomEvent<{ state: ConnectionState }>;
  turn: CustomEvent<{ turn: Turn | null }>;
  /** Comes as soon as a transport is tried; null once the call is over. */
  transport: CustomEvent<{ transport: Transport | null }>;
  /** Every well formed message, as the server sent it. */
  message: CustomEvent<ServerMessage>;
  /** `message` is a sentence that can be shown as it is. */
  error: CustomEvent<{ code: ErrorCode; message: string }>;
  /** A stop word was heard. */
  stopword: CustomEvent<Record<string, never>>;
  /** With `watch`, about six times a second. */
  steps: CustomEvent<Steps>;
  /** With `watch`. */
  decision: CustomEvent<Decision>;
  /** With `watch`, once a turn is over. */
  turn_record: CustomEvent<TurnRecord>;
}

/** What a promise of the client rejects with. */
export class FastRTCError extends Error {
  readonly name: "FastRTCError";
  readonly code: ErrorCode;
  constructor(code: ErrorCode, options?: { text?: string; cause?: unknown; limit?: number; detail?: string });
}

/** One caller of one stream: connects, reconnects, follows the turns and measures the sound. Draws nothing. */
export class FastRTCClient extends EventTarget {
  constructor(options?: FastRTCOptions);

  readonly state: ConnectionState;
  /** Null without a call. */
  readonly turn: Turn | null;
  /** What carries the call, or is tried for it; null without a call. */
  readonly transport: Transport | null;
  /** The id by which the server knows this call. A call that is lost and called back keeps it. */
  readonly id: string;
  readonly muted: boolean;
  /** What the stream says of itself, overlaid with the options. */
  readonly config: StreamConfig;
  /** The audio graph of the call, for sounds of the page's own; null without a call. It runs after a click. */
  readonly audioContext: AudioContext | null;
  /** Device id of the open microphone; null when none is. */
  readonly microphone: string | null;
  /** The server's sound; null until it arrives. */
  readonly remoteStream: MediaStream | null;
  /** Loudness of the caller right now, 0 to 1: -60 dBFS and below to -12 dBFS and above. */
  readonly inputLevel: number;
  /** Loudness of the reply right now, on the same scale. */
  readonly outputLevel: number;

  /** The microphones of this machine. */
  static microphones(): Promise<Microphone[]>;

  /** Asks the stream for its settings; every connection does so by itself. */
  configure(): Promise<StreamConfig>;
  /** Resolves once sound can flow; rejects with a `FastRTCError`, after its `error` event unless `cancelled`. */
  connect(): Promise<void>;
  /** Hangs up. */
  disconnect(): void;
  /** Holds over calls. */
  setMuted(muted: boolean): void;
  /** Also during a call, without renegotiation; an empty id stands for the browser's default. */
  setMicrophone(deviceId: string): Promise<void>;
  /** Sends an object as JSON; false while there is no line to send it on. */
  send(object: unknown): boolean;
  /** Plays the reply; worth calling from a click after the error `autoplay_blocked`. */
  play(): Promise<void>;

  addEventListener<K extends keyof FastRTCEventMap>(
    type: K,
    listener: (this: FastRTCClient, event: FastRTCEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof FastRTCEventMap>(
    type: K,
    listener: (this: FastRTCClient, event: FastRTCEventMap[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
