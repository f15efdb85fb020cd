/** Small stand-ins for what a browser gives the client, and a client that stands on them. */
import { mock } from "node:test";
import { FastRTCClient } from "../../src/fastrtc/web/client.js";

/** Lets everything run that waits only for promises. */
export async function settle() {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves the clock on by `ms` in small steps, as timers may start timers. */
export async function pass(ms) {
  await settle();
  for (let gone = 0; gone < ms; gone += 100) {
    mock.timers.tick(100);
    await settle();
  }
}

export class FakeTrack {
  kind = "audio";
  enabled = true;
  stopped = false;
  onended = null;

  constructor(deviceId = "default") {
    this.deviceId = deviceId;
  }

  getSettings() {
    return { deviceId: this.deviceId };
  }

  stop() {
    this.stopped = true;
  }
}

export class FakeStream {
  constructor(tracks = [new FakeTrack()]) {
    this.tracks = tracks;
  }

  getTracks() {
    return this.tracks;
  }

  getAudioTracks() {
    return this.tracks;
  }
}

export class FakePeer {
  static made = [];
  static latest = () => FakePeer.made.at(-1);

  connectionState = "new";
  localDescription = null;
  remoteDescription = null;
  transceivers = [];
  restarts = 0;
  channel = null;

  constructor(configuration) {
    this.configuration = configuration;
    FakePeer.made.push(this);
  }

  createDataChannel(label) {
    this.channel = { label, readyState: "open", sent: [], send: (text) => this.channel.sent.push(text), close() {} };
    return this.channel;
  }

  addTransceiver(trackOrKind, init) {
    const sender = { track: trackOrKind, replaceTrack: async (track) => void (sender.track = track) };
    this.transceivers.push({ trackOrKind, ...init, sender });
    return { sender };
  }

  restartIce() {
    this.restarts++;
  }

  async setLocalDescription() {
    this.localDescription = { type: "offer", sdp: `offer ${this.restarts}` };
  }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
  }

  async getStats() {
    return new Map();
  }

  close() {
    this.connectionState = "closed";
  }

  // What a test makes happen.

  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange();
  }

  find(candidate) {
    this.onicecandidate({ candidate: candidate && { candidate, toJSON: () => ({ candidate, sdpMid: "0" }) } });
  }

  say(message) {
    this.channel.onmessage({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  log(data) {
    this.say({ type: "log", data });
  }

  hear(receiver = {}) {
    const stream = new FakeStream();
    this.ontrack({ receiver, track: stream.tracks[0], streams: [stream] });
    return stream;
  }
}

/** A server that answers; a test may put its own function in `reply`, or promise rejections in it. */
export class FakeServer {
  requests = [];
  config = null;
  reply = (body) => (body.type === "offer" ? { type: "answer", sdp: "answer" } : { status: "success" });
  down = false;

  fetch = async (url, init = {}) => {
    const body = init.body && JSON.parse(init.body);
    this.requests.push({ url: String(url), body });
    if (this.down) throw new TypeError("Failed to fetch");
    const json = (value, status = 200) =>
      new Response(JSON.stringify(value), { status, headers: { "Content-Type": "application/json" } });
    if (!body) return this.config ? json(this.config) : json({ detail: "Not Found" }, 404);
    const reply = await this.reply(body);
    return reply instanceof Response ? reply : json(reply);
  };

  get bodies() {
    return this.requests.map(({ body }) => body).filter(Boolean);
  }

  get offers() {
    return this.bodies.filter(({ type }) => type === "offer");
  }

  get candidates() {
    return this.bodies.filter(({ type }) => type === "ice-candidate").map(({ candidate }) => candidate.candidate);
  }
}

/** The audio graph, with a loudness that the test sets on the stream. */
export class FakeAudioContext {
  createMediaStreamSource(stream) {
    return { connect: (analyser) => (analyser.stream = stream), disconnect() {} };
  }

  createAnalyser() {
    return {
      getFloatTimeDomainData(samples) {
        samples.fill(this.stream.tracks[0].enabled ? (this.stream.amplitude ?? 0) : 0);
      },
    };
  }

  async resume() {}

  async close() {}
}

/** Puts a browser in place of Node for one test. */
export function browser(t) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  FakePeer.made = [];
  const window = new EventTarget();
  const media = {
    asked: [],
    error: null,
    streams: [],
    async getUserMedia(constraints) {
      media.asked.push(constraints);
      if (media.error) throw media.error;
      const { exact, ideal } = constraints.audio.deviceId ?? {};
      const stream = new FakeStream([new FakeTrack(exact ?? ideal)]);
      media.streams.push(stream);
      return stream;
    },
    async enumerateDevices() {
      return [
        { kind: "audioinput", deviceId: "a", label: "Headset" },
        { kind: "audiooutput", deviceId: "b", label: "Speaker" },
      ];
    },
  };
  const server = new FakeServer();
  const globals = {
    location: { href: "https://example.org/voice/" },
    RTCPeerConnection: FakePeer,
    MediaStream: FakeStream,
    AudioContext: FakeAudioContext,
    fetch: server.fetch,
    navigator: { mediaDevices: media },
    addEventListener: window.addEventListener.bind(window),
  };
  t.after(() => mock.timers.reset());
  install(t, globals);
  return { server, media, window };
}

/** Puts globals in their place for one test. */
export function install(t, globals) {
  const before = Object.keys(globals).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(globals))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => {
    for (const [name, descriptor] of before)
      descriptor ? Object.defineProperty(globalThis, name, descriptor) : delete globalThis[name];
  });
}

/** A client with a diary of its events. */
export function caller(options) {
  const client = new FastRTCClient({ audio: { play: async () => {} }, ...options });
  const diary = { state: [], turn: [], transport: [], message: [], error: [] };
  for (const type of Object.keys(diary))
    client.addEventListener(type, ({ detail }) =>
      diary[type].push(detail[type] && type !== "message" ? detail[type] : detail),
    );
  return { client, diary };
}

/** A client on a line that carries sound. */
export async function connected(options) {
  const { client, diary } = caller(options);
  const ready = client.connect();
  await settle();
  FakePeer.latest().become("connected");
  await ready;
  return { client, diary, peer: FakePeer.latest() };
}
