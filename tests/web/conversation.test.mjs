/** Messages, turns, and the sound of both sides. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FastRTCClient } from "../../src/fastrtc/web/client.js";
import { browser, caller, connected, FakePeer, settle } from "./fakes.mjs";

test("the turns of a conversation follow the log", async (t) => {
  browser(t);
  const { diary, peer } = await connected();
  for (const log of ["started_talking", "pause_detected", "response_starting", "response_finished"]) peer.log(log);
  assert.deepEqual(diary.turn, ["listening", "hearing", "thinking", "speaking", "listening"]);
});

test("an interruption shows until the caller talks on", async (t) => {
  browser(t);
  const { diary, peer } = await connected();
  for (const log of ["response_starting", "interrupted", "response_finished", "started_talking"]) peer.log(log);
  assert.deepEqual(diary.turn, ["listening", "speaking", "interrupted", "hearing"]);
});

test("a reply that ends while the caller talks does not take the turn from them", async (t) => {
  browser(t);
  const { client, peer } = await connected();
  for (const log of ["response_starting", "started_talking", "response_finished"]) peer.log(log);
  assert.equal(client.turn, "hearing");
});

test("a handler without a reply leads back to listening", async (t) => {
  browser(t);
  const { client, peer } = await connected();
  for (const log of ["pause_detected", "response_finished"]) peer.log(log);
  assert.equal(client.turn, "listening");
});

test("an unknown log leaves the turn alone", async (t) => {
  browser(t);
  const { client, peer } = await connected();
  for (const log of ["constructor", 7, null]) peer.log(log);
  assert.equal(client.turn, "listening");
});

test("every message is passed on as it came", async (t) => {
  browser(t);
  const { diary, peer } = await connected();
  const messages = [
    { type: "send_input", data: [] },
    { type: "fetch_output", data: [] },
    { type: "transcript", data: { text: "hi" } },
  ];
  for (const message of messages) peer.say(message);
  assert.deepEqual(diary.message, messages);
});

test("malformed messages are passed over", async (t) => {
  browser(t);
  const { client, diary, peer } = await connected();
  for (const text of ["{", "null", "7", "[]", '{"data": 1}', '{"type": 3}', ""]) peer.say(text);
  assert.deepEqual(diary.message, []);
  assert.equal(client.state, "connected");
});

/** The events of a watching client, as `[type, detail]`. */
function watched(client) {
  const events = [];
  for (const type of ["steps", "decision", "turn_record"])
    client.addEventListener(type, ({ detail }) => events.push([type, detail]));
  return events;
}

test("a client that watches tells steps, decisions and turns", async (t) => {
  browser(t);
  const { client, diary, peer } = await connected({ watch: true });
  const events = watched(client);
  const steps = { end: 0.064, steps: [[0.1, -60, -100, "listening"]] };
  peer.say({ type: "steps", data: steps });
  peer.say({ type: "decision", data: { at: 1, kind: "user started" } });
  peer.say({ type: "turn", data: { number: 1 } });
  assert.deepEqual(events, [
    ["steps", steps],
    ["decision", { at: 1, kind: "user started" }],
    ["turn_record", { number: 1 }],
  ]);
  assert.equal(diary.message.length, 3);
  assert.deepEqual(diary.turn, ["listening"]);
});

test("messages of a handler that have such names are no news of turn-taking", async (t) => {
  browser(t);
  const { client, peer } = await connected({ watch: true });
  const events = watched(client);
  for (const data of ["left", null, 3, undefined]) peer.say({ type: "turn", data });
  assert.deepEqual(events, []);
});

test("a client that does not watch only passes such messages on", async (t) => {
  browser(t);
  const { client, diary, peer } = await connected();
  const events = watched(client);
  peer.say({ type: "turn", data: { number: 1 } });
  assert.deepEqual(events, []);
  assert.equal(diary.message.length, 1);
});

test("an error of the handler is shown and does not end the call", async (t) => {
  browser(t);
  const { client, diary, peer } = await connected();
  peer.say({ type: "error", data: "The model fell over.", message: "The model fell over." });
  assert.deepEqual(diary.error, [{ code: "server_error", message: "The model fell over." }]);
  assert.equal(client.state, "connected");
});

test("an older server puts the text of an error in message alone", async (t) => {
  browser(t);
  const { diary, peer } = await connected();
  peer.say({ type: "error", message: "Out of memory." });
  assert.equal(diary.error[0].message, "Out of memory.");
});

test("end_stream ends the call with the server's words", async (t) => {
  browser(t);
  const { client, diary, peer } = await connected();
  peer.say({ type: "end_stream", data: "Time is up." });
  assert.equal(client.state, "closed");
  assert.deepEqual(diary.error, [{ code: "stream_ended", message: "Time is up." }]);
});

test("a connection that the server closes is not called back", async (t) => {
  browser(t);
  const { client, diary, peer } = await connected();
  peer.say({ type: "update_connection", data: "closed" });
  assert.equal(client.state, "closed");
  assert.deepEqual(diary.error, [{ code: "stream_ended", message: "The server ended the call." }]);
});

test("an object is sent as JSON on the channel", async (t) => {
  browser(t);
  const { client, peer } = await connected();
  assert.equal(client.send({ type: "hello", data: 1 }), true);
  assert.deepEqual(peer.channel.sent, ['{"type":"hello","data":1}']);
});

test("nothing can be sent without a line", (t) => {
  browser(t);
  assert.equal(caller().client.send({}), false);
});

test("the voice is asked for with echo cancellation, noise suppression and gain control", async (t) => {
  const { media } = browser(t);
  await connected();
  assert.deepEqual(media.asked, [{ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } }]);
});

test("the stream's track constraints lie over the defaults", async (t) => {
  const { server, media } = browser(t);
  server.config = {
    title: "Music",
    mode: "send-receive",
    rtc_configuration: null,
    track_constraints: { autoGainControl: false, channelCount: 2 },
  };
  await connected();
  assert.deepEqual(media.asked[0].audio, {
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: false,
    channelCount: 2,
  });
});

test("the microphone chosen beforehand is a wish, as it may be gone", async (t) => {
  const { media } = browser(t);
  await connected({ deviceId: "headset" });
  assert.deepEqual(media.asked[0].audio.deviceId, { ideal: "headset" });
});

for (const [mode, direction] of [
  ["send-receive", "sendrecv"],
  ["send", "sendonly"],
  ["receive", "recvonly"],
])
  test(`the mode ${mode} offers a ${direction} line`, async (t) => {
    const { media } = browser(t);
    const { peer } = await connected({ mode });
    assert.deepEqual(
      peer.transceivers.map((it) => it.direction),
      [direction],
    );
    assert.equal(media.asked.length, mode === "receive" ? 0 : 1);
  });

test("a page that only listens needs no microphone, not even a secure origin", async (t) => {
  browser(t);
  globalThis.navigator.mediaDevices = undefined;
  const { client } = await connected({ mode: "receive" });
  assert.equal(client.state, "connected");
});

const MICROPHONE = {
  NotFoundError: "microphone_missing",
  NotAllowedError: "microphone_denied",
  NotReadableError: "microphone_busy",
  TypeError: "microphone_failed",
};
for (const [name, code] of Object.entries(MICROPHONE))
  test(`${name} of the microphone is told as ${code}`, async (t) => {
    const { media } = browser(t);
    media.error = Object.assign(new Error("no"), { name });
    const { client, diary } = caller();
    await assert.rejects(client.connect(), { code });
    assert.equal(client.state, "failed");
    assert.deepEqual(
      diary.error.map((it) => it.code),
      [code],
    );
  });

test("an insecure page is told to use https", async (t) => {
  browser(t);
  globalThis.navigator.mediaDevices = undefined;
  await assert.rejects(caller().client.connect(), { code: "insecure_page", message: /https.*localhost/ });
});

test("muting silences the track and holds over calls", async (t) => {
  const { media } = browser(t);
  const { client } = await connected();
  client.setMuted(true);
  assert.equal(media.streams[0].tracks[0].enabled, false);
  client.disconnect();
  client.connect();
  await settle();
  assert.equal(media.streams[1].tracks[0].enabled, false);
});

test("another microphone takes over on the same line", async (t) => {
  const { server, media } = browser(t);
  const { client, peer } = await connected();
  client.setMuted(true);
  await client.setMicrophone("headset");
  const [before, after] = media.streams.map(({ tracks }) => tracks[0]);
  assert.deepEqual(media.asked[1].audio.deviceId, { exact: "headset" });
  assert.equal(peer.transceivers[0].sender.track, after);
  assert.ok(before.stopped);
  assert.equal(after.enabled, false);
  assert.equal(client.microphone, "headset");
  assert.equal(server.offers.length, 1);
});

test("a microphone that cannot be taken leaves the one in use", async (t) => {
  const { media } = browser(t);
  const { client, diary } = await connected();
  media.error = Object.assign(new Error("busy"), { name: "NotReadableError" });
  await assert.rejects(client.setMicrophone("headset"), { code: "microphone_busy" });
  assert.equal(media.streams[0].tracks[0].stopped, false);
  assert.deepEqual(
    diary.error.map((it) => it.code),
    ["microphone_busy"],
  );
});

test("an unplugged microphone gives way to the default one", async (t) => {
  const { media } = browser(t);
  const { client, diary, peer } = await connected({ deviceId: "headset" });
  media.streams[0].tracks[0].onended();
  await settle();
  assert.deepEqual(
    diary.error.map((it) => it.code),
    ["microphone_lost"],
  );
  assert.equal(peer.transceivers[0].sender.track, media.streams[1].tracks[0]);
  assert.equal(client.microphone, "default");
});

test("only microphones are listed as microphones", async (t) => {
  browser(t);
  assert.deepEqual(await FastRTCClient.microphones(), [{ deviceId: "a", label: "Headset" }]);
});

test("levels lie on a decibel scale between 0 and 1", async (t) => {
  const { media } = browser(t);
  const { client, peer } = await connected();
  const reply = peer.hear();
  const levels = (dBFS) => {
    media.streams[0].amplitude = reply.amplitude = 10 ** (dBFS / 20);
    return [client.inputLevel, client.outputLevel].map((level) => Math.round(level * 100));
  };
  assert.deepEqual(levels(-80), [0, 0]);
  assert.deepEqual(levels(-36), [50, 50]);
  assert.deepEqual(levels(0), [100, 100]);
});

test("a muted caller and a call that is over have no level", async (t) => {
  const { media } = browser(t);
  const { client } = await connected();
  media.streams[0].amplitude = 0.1;
  client.setMuted(true);
  assert.equal(client.inputLevel, 0);
  client.disconnect();
  assert.equal(client.inputLevel, 0);
});

test("the reply is played by the element that was given, with as little delay as the browser can", async (t) => {
  browser(t);
  const audio = { play: t.mock.fn(async () => {}) };
  const { client, peer } = await connected({ audio });
  const receiver = { jitterBufferTarget: null };
  const stream = peer.hear(receiver);
  assert.equal(audio.srcObject, stream);
  assert.equal(client.remoteStream, stream);
  assert.equal(audio.play.mock.callCount(), 1);
  assert.equal(receiver.jitterBufferTarget, 0);
});

test("a browser that holds back the sound is told of, and a click may play it", async (t) => {
  browser(t);
  const audio = {
    play: async () => {
      throw Object.assign(new Error(), { name: "NotAllowedError" });
    },
  };
  const { client, diary } = await connected({ audio });
  FakePeer.latest().hear();
  await settle();
  assert.deepEqual(
    diary.error.map((it) => it.code),
    ["autoplay_blocked"],
  );
  audio.play = t.mock.fn(async () => {});
  await client.play();
  assert.equal(audio.play.mock.callCount(), 1);
});
