/** Stop words: what the client makes of them, and the chime of the page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chime } from "../../src/fastrtc/web/chime.js";
import { browser, caller, connected, FakePeer, settle } from "./fakes.mjs";

test("a stop word that was heard is an event", async (t) => {
  browser(t);
  const { client, diary, peer } = await connected();
  const heard = [];
  client.addEventListener("stopword", ({ detail }) => heard.push(detail));
  peer.say({ type: "stopword" });
  peer.say({ type: "stopword", data: "" });
  assert.deepEqual(heard, [{}, {}]);
  assert.equal(diary.message.length, 2);
});

test("a server that waits for a stop word is asleep until it is awake", async (t) => {
  browser(t);
  const { diary, peer } = await connected();
  for (const log of ["asleep", "awake", "started_talking"]) peer.log(log);
  assert.deepEqual(diary.turn, ["listening", "asleep", "listening", "hearing"]);
});

test("what is said to a server that is asleep is no turn", async (t) => {
  browser(t);
  const { diary, peer } = await connected();
  for (const log of ["asleep", "started_talking", "pause_detected"]) peer.log(log);
  assert.deepEqual(diary.turn, ["listening", "asleep"]);
});

test("a server that falls asleep after the reply is asleep", async (t) => {
  browser(t);
  const { diary, peer } = await connected();
  for (const log of ["pause_detected", "response_starting", "response_finished", "asleep"]) peer.log(log);
  assert.deepEqual(diary.turn, ["listening", "thinking", "speaking", "listening", "asleep"]);
});

for (const before of ["pause_detected", "response_starting"])
  test(`sleep waits for the reply when it is told after ${before}`, async (t) => {
    browser(t);
    const { client, peer } = await connected();
    peer.log(before);
    const { turn } = client;
    peer.log("asleep");
    assert.equal(client.turn, turn);
    for (const log of ["response_starting", "response_finished"]) peer.log(log);
    assert.equal(client.turn, "asleep");
  });

test("a greeting of a server that is asleep leads back to sleep", async (t) => {
  browser(t);
  const { diary, peer } = await connected();
  for (const log of ["asleep", "response_starting", "response_finished"]) peer.log(log);
  assert.deepEqual(diary.turn, ["listening", "asleep", "speaking", "asleep"]);
});

test("a server that wakes during its reply listens", async (t) => {
  browser(t);
  const { client, peer } = await connected();
  for (const log of ["response_starting", "asleep", "awake", "response_finished"]) peer.log(log);
  assert.equal(client.turn, "listening");
});

test("a server that is asleep before the line stands is asleep on it", async (t) => {
  browser(t);
  const { client } = caller();
  const ready = client.connect();
  await settle();
  FakePeer.latest().log("asleep");
  FakePeer.latest().become("connected");
  await ready;
  assert.equal(client.turn, "asleep");
});

test("a new call knows nothing of the sleep of the one before", async (t) => {
  browser(t);
  const { client, peer } = await connected();
  peer.log("asleep");
  client.disconnect();
  const ready = client.connect();
  await settle();
  FakePeer.latest().become("connected");
  await ready;
  assert.equal(client.turn, "listening");
});

test("the click that begins a call starts its audio graph", async (t) => {
  browser(t);
  const resume = t.mock.method(AudioContext.prototype, "resume");
  const { client } = caller();
  assert.equal(client.audioContext, null);
  client.connect().catch(() => {});
  assert.equal(resume.mock.callCount(), 1);
  assert.ok(client.audioContext instanceof AudioContext);
  client.disconnect();
  assert.equal(client.audioContext, null);
});

test("a browser that does not start the audio graph does not stop the call", async (t) => {
  browser(t);
  t.mock.method(AudioContext.prototype, "resume", async () => {
    throw new Error("closed");
  });
  const { client } = await connected();
  assert.equal(client.state, "connected");
});

/** An audio graph that notes its tones: what they are joined to, when they sound, how loud they get. */
function graph(state = "running") {
  const tones = [];
  const context = {
    ...{ state, currentTime: 5, destination: "speaker" },
    createGain() {
      const levels = [];
      const ramp = (level, at) => levels.push([level, at]);
      return {
        ...{ levels, gain: { setValueAtTime: ramp, linearRampToValueAtTime: ramp } },
        connect(to) {
          this.to = to;
        },
      };
    },
    createOscillator() {
      const tone = { frequency: { value: 440 }, connect: (to) => (tone.to = to) };
      tone.start = (at) => (tone.from = at);
      tone.stop = (at) => (tone.until = at);
      tones.push(tone);
      return tone;
    },
  };
  return { context, tones };
}

test("the chime is two soft tones to the speaker, in a fifth of a second or so", () => {
  const { context, tones } = graph();
  chime(context);
  assert.equal(tones.length, 2);
  assert.ok(tones[0].frequency.value < tones[1].frequency.value);
  assert.ok(tones.every(({ to }) => to.to === "speaker"));
  assert.equal(Math.min(...tones.map(({ from }) => from)), 5);
  assert.ok(Math.abs(Math.max(...tones.map(({ until }) => until)) - 5.2) < 0.05);
});

test("a tone begins and ends in silence, and is quiet between", () => {
  const { context, tones } = graph();
  chime(context);
  for (const { from, until, to } of tones) {
    assert.deepEqual(to.levels[0], [0, from]);
    assert.deepEqual(to.levels.at(-1), [0, until]);
    const loudest = Math.max(...to.levels.map(([level]) => level));
    assert.ok(loudest > 0 && loudest <= 0.1);
  }
});

test("an audio graph that stands still, or none, is not rung", () => {
  const { context, tones } = graph("suspended");
  chime(context);
  chime(null);
  assert.equal(tones.length, 0);
});
