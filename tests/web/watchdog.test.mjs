/** A server that is gone is missed before the browser misses it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, connected, FakePeer, pass, settle } from "./fakes.mjs";

/** A call whose server promises to be heard every 200 ms, and what a test makes arrive. */
async function watched(t, { sdp = "v=0\r\na=x-alive:200\r\nm=audio\r\n" } = {}) {
  const network = { now: 0, counts: { bytesReceived: 0 }, up: true, looks: 0, type: "transport" };
  t.mock.method(FakePeer.prototype, "getStats", async () => {
    network.looks++;
    const { now: timestamp, type, counts } = network;
    const report = { id: "T1", type, timestamp, ...counts };
    return new Map([
      ["T1", report],
      ["O1", { id: "O1", type: "outbound-rtp", timestamp, bytesSent: timestamp }],
    ]);
  });
  const { server } = browser(t);
  server.reply = (body) => (body.type === "offer" ? { type: "answer", sdp } : { status: "success" });
  const it = await connected();
  /** Lets time go by; as long as the network is up, something comes every 200 ms. */
  const wait = async (ms) => {
    for (let gone = 0; gone < ms; gone += 100) {
      network.now += 100;
      if (network.up && network.now % 200 === 0)
        for (const name of Object.keys(network.counts)) network.counts[name] += 50;
      await pass(100);
    }
  };
  return { ...it, server, network, wait };
}

test("a server that is heard is not missed, however long the call", async (t) => {
  const { diary, wait } = await watched(t);
  await wait(20_000);
  assert.deepEqual(diary.state, ["connecting", "connected"]);
});

test("a server that falls silent is missed within two seconds, though the browser sees nothing", async (t) => {
  const { client, diary, network, peer, wait } = await watched(t);
  await wait(3_000);
  network.up = false;
  await wait(1_400);
  assert.equal(client.state, "connected");
  await wait(500);
  assert.equal(client.state, "reconnecting");
  assert.equal(peer.connectionState, "connected");
  assert.equal(peer.restarts, 1);
  assert.deepEqual(
    diary.error.map(({ code }) => code),
    ["connection_lost"],
  );
});

test("a server that is heard again keeps the call, and is missed anew", async (t) => {
  const { client, network, server, wait } = await watched(t);
  await wait(3_000);
  network.up = false;
  await wait(2_000);
  network.up = true;
  await wait(400);
  assert.equal(client.state, "connected");
  assert.equal(FakePeer.made.length, 1);
  await wait(3_000);
  assert.equal(server.offers.length, 2);
  network.up = false;
  await wait(2_000);
  assert.equal(client.state, "reconnecting");
});

test("a server that is gone is called anew as soon as another says that it does not know the call", async (t) => {
  const { client, network, server, wait } = await watched(t);
  await wait(3_000);
  const { id } = client;
  const respond = server.reply;
  server.reply = (body) =>
    body.restart ? { status: "failed", meta: { error: "unknown_connection" } } : respond(body);
  network.up = false;
  await wait(2_000);
  assert.deepEqual(server.offers.at(-1), { sdp: "offer 0", type: "offer", webrtc_id: id, reconnected: true });
  FakePeer.latest().become("connected");
  await settle();
  assert.equal(client.state, "connected");
});

for (const [what, sdp] of [
  ["promises nothing", "v=0\r\nm=audio\r\n"],
  ["promises nonsense", "v=0\r\na=x-alive:often\r\nm=audio\r\n"],
])
  test(`a server that ${what} is not missed, as older ones send nothing for long`, async (t) => {
    const { client, network, wait } = await watched(t, { sdp });
    await wait(3_000);
    network.up = false;
    await wait(20_000);
    assert.equal(client.state, "connected");
    assert.equal(network.looks, 0);
  });

test("a server that was never heard is not missed: the browser may not count", async (t) => {
  const { client, network, wait } = await watched(t);
  network.up = false;
  await wait(20_000);
  assert.equal(client.state, "connected");
});

test("a server that promises to be heard seldom is missed later", async (t) => {
  const { client, network, wait } = await watched(t, { sdp: "v=0\r\na=x-alive:1000\r\nm=audio\r\n" });
  await wait(3_000);
  network.up = false;
  await wait(3_800);
  assert.equal(client.state, "connected");
  await wait(500);
  assert.equal(client.state, "reconnecting");
});

test("a page that slept looks again before it takes a server for gone", async (t) => {
  const { client, network, wait } = await watched(t);
  await wait(3_000);
  // A minute in which no timer ran, and then what had come meanwhile arrives a little later.
  network.now += 60_000;
  await pass(400);
  assert.equal(client.state, "connected");
  await wait(3_000);
  assert.equal(client.state, "connected");
});

test("a page whose timers run once a second does not miss a server that is heard", async (t) => {
  const { client, network } = await watched(t);
  for (let looks = 0; looks < 20; looks++) {
    network.now += 1_000;
    network.counts.bytesReceived += 250;
    await pass(200);
  }
  assert.equal(client.state, "connected");
});

for (const [type, counts] of [
  ["candidate-pair", { bytesReceived: 0 }],
  ["candidate-pair", { responsesReceived: 0 }],
  ["inbound-rtp", { packetsReceived: 0 }],
])
  test(`a browser that counts ${Object.keys(counts)} of its ${type} will do`, async (t) => {
    const { client, network, wait } = await watched(t);
    Object.assign(network, { type, counts });
    await wait(5_000);
    assert.equal(client.state, "connected");
    network.up = false;
    await wait(2_000);
    assert.equal(client.state, "reconnecting");
  });

test("counts that begin anew with a new way are news only when they grow", async (t) => {
  const { client, network, wait } = await watched(t);
  await wait(3_000);
  network.up = false;
  network.counts.bytesReceived = 10;
  await wait(2_000);
  assert.equal(client.state, "reconnecting");
});

test("a browser whose reports cannot be had goes by what it says itself", async (t) => {
  const { client, peer, wait } = await watched(t);
  t.mock.method(FakePeer.prototype, "getStats", async () => {
    throw new DOMException("closed", "InvalidStateError");
  });
  await wait(5_000);
  assert.equal(client.state, "connected");
  peer.become("failed");
  assert.equal(client.state, "reconnecting");
});

test("after the call nobody looks any more", async (t) => {
  const { client, network, wait } = await watched(t);
  await wait(1_000);
  client.disconnect();
  const { looks } = network;
  await wait(2_000);
  assert.equal(network.looks, looks);
});
