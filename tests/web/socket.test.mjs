/** A call over a WebSocket. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseRate } from "../../src/fastrtc/web/socket.js";
import { caller, FakeAudioContext, FakePeer, pass, settle } from "./fakes.mjs";
import { bothWays, connected, FakeNode, FakeSocket } from "./sockets.mjs";

const BUSY = { status: "failed", meta: { error: "concurrency_limit_reached", limit: 4 } };

/** A client whose socket waits for the server's answer. */
async function calling(options) {
  const { client, diary } = caller({ transport: "websocket", ...options });
  const ready = client.connect();
  await settle();
  return { client, diary, ready, socket: FakeSocket.latest() };
}

test("a WebSocket that is wished for carries the call, and no peer is made", async (t) => {
  const { server } = bothWays(t);
  const { client, diary } = await connected();
  assert.deepEqual(diary.state, ["connecting", "connected"]);
  assert.equal(client.transport, "websocket");
  assert.equal(client.turn, "listening");
  assert.deepEqual(FakePeer.made, []);
  assert.deepEqual(server.bodies, []);
});

test("the start names the call and the format", async (t) => {
  bothWays(t);
  const { client, socket } = await connected();
  const format = { encoding: "pcm_s16le", sample_rate: 48_000, channels: 1, framing: "binary", marks: true };
  assert.deepEqual(socket.start, { event: "start", websocket_id: client.id, format });
});

test("a client that watches says so in the start", async (t) => {
  bothWays(t);
  const { socket } = await connected({ watch: true });
  assert.equal(socket.start.watch, true);
});

test("the address is below that of the stream, over wss where the page is over https", async (t) => {
  bothWays(t);
  assert.equal((await connected()).socket.url, "wss://example.org/voice/websocket/offer");
  const { socket } = await connected({ url: "http://localhost:8000/line" });
  assert.equal(socket.url, "ws://localhost:8000/line/websocket/offer");
});

for (const [rate, chosen] of [
  [48_000, 48_000],
  [44_100, 44_100],
  [16_000, 16_000],
  [96_000, 48_000],
  [192_000, 48_000],
  [11_025, 24_000],
  [4_000, 24_000],
])
  test(`an audio graph of ${rate} Hz asks for ${chosen} Hz`, () => {
    assert.equal(chooseRate(rate), chosen);
  });

test("the rate that the server agrees to is the rate of the line", async (t) => {
  bothWays(t, { sampleRate: 96_000 });
  const { ready, socket } = await calling();
  socket.answer({ sample_rate: 24_000 });
  await ready;
  assert.equal(FakeNode.latest.rate, 24_000);
});

for (const format of [{ encoding: "opus" }, { framing: "json" }, { channels: 2 }, { sample_rate: 22_051 }])
  test(`a server that insists on ${JSON.stringify(format)} is not understood`, async (t) => {
    bothWays(t);
    const { ready, socket } = await calling();
    const refused = assert.rejects(ready, { code: "server_refused" });
    socket.answer(format);
    await refused;
    assert.ok(socket.closed);
  });

test("a server that starts without a format is not understood", async (t) => {
  bothWays(t);
  const { ready, socket } = await calling();
  const refused = assert.rejects(ready, { code: "server_refused" });
  socket.open();
  socket.say({ event: "started" });
  await refused;
});

test("a refusal is told in plain words", async (t) => {
  bothWays(t);
  const { client, ready, socket } = await calling();
  const refused = assert.rejects(ready, { code: "concurrency_limit_reached", message: /4 calls at a time/ });
  socket.open();
  socket.say(BUSY);
  await refused;
  assert.equal(client.state, "failed");
  assert.equal(client.transport, null);
});

test("a socket that does not open is said to be none", async (t) => {
  bothWays(t);
  const { ready, socket } = await calling();
  const refused = assert.rejects(ready, { code: "socket_failed" });
  socket.drop();
  await refused;
});

test("a server that never starts is given up after ten seconds", async (t) => {
  bothWays(t);
  const { ready, socket } = await calling();
  const refused = assert.rejects(ready, { code: "server_unreachable" });
  socket.open();
  await pass(10_000);
  await refused;
  assert.ok(socket.closed);
});

test("a browser without worklets says that it cannot make the call", async (t) => {
  bothWays(t);
  globalThis.AudioContext = FakeAudioContext;
  await assert.rejects(caller({ transport: "websocket", mode: "receive" }).client.connect(), { code: "unsupported" });
});

test("the microphone's sound is sent as it comes from the worklet", async (t) => {
  bothWays(t);
  const { socket, node } = await connected();
  const frame = new ArrayBuffer(1_920);
  node.say({ frame });
  assert.equal(socket.sent.at(-1), frame);
  assert.ok(node.sends);
});

test("sound that the network does not take is dropped, not put off", async (t) => {
  bothWays(t);
  const { socket, node } = await connected();
  const sent = socket.sent.length;
  socket.bufferedAmount = 96_000;
  node.say({ frame: new ArrayBuffer(1_920) });
  assert.equal(socket.sent.length, sent);
  socket.bufferedAmount = 90_000;
  node.say({ frame: new ArrayBuffer(1_920) });
  assert.equal(socket.sent.length, sent + 1);
});

test("the server's sound goes to the worklet, and its stream to the audio element", async (t) => {
  bothWays(t);
  const { client, socket, node } = await connected();
  socket.sound(960);
  assert.equal(node.port.sent.at(-1).sound.length, 480);
  assert.equal(client.remoteStream, node.output.stream);
});

test("half a sample is dropped", async (t) => {
  bothWays(t);
  const { socket, node } = await connected();
  socket.sound(961);
  assert.equal(node.port.sent.at(-1).sound.length, 480);
});

test("sound before the start is passed over", async (t) => {
  bothWays(t);
  const { ready, socket } = await calling();
  socket.open();
  socket.sound(960);
  socket.answer();
  await ready;
  assert.deepEqual(FakeNode.latest.port.sent, []);
});

test("a client that only listens opens no microphone and sends no sound", async (t) => {
  const { media } = bothWays(t);
  const { node } = await connected({ mode: "receive" });
  assert.deepEqual(media.asked, []);
  assert.equal(node.sends, false);
});

test("a client that only sends plays nothing", async (t) => {
  bothWays(t);
  const { client, socket, node } = await connected({ mode: "send" });
  socket.sound(960);
  assert.deepEqual(node.port.sent, []);
  assert.equal(client.remoteStream, null);
});

test("another microphone takes the place of the first on the same line", async (t) => {
  bothWays(t);
  const { client, node } = await connected();
  await client.setMicrophone("headset");
  assert.deepEqual(node.context.fed, [node]);
  assert.equal(client.microphone, "headset");
  assert.equal(FakeSocket.made.length, 1);
});

test("messages arrive as over a data channel", async (t) => {
  bothWays(t);
  const { client, diary, socket } = await connected();
  socket.say({ type: "log", data: "response_starting" });
  socket.say({ type: "fetch_output", data: [] });
  assert.equal(client.turn, "speaking");
  assert.deepEqual(diary.message, [
    { type: "log", data: "response_starting" },
    { type: "fetch_output", data: [] },
  ]);
});

test("texts of the socket itself are no messages", async (t) => {
  bothWays(t);
  const { diary, socket } = await connected();
  for (const message of [
    { event: "pong" },
    { event: "clear" },
    { event: "mark", mark: { name: "a" } },
    { event: "tea" },
  ])
    socket.say(message);
  assert.deepEqual(diary.message, []);
});

test("malformed texts are passed over", async (t) => {
  bothWays(t);
  const { client, diary, socket } = await connected();
  const texts = ["{", "null", "7", "[]", '""', '{"event": 3}', '{"event": "mark"}', '{"event": "started"}', ""];
  for (const text of texts) socket.say(text);
  socket.say(BUSY);
  assert.deepEqual(diary.message, []);
  assert.equal(client.state, "connected");
});

test("a mark goes through the worklet and back to the server as it came", async (t) => {
  bothWays(t);
  const { socket, node } = await connected();
  const mark = { name: "7", more: [1] };
  socket.say({ event: "mark", mark });
  assert.deepEqual(node.port.sent, [{ mark }]);
  node.say({ mark });
  assert.deepEqual(socket.told.at(-1), { event: "mark", mark });
});

for (const message of [{ event: "clear" }, { type: "log", data: "interrupted" }])
  test(`${JSON.stringify(message)} drops what is not played yet`, async (t) => {
    bothWays(t);
    const { socket, node } = await connected();
    socket.say(message);
    assert.deepEqual(node.port.sent, [{ clear: true }]);
  });

test("an object is sent as a text, while there is a line", async (t) => {
  bothWays(t);
  const { client, socket } = await connected();
  assert.equal(client.send({ say: "hi" }), true);
  assert.deepEqual(socket.told.at(-1), { say: "hi" });
  client.disconnect();
  assert.equal(client.send({ say: "hi" }), false);
});

test("hanging up says so, closes the socket and lets worklet and microphone go", async (t) => {
  const { media } = bothWays(t);
  const { client, diary, socket, node } = await connected();
  client.disconnect();
  assert.deepEqual(socket.told.at(-1), { event: "stop" });
  assert.ok(socket.closed);
  assert.deepEqual(node.port.sent.at(-1), { close: true });
  assert.equal(node.connected, false);
  assert.ok(media.streams[0].tracks[0].stopped);
  assert.deepEqual(diary.transport, ["websocket", { transport: null }]);
});

test("hanging up before the server has answered ends the call at once", async (t) => {
  bothWays(t);
  const { client, ready, socket } = await calling();
  client.disconnect();
  await assert.rejects(ready, { code: "cancelled" });
  assert.ok(socket.closed);
});

test("the line is pinged every five seconds", async (t) => {
  bothWays(t);
  const { socket } = await connected();
  for (let pings = 1; pings < 5; pings++) {
    await pass(5_000);
    assert.equal(socket.pings, pings);
    socket.say({ event: "pong" });
  }
});

test("three pings without a sign of life lose the line", async (t) => {
  bothWays(t);
  const { client, socket } = await connected();
  await pass(19_900);
  assert.equal(client.state, "connected");
  await pass(100);
  assert.equal(client.state, "reconnecting");
  assert.ok(socket.closed);
});

test("whatever comes is a sign of life", async (t) => {
  bothWays(t);
  const { client, socket } = await connected();
  for (let seconds = 0; seconds < 60; seconds += 14) {
    await pass(14_000);
    socket.sound(960);
  }
  assert.equal(client.state, "connected");
});

test("a socket that drops is called again at once under its id, with the same microphone", async (t) => {
  const { media } = bothWays(t);
  const { client, diary, socket } = await connected();
  const first = client.id;
  socket.drop();
  assert.equal(client.state, "reconnecting");
  await settle();
  FakeSocket.latest().answer();
  await settle();
  assert.equal(client.state, "connected");
  assert.notEqual(FakeSocket.latest(), socket);
  assert.equal(FakeSocket.latest().start.websocket_id, first);
  assert.equal(FakeSocket.latest().start.reconnected, true);
  assert.equal(media.asked.length, 1);
  assert.deepEqual(
    diary.error.map(({ code }) => code),
    ["connection_lost"],
  );
});

test("a call that comes back feeds the microphone to its new line alone", async (t) => {
  bothWays(t);
  const { socket, node } = await connected();
  socket.drop();
  await settle();
  FakeSocket.latest().answer();
  await settle();
  assert.deepEqual(node.context.fed, [FakeNode.latest]);
});

test("a fresh socket is tried at once, others after about 0.5, 1, 2, 4 and three times 8 s, then the call fails", async (t) => {
  bothWays(t);
  t.mock.method(Math, "random", () => 0.5);
  const { client, diary, socket } = await connected();
  socket.drop();
  await settle();
  FakeSocket.latest().drop();
  await settle();
  for (const [index, wait] of [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000].entries()) {
    await pass(wait - 100);
    assert.equal(FakeSocket.made.length, index + 2);
    await pass(100);
    assert.equal(FakeSocket.made.length, index + 3);
    FakeSocket.latest().drop();
    await settle();
  }
  assert.equal(client.state, "failed");
  assert.equal(diary.error.at(-1).code, "reconnect_failed");
});

test("a call that follows one that was hung up has a new id and no mark", async (t) => {
  bothWays(t);
  const { client, socket } = await connected();
  const first = client.id;
  socket.drop();
  await settle();
  FakeSocket.latest().answer();
  await settle();
  client.disconnect();
  client.connect();
  await settle();
  FakeSocket.latest().open();
  const { start } = FakeSocket.latest();
  assert.notEqual(start.websocket_id, first);
  assert.ok(!("reconnected" in start));
});

test("a server that ends the call is not called again", async (t) => {
  bothWays(t);
  const { client, socket } = await connected();
  socket.say({ type: "end_stream", data: "Goodbye" });
  socket.drop();
  await pass(20_000);
  assert.equal(client.state, "closed");
  assert.equal(FakeSocket.made.length, 1);
});
