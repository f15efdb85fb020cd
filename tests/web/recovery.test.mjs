/** A line that is lost: ICE restarts first, fresh connections then. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, connected, FakePeer, pass, settle } from "./fakes.mjs";

const UNKNOWN = { status: "failed", meta: { error: "unknown_connection" } };

test("a short disturbance passes unnoticed", async (t) => {
  const { server } = browser(t);
  const { diary, peer } = await connected();
  peer.become("disconnected");
  await pass(1_400);
  peer.become("connected");
  await pass(1_000);
  assert.deepEqual(diary.state, ["connecting", "connected"]);
  assert.equal(server.offers.length, 1);
});

test("a disturbance of a second and a half leads to an ICE restart of the same call", async (t) => {
  const { server } = browser(t);
  const { client, diary, peer } = await connected();
  peer.become("disconnected");
  await pass(1_500);
  assert.equal(client.state, "reconnecting");
  assert.equal(diary.error[0].code, "connection_lost");
  assert.equal(peer.restarts, 1);
  assert.deepEqual(server.offers[1], { sdp: "offer 1", type: "offer", webrtc_id: client.id, restart: true });
});

test("a failed connection is restarted at once", async (t) => {
  browser(t);
  const { peer } = await connected();
  peer.become("failed");
  await settle();
  assert.equal(peer.restarts, 1);
});

test("a restart that works brings the same line back, with its turn", async (t) => {
  browser(t);
  const { client, peer } = await connected();
  peer.log("response_starting");
  peer.become("failed");
  await settle();
  peer.become("connected");
  await settle();
  assert.equal(client.state, "connected");
  assert.equal(client.turn, "speaking");
  assert.equal(FakePeer.made.length, 1);
});

test("candidates of a restart wait for its answer", async (t) => {
  const { server } = browser(t);
  const { peer } = await connected();
  let answer;
  const respond = server.reply;
  server.reply = (body) => (body.restart ? new Promise((resolve) => (answer = resolve)) : respond(body));
  peer.become("failed");
  await settle();
  peer.find("relay");
  await settle();
  assert.deepEqual(server.candidates, []);
  answer({ type: "answer", sdp: "answer" });
  await settle();
  assert.deepEqual(server.candidates, ["relay"]);
});

test("an answer that comes after a newer restart is not applied", async (t) => {
  const { server } = browser(t);
  const { peer } = await connected();
  const answers = [];
  server.reply = () => new Promise((resolve) => answers.push(resolve));
  peer.become("failed");
  await pass(2_500);
  answers[0]({ type: "answer", sdp: "stale" });
  await settle();
  assert.notEqual(peer.remoteDescription.sdp, "stale");
});

test("a server that has forgotten the call gets a fresh one at once, with its id and a mark", async (t) => {
  const { server } = browser(t);
  const { client, peer } = await connected();
  const first = client.id;
  const respond = server.reply;
  server.reply = (body) => (body.restart ? UNKNOWN : respond(body));
  peer.become("failed");
  await settle();
  FakePeer.latest().become("connected");
  await settle();
  assert.equal(client.state, "connected");
  assert.equal(peer.connectionState, "closed");
  assert.equal(client.id, first);
  assert.deepEqual(server.offers.at(-1), { sdp: "offer 0", type: "offer", webrtc_id: first, reconnected: true });
});

test("a fresh connection keeps the microphone and starts with listening", async (t) => {
  const { server, media } = browser(t);
  const { client, peer } = await connected();
  peer.log("response_starting");
  const respond = server.reply;
  server.reply = (body) => (body.restart ? UNKNOWN : respond(body));
  peer.become("failed");
  await pass(500);
  FakePeer.latest().become("connected");
  await settle();
  assert.equal(media.asked.length, 1);
  assert.equal(client.turn, "listening");
});

test("restarts that fail for ten seconds give way to a fresh connection", async (t) => {
  const { server } = browser(t);
  const { peer } = await connected();
  server.down = true;
  peer.become("failed");
  await pass(9_900);
  assert.equal(peer.connectionState, "failed");
  assert.ok(peer.restarts > 1);
  await pass(200);
  assert.equal(peer.connectionState, "closed");
});

test("a closed data channel calls for a fresh connection, as no restart revives it", async (t) => {
  const { server } = browser(t);
  const { client, peer } = await connected();
  peer.channel.onclose();
  await settle();
  assert.equal(client.state, "reconnecting");
  assert.equal(peer.restarts, 0);
  assert.equal(server.offers.length, 2);
});

test("fresh connections are tried at once, then after about 0.5, 1, 2, 4 and three times 8 s, then the call fails", async (t) => {
  const { server } = browser(t);
  t.mock.method(Math, "random", () => 0.5);
  const { client, diary, peer } = await connected();
  server.down = true;
  const tries = () => server.requests.length;
  const before = tries();
  peer.channel.onclose();
  await settle();
  assert.ok(tries() > before);
  for (const wait of [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]) {
    const before = tries();
    await pass(wait - 100);
    assert.equal(tries(), before);
    await pass(100);
    assert.ok(tries() > before);
  }
  assert.equal(client.state, "failed");
  assert.equal(diary.error.at(-1).code, "reconnect_failed");
});

test("a full server is asked again while the call comes back", async (t) => {
  const { server } = browser(t);
  const { client, peer } = await connected();
  const respond = server.reply;
  server.reply = () => ({ status: "failed", meta: { error: "concurrency_limit_reached", limit: 1 } });
  peer.channel.onclose();
  await settle();
  server.reply = respond;
  await pass(1_000);
  FakePeer.latest().become("connected");
  await settle();
  assert.equal(client.state, "connected");
});

test("no two callers wait equally long for a server that is away", async (t) => {
  const { server } = browser(t);
  const tried = async (random) => {
    t.mock.method(Math, "random", () => random);
    const { client, peer } = await connected();
    server.down = true;
    peer.channel.onclose();
    await settle();
    const before = server.requests.length;
    await pass(500);
    client.disconnect();
    server.down = false;
    return server.requests.length - before;
  };
  assert.deepEqual([await tried(0), await tried(0.9)], [1, 0]);
});

test("a server that cannot be reached is asked for the old line after a quarter of a second, then half, then each second", async (t) => {
  const { server } = browser(t);
  t.mock.method(Math, "random", () => 0.5);
  const { peer } = await connected();
  server.down = true;
  peer.become("failed");
  await settle();
  const counts = [];
  for (const ms of [200, 100, 400, 100, 900, 100, 900, 100]) {
    await pass(ms);
    counts.push(peer.restarts);
  }
  assert.deepEqual(counts, [1, 2, 2, 3, 3, 4, 4, 5]);
});

for (const code of ["connection_already_exists", "not_authorized"])
  test(`a server that says ${code} to a call that comes back is called under a new id`, async (t) => {
    const { server } = browser(t);
    const { client, peer } = await connected();
    const first = client.id;
    const respond = server.reply;
    server.reply = (body) => (body.webrtc_id === first ? { status: "failed", meta: { error: code } } : respond(body));
    peer.channel.onclose();
    await pass(1_000);
    FakePeer.latest().become("connected");
    await settle();
    assert.equal(client.state, "connected");
    assert.notEqual(client.id, first);
    assert.ok(!("reconnected" in server.offers.at(-1)));
  });

test("a restart of a call that has come back bears no mark", async (t) => {
  const { server } = browser(t);
  const { peer } = await connected();
  peer.channel.onclose();
  await settle();
  FakePeer.latest().become("connected");
  await settle();
  FakePeer.latest().become("failed");
  await settle();
  assert.equal(server.offers.at(-1).restart, true);
  assert.ok(!("reconnected" in server.offers.at(-1)));
});

test("a call that follows one that was hung up has a new id and no mark", async (t) => {
  const { server } = browser(t);
  const { client, peer } = await connected();
  const first = client.id;
  peer.channel.onclose();
  await settle();
  client.disconnect();
  client.connect();
  await settle();
  assert.notEqual(server.offers.at(-1).webrtc_id, first);
  assert.ok(!("reconnected" in server.offers.at(-1)));
});

test("a network that is back is tried at once", async (t) => {
  const { server, window } = browser(t);
  const { peer } = await connected();
  server.down = true;
  peer.become("failed");
  await settle();
  server.down = false;
  window.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(server.offers.length, 3);
  assert.equal(peer.remoteDescription.sdp, "answer");
});

test("a network that is back ends the wait before a fresh connection", async (t) => {
  const { server, window } = browser(t);
  const { peer } = await connected();
  server.down = true;
  peer.channel.onclose();
  await settle();
  server.down = false;
  window.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(server.offers.length, 2);
});

test("a network that is back ends the patience with a disturbance", async (t) => {
  const { window } = browser(t);
  const { peer } = await connected();
  peer.become("disconnected");
  window.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(peer.restarts, 1);
});

test("hanging up ends every attempt", async (t) => {
  const { server } = browser(t);
  const { client, diary, peer } = await connected();
  server.down = true;
  peer.become("failed");
  await settle();
  client.disconnect();
  const asked = server.requests.length;
  await pass(15_000);
  assert.equal(server.requests.length, asked);
  assert.equal(diary.state.at(-1), "closed");
  assert.equal(diary.error.length, 1);
});
