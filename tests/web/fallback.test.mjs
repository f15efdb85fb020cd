/** WebRTC first, and a WebSocket where that finds no path. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FastRTCClient } from "../../src/fastrtc/web/client.js";
import * as webrtc from "./fakes.mjs";
import { caller, FakePeer, pass, settle } from "./fakes.mjs";
import { bothWays, FakeSocket } from "./sockets.mjs";

/** A client that calls, its promise, and a diary. */
async function calling(options) {
  const { client, diary } = caller(options);
  const ready = client.connect();
  ready.catch(() => {});
  await settle();
  return { client, diary, ready };
}

/** A client that has fallen back on a WebSocket. */
async function fallen(options) {
  const it = await calling(options);
  await pass(5_000);
  FakeSocket.latest().answer();
  await it.ready;
  return it;
}

test("WebRTC carries the call where it finds a path, and no socket is opened", async (t) => {
  bothWays(t);
  const { client, diary } = await webrtc.connected();
  await pass(10_000);
  assert.equal(client.transport, "webrtc");
  assert.deepEqual(FakeSocket.made, []);
  assert.deepEqual(diary.transport, ["webrtc"]);
});

test("no path within five seconds leads to a WebSocket, without an error", async (t) => {
  bothWays(t);
  const { client, diary, ready } = await calling();
  await pass(4_900);
  assert.equal(client.transport, "webrtc");
  await pass(100);
  assert.equal(client.transport, "websocket");
  FakeSocket.latest().answer();
  await ready;
  assert.deepEqual(diary.state, ["connecting", "connected"]);
  assert.deepEqual(diary.transport, ["webrtc", "websocket"]);
  assert.deepEqual(diary.error, []);
  assert.equal(FakePeer.latest().connectionState, "closed");
});

test("a path that fails leads to a WebSocket at once", async (t) => {
  bothWays(t);
  await calling();
  FakePeer.latest().become("failed");
  await settle();
  assert.equal(FakeSocket.made.length, 1);
});

test("the five seconds are counted from the server's answer", async (t) => {
  const { server } = bothWays(t);
  let answer;
  server.reply = ({ type }) =>
    type === "offer" ? new Promise((resolve) => (answer = resolve)) : { status: "success" };
  await calling();
  await pass(4_000);
  answer({ type: "answer", sdp: "answer" });
  await pass(4_000);
  assert.deepEqual(FakeSocket.made, []);
  await pass(1_000);
  assert.equal(FakeSocket.made.length, 1);
});

test("the offer is taken back before the socket is opened under an id of its own", async (t) => {
  const { server } = bothWays(t);
  let taken;
  const respond = server.reply;
  server.reply = (body) => (body.type === "cancel" ? new Promise((resolve) => (taken = resolve)) : respond(body));
  const { client } = await calling({ id: "mine" });
  FakePeer.latest().become("failed");
  await settle();
  assert.deepEqual(server.bodies.at(-1), { type: "cancel", webrtc_id: "mine" });
  assert.deepEqual(FakeSocket.made, []);
  taken({ status: "success" });
  await settle();
  FakeSocket.latest().answer();
  await settle();
  assert.notEqual(client.id, "mine");
  assert.equal(FakeSocket.latest().start.websocket_id, client.id);
});

test("a call that comes back and finds no path has its id over the WebSocket too", async (t) => {
  bothWays(t);
  const { client, peer } = await webrtc.connected();
  const { id } = client;
  peer.channel.onclose();
  await settle();
  FakePeer.latest().become("failed");
  await settle();
  FakeSocket.latest().answer();
  await settle();
  assert.equal(client.state, "connected");
  assert.equal(client.id, id);
  assert.equal(FakeSocket.latest().start.websocket_id, id);
  assert.equal(FakeSocket.latest().start.reconnected, true);
});

test("a server that is slow to take the offer back is waited for a second", async (t) => {
  const { server } = bothWays(t);
  const respond = server.reply;
  server.reply = (body) => (body.type === "cancel" ? new Promise(() => {}) : respond(body));
  await calling();
  FakePeer.latest().become("failed");
  await pass(900);
  assert.deepEqual(FakeSocket.made, []);
  await pass(100);
  assert.equal(FakeSocket.made.length, 1);
});

test("a server that knows no taking back is no reason to stop", async (t) => {
  const { server } = bothWays(t);
  const respond = server.reply;
  server.reply = (body) =>
    body.type === "cancel" ? { status: "failed", meta: { error: "unknown_connection" } } : respond(body);
  await calling();
  FakePeer.latest().become("failed");
  await settle();
  assert.equal(FakeSocket.made.length, 1);
});

test("a browser without WebRTC calls over a WebSocket, with nothing to take back", async (t) => {
  const { server } = bothWays(t);
  globalThis.RTCPeerConnection = undefined;
  const { client, ready } = await calling({ id: "mine" });
  FakeSocket.latest().answer();
  await ready;
  assert.equal(client.transport, "websocket");
  assert.equal(client.id, "mine");
  assert.deepEqual(server.bodies, []);
});

test("a browser whose WebRTC breaks calls over a WebSocket", async (t) => {
  bothWays(t);
  t.mock.method(FakePeer.prototype, "setRemoteDescription", async () => {
    throw new DOMException("no codec", "OperationError");
  });
  await calling();
  assert.equal(FakeSocket.made.length, 1);
});

for (const [what, reply] of [
  ["cannot read the offer", () => ({ status: "failed", meta: { error: "invalid_sdp", reason: "no audio" } })],
  ["cannot answer", () => ({ status: "failed", meta: { error: "connection_failed" } })],
  ["breaks over the offer", () => new Response("", { status: 500 })],
])
  test(`a server that ${what} is called over a WebSocket`, async (t) => {
    const { server } = bothWays(t);
    server.reply = reply;
    await calling();
    assert.equal(FakeSocket.made.length, 1);
  });

for (const [code, reply] of [
  ["concurrency_limit_reached", () => ({ status: "failed", meta: { error: "concurrency_limit_reached", limit: 1 } })],
  ["connection_already_exists", () => ({ status: "failed", meta: { error: "connection_already_exists" } })],
  ["not_authorized", () => ({ status: "failed", meta: { error: "not_authorized" } })],
  ["out_of_tea", () => ({ status: "failed", meta: { error: "out_of_tea" } })],
  ["not_authorized", () => new Response("", { status: 403 })],
  ["stream_missing", () => new Response("", { status: 404 })],
  ["server_unreachable", () => new Response("", { status: 502 })],
])
  test(`a call that is refused with ${code} is refused, and no socket is opened`, async (t) => {
    const { server } = bothWays(t);
    server.reply = reply;
    const { ready } = await calling();
    await assert.rejects(ready, { code });
    assert.deepEqual(FakeSocket.made, []);
  });

test("where there is no WebSocket either, the error is that of WebRTC", async (t) => {
  bothWays(t);
  const { client, diary, ready } = await calling();
  FakePeer.latest().become("failed");
  await settle();
  FakeSocket.latest().drop();
  await assert.rejects(ready, { code: "ice_failed" });
  assert.equal(client.state, "failed");
  assert.equal(diary.error.length, 1);
});

test("a refusal over the WebSocket is told as it is", async (t) => {
  bothWays(t);
  const { ready } = await calling();
  FakePeer.latest().become("failed");
  await settle();
  FakeSocket.latest().open();
  FakeSocket.latest().say({ status: "failed", meta: { error: "concurrency_limit_reached", limit: 1 } });
  await assert.rejects(ready, { code: "concurrency_limit_reached" });
});

test("WebRTC that is wished for has twenty seconds and no alternative", async (t) => {
  bothWays(t);
  const { client, ready } = await calling({ transport: "webrtc" });
  await pass(19_900);
  assert.equal(client.state, "connecting");
  await pass(100);
  await assert.rejects(ready, { code: "ice_failed" });
  assert.deepEqual(FakeSocket.made, []);
});

test("a signal function without a url has no WebSocket to fall back on", async (t) => {
  bothWays(t);
  const { client, ready } = await calling({ signal: async () => ({ type: "answer", sdp: "answer" }) });
  await pass(10_000);
  assert.equal(client.state, "connecting");
  FakePeer.latest().become("failed");
  await assert.rejects(ready, { code: "ice_failed" });
  assert.deepEqual(FakeSocket.made, []);
});

test("a signal function with a url has", async (t) => {
  bothWays(t);
  const bodies = [];
  const signal = async (body) => (bodies.push(body.type), { type: "answer", sdp: "answer" });
  await calling({ signal, url: "https://example.com/line" });
  await pass(5_000);
  assert.equal(FakeSocket.latest().url, "wss://example.com/line/websocket/offer");
  assert.deepEqual(bodies, ["offer", "cancel"]);
});

test("a signal function that throws is no word against WebRTC", async (t) => {
  bothWays(t);
  const signal = async () => {
    throw new Error("not today");
  };
  const { ready } = await calling({ signal, url: "https://example.com/line" });
  await assert.rejects(ready, { code: "server_refused" });
  assert.deepEqual(FakeSocket.made, []);
});

test("a network that has needed the WebSocket gets it at once when the line is lost", async (t) => {
  bothWays(t);
  const { client } = await fallen();
  FakeSocket.latest().drop();
  await pass(500);
  FakeSocket.latest().answer();
  await settle();
  assert.equal(client.state, "connected");
  assert.equal(FakeSocket.made.length, 2);
  assert.equal(FakePeer.made.length, 1);
});

test("it gets it at once in the next call, too", async (t) => {
  bothWays(t);
  const { client } = await fallen();
  client.disconnect();
  client.connect();
  await settle();
  assert.equal(FakeSocket.made.length, 2);
  assert.equal(FakePeer.made.length, 1);
});

test("a call over WebRTC whose network comes to block it goes on over a WebSocket", async (t) => {
  bothWays(t);
  const { client, peer } = await webrtc.connected();
  peer.channel.onclose();
  await pass(500);
  assert.equal(client.transport, "webrtc");
  await pass(5_000);
  FakeSocket.latest().answer();
  await settle();
  assert.equal(client.state, "connected");
  assert.equal(client.transport, "websocket");
});

test("hanging up while the offer is taken back opens no socket", async (t) => {
  const { server } = bothWays(t);
  const respond = server.reply;
  server.reply = (body) => (body.type === "cancel" ? new Promise(() => {}) : respond(body));
  const { client, ready } = await calling();
  FakePeer.latest().become("failed");
  await settle();
  client.disconnect();
  await assert.rejects(ready, { code: "cancelled" });
  await pass(2_000);
  assert.deepEqual(FakeSocket.made, []);
});

test("a transport that there is none of is said to be none", () => {
  assert.throws(() => new FastRTCClient({ transport: "pigeon" }), /auto, webrtc, websocket, not "pigeon"/);
});
