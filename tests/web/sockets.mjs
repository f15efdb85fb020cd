/** Stand-ins for what a browser gives a WebSocket line. */
import { browser, caller, FakeAudioContext, install, settle } from "./fakes.mjs";

export class FakeSocket {
  static made = [];
  static latest = () => FakeSocket.made.at(-1);

  sent = [];
  bufferedAmount = 0;
  closed = false;

  constructor(url) {
    this.url = String(url);
    FakeSocket.made.push(this);
  }

  send(data) {
    this.sent.push(data);
  }

  close() {
    this.closed = true;
  }

  /** The texts that were sent, read. */
  get told() {
    return this.sent.filter((data) => typeof data === "string").map((text) => JSON.parse(text));
  }

  get start() {
    return this.told.find(({ event }) => event === "start");
  }

  get pings() {
    return this.told.filter(({ event }) => event === "ping").length;
  }

  // What a test makes happen.

  open() {
    this.onopen();
  }

  say(message) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  sound(bytes) {
    this.onmessage?.({ data: new ArrayBuffer(bytes) });
  }

  /** Answers as a server does that takes the call. */
  answer(format = {}) {
    this.open();
    this.say({ event: "started", websocket_id: this.start.websocket_id, format: { ...this.start.format, ...format } });
  }

  drop() {
    this.onclose?.();
  }
}

/** The main thread's end of a worklet. */
export class FakeNode {
  static latest = null;

  port = { sent: [], postMessage: (message) => this.port.sent.push(message) };
  output = null;
  connected = true;

  constructor(context, name, options) {
    Object.assign(this, { context, name, ...options.processorOptions });
    FakeNode.latest = this;
  }

  connect(output) {
    this.output = output;
  }

  disconnect() {
    this.connected = false;
  }

  /** What a test has the worklet say. */
  say(data) {
    this.port.onmessage({ data });
  }
}

class SocketContext extends FakeAudioContext {
  static sampleRate = 48_000;

  sampleRate = SocketContext.sampleRate;
  fed = []; // lines with a microphone
  modules = [];
  audioWorklet = { addModule: async (url) => void this.modules.push(String(url)) };

  createMediaStreamSource(stream) {
    const source = super.createMediaStreamSource(stream);
    let fed;
    const connect = (node) => {
      source.connect(node);
      fed = node;
      if (node instanceof FakeNode) this.fed.push(node);
    };
    const disconnect = () => {
      this.fed = this.fed.filter((node) => node !== fed);
    };
    return { connect, disconnect };
  }

  createMediaStreamDestination() {
    return { stream: new MediaStream() };
  }
}

/** A browser that can do both: WebRTC and WebSockets. */
export function bothWays(t, { sampleRate = 48_000 } = {}) {
  const it = browser(t);
  FakeSocket.made = [];
  SocketContext.sampleRate = sampleRate;
  install(t, { WebSocket: FakeSocket, AudioWorkletNode: FakeNode, AudioContext: SocketContext });
  return it;
}

/** A client on a WebSocket that carries sound. */
export async function connected(options) {
  const { client, diary } = caller({ transport: "websocket", ...options });
  const ready = client.connect();
  await settle();
  const socket = FakeSocket.latest();
  socket.answer();
  await ready;
  return { client, diary, socket, node: FakeNode.latest };
}
