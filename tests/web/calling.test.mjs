/** Connecting, the signalling, and hanging up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, caller, connected, FakePeer, pass, settle } from "./fakes.mjs";

test("a call goes from idle over connecting to connected", async (t) => {
  browser(t);
  const { client, diary } = await connected();
  assert.deepEqual(diary.state, ["connecting", "connected"]);
  assert.equal(client.turn, "listening");
});

test("the offer carries sdp, type and webrtc_id and nothing else", async (t) => {
  const { server } = browser(t);
  const { client } = await connected();
  assert.deepEqual(server.offers, [{ sdp: "offer 0", type: "offer", webrtc_id: client.id }]);
});

test("a client that watches says so in every offer, a fresh start or a restart", async (t) => {
  const { server } = browser(t);
  const { client, peer } = await connected({ watch: true });
  peer.become("failed");
  await settle();
  const offer = { type: "offer", webrtc_id: client.id, watch: true };
  assert.deepEqual(server.offers, [
    { ...offer, sdp: "offer 0" },
    { ...offer, sdp: "offer 1", restart: true },
  ]);
});

test("watch is not in the offer where it is not wished for", async (t) => {
  const { server } = browser(t);
  await connected({ watch: false });
  assert.ok(!("watch" in server.offers[0]));
});

test("the answer becomes the remote description", async (t) => {
  browser(t);
  const { peer } = await connected();
  assert.deepEqual(peer.remoteDescription, { type: "answer", sdp: "answer" });
});

test("addresses are relative to the page, whatever path it is served under", async (t) => {
  const { server } = browser(t);
  await connected();
  assert.deepEqual(
    server.requests.map(({ url }) => url),
    ["https://example.org/voice/webrtc/config", "https://example.org/voice/webrtc/offer"],
  );
});

test("a base URL without a slash at its end is still a folder", async (t) => {
  const { server } = browser(t);
  await connected({ url: "https://example.com/line" });
  assert.equal(server.requests[1].url, "https://example.com/line/webrtc/offer");
});

test("candidates found before the answer are held and sent after it, in order", async (t) => {
  const { server } = browser(t);
  let answer;
  const respond = server.reply;
  server.reply = (body) => (body.type === "offer" ? new Promise((resolve) => (answer = resolve)) : respond(body));
  const { client } = caller();
  client.connect();
  await settle();
  for (const name of ["one", "two", "three"]) FakePeer.latest().find(name);
  await settle();
  assert.deepEqual(server.candidates, []);
  answer({ type: "answer", sdp: "answer" });
  await settle();
  assert.deepEqual(server.candidates, ["one", "two", "three"]);
});

test("a candidate is sent with the id of the call and in its JSON form", async (t) => {
  const { server } = browser(t);
  const { client, peer } = await connected();
  peer.find("host");
  await settle();
  assert.deepEqual(server.bodies.at(-1), {
    type: "ice-candidate",
    webrtc_id: client.id,
    candidate: { candidate: "host", sdpMid: "0" },
  });
});

test("the end of the candidates is not a candidate", async (t) => {
  const { server } = browser(t);
  const { peer } = await connected();
  peer.find(null);
  peer.find("");
  await settle();
  assert.deepEqual(server.candidates, []);
});

test("a candidate that is refused does not hold back the next", async (t) => {
  const { server } = browser(t);
  const { client, peer } = await connected();
  server.reply = () => ({ status: "failed", meta: { error: "invalid_candidate" } });
  peer.find("bad");
  peer.find("good");
  await settle();
  assert.deepEqual(server.candidates, ["bad", "good"]);
  assert.equal(client.state, "connected");
});

test("the data channel is called text", async (t) => {
  browser(t);
  const { peer } = await connected();
  assert.equal(peer.channel.label, "text");
});

test("a signal function takes the place of every request", async (t) => {
  const { server } = browser(t);
  const bodies = [];
  await connected({ signal: async (body) => (bodies.push(body), { type: "answer", sdp: "answer" }) });
  assert.deepEqual(
    bodies.map(({ type }) => type),
    ["offer"],
  );
  assert.deepEqual(server.requests, []);
});

test("the stream's settings are asked for anew at each call", async (t) => {
  const { server } = browser(t);
  server.config = { title: "Desk", mode: "send-receive", rtc_configuration: { iceServers: [{ urls: "turn:a" }] } };
  const { client, peer } = await connected();
  assert.equal(client.config.title, "Desk");
  assert.deepEqual(peer.configuration, { iceServers: [{ urls: "turn:a" }] });
  client.disconnect();
  server.config.rtc_configuration = { iceServers: [{ urls: "turn:b" }] };
  client.connect();
  await settle();
  assert.deepEqual(FakePeer.latest().configuration, { iceServers: [{ urls: "turn:b" }] });
});

test("options go before the stream's settings", async (t) => {
  const { server } = browser(t);
  server.config = { title: null, mode: "send", rtc_configuration: { iceServers: [] }, track_constraints: null };
  const { peer } = await connected({ mode: "receive", rtcConfiguration: null });
  assert.equal(peer.configuration, undefined);
  assert.equal(peer.transceivers[0].direction, "recvonly");
  assert.equal(server.requests[0].url, "https://example.org/voice/webrtc/offer");
});

test("a site that answers unknown paths with a page of its own has no settings", async (t) => {
  const { server } = browser(t);
  const post = server.fetch;
  globalThis.fetch = async (url, init) =>
    init.body ? post(url, init) : new Response("<html>", { headers: { "Content-Type": "text/html" } });
  const { client } = await connected();
  assert.equal(client.config.mode, "send-receive");
});

test("a given id is used for the first connection and a new one for the next", async (t) => {
  const { server } = browser(t);
  const { client } = await connected({ id: "mine" });
  client.disconnect();
  client.connect();
  await settle();
  assert.equal(server.offers[0].webrtc_id, "mine");
  assert.notEqual(server.offers[1].webrtc_id, "mine");
});

test("connecting twice is one call", async (t) => {
  const { server } = browser(t);
  const { client } = caller();
  assert.equal(client.connect(), client.connect());
  await settle();
  assert.equal(server.offers.length, 1);
});

test("hanging up closes the line, lets the microphone go and clears the turn", async (t) => {
  const { media } = browser(t);
  const { client, peer } = await connected();
  client.disconnect();
  assert.equal(client.state, "closed");
  assert.equal(client.turn, null);
  assert.equal(peer.connectionState, "closed");
  assert.ok(media.streams[0].tracks[0].stopped);
});

test("hanging up while the microphone is asked for lets it go as soon as it opens", async (t) => {
  const { media } = browser(t);
  const open = media.getUserMedia;
  let allow;
  media.getUserMedia = async (constraints) => {
    await new Promise((resolve) => (allow = resolve));
    return open(constraints);
  };
  const { client, diary } = caller();
  const ready = client.connect();
  await settle();
  client.disconnect();
  allow();
  await assert.rejects(ready, { code: "cancelled" });
  assert.ok(media.streams[0].tracks[0].stopped);
  assert.deepEqual(diary.error, []);
  assert.equal(client.state, "closed");
});

test("leaving the page hangs up", async (t) => {
  const { window } = browser(t);
  const { client, peer } = await connected();
  window.dispatchEvent(new Event("pagehide"));
  assert.equal(client.state, "closed");
  assert.equal(peer.connectionState, "closed");
});

const REFUSALS = [
  [{ error: "concurrency_limit_reached", limit: 4 }, /4 calls at a time/],
  [{ error: "concurrency_limit_reached", limit: 1 }, /1 call at a time/],
  [{ error: "connection_already_exists" }, /already open/],
  [{ error: "invalid_sdp" }, /could not read/],
  [{ error: "connection_failed" }, /went wrong on the server/],
  [{ error: "not_authorized" }, /not allowed/],
  [{ error: "out_of_tea" }, /out_of_tea/],
];
for (const [meta, words] of REFUSALS)
  test(`a call refused with ${JSON.stringify(meta)} fails in plain words`, async (t) => {
    const { server } = browser(t);
    server.reply = () => ({ status: "failed", meta });
    const { client, diary } = caller();
    await assert.rejects(client.connect(), { code: meta.error, message: words });
    assert.equal(client.state, "failed");
    assert.equal(diary.error[0].code, meta.error);
  });

test("a server that is away is said to be out of reach", async (t) => {
  const { server } = browser(t);
  server.down = true;
  await assert.rejects(caller().client.connect(), { code: "server_unreachable" });
});

test("a proxy without its server counts as a server out of reach", async (t) => {
  const { server } = browser(t);
  server.reply = () => new Response("Bad Gateway", { status: 502 });
  await assert.rejects(caller().client.connect(), { code: "server_unreachable" });
});

test("a server that never answers is given up after ten seconds", async (t) => {
  const { server } = browser(t);
  server.reply = () => new Promise(() => {});
  const { client } = caller();
  const refused = assert.rejects(client.connect(), { code: "server_unreachable" });
  await settle();
  await pass(10_000);
  await refused;
});

test("an address without a stream is said to have none", async (t) => {
  const { server } = browser(t);
  server.reply = () => new Response("", { status: 404 });
  await assert.rejects(caller().client.connect(), { code: "stream_missing" });
});

test("a first connection that ICE cannot make names the firewall", async (t) => {
  browser(t);
  const { client } = caller();
  const refused = assert.rejects(client.connect(), { code: "ice_failed", message: /firewall.*TURN/ });
  await settle();
  FakePeer.latest().become("failed");
  await refused;
});

test("a first connection that hangs is given up after twenty seconds", async (t) => {
  browser(t);
  const { client } = caller();
  const refused = assert.rejects(client.connect(), { code: "ice_failed" });
  await settle();
  await pass(20_000);
  await refused;
});

test("a failed call can be made again", async (t) => {
  const { server } = browser(t);
  server.down = true;
  const { client } = caller();
  await assert.rejects(client.connect());
  server.down = false;
  const ready = client.connect();
  await settle();
  FakePeer.latest().become("connected");
  await ready;
  assert.equal(client.state, "connected");
});
