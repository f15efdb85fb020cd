/** The sound of a WebSocket line on its way through the audio thread, without one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Framer, Playout, Resampler } from "../../src/fastrtc/web/worklets.js";
import { install } from "./fakes.mjs";

/** Low enough that a millisecond is one sample: 60 to begin, 5 to fade, 5000 at most. */
const RATE = 1_000;
const START = 60;
const FADE = 5;
const MOST = 5_000;

/** A playout with a diary of the marks that it has reached. */
function playout() {
  const it = new Playout(RATE);
  const marks = [];
  it.onmark = (mark) => marks.push(mark);
  return { playout: it, marks };
}

const level = (value, samples) => new Float32Array(samples).fill(value);
const ramp = (samples, from = 1) => Float32Array.from({ length: samples }, (_, index) => from + index);

function read(playout, samples) {
  const block = new Float32Array(samples).fill(NaN);
  playout.read(block);
  return [...block];
}

const zeros = (samples) => new Array(samples).fill(0);

test("nothing is played before anything has come", () => {
  assert.deepEqual(read(playout().playout, 10), zeros(10));
});

test("playing begins at once where enough has come", () => {
  const it = playout().playout;
  it.push(ramp(START));
  assert.deepEqual(read(it, START), [...ramp(START)]);
});

test("playing waits for a little in hand", () => {
  const it = playout().playout;
  it.push(ramp(START - 1));
  assert.deepEqual(read(it, 10), zeros(10));
  it.push([START]);
  assert.deepEqual(read(it, START), [...ramp(START)]);
});

test("a sound that is too short for that is played after 60 ms all the same", () => {
  const it = playout().playout;
  it.push(level(1, 20));
  for (let waited = 0; waited < START; waited += 10) assert.deepEqual(read(it, 10), zeros(10));
  assert.deepEqual(read(it, 10), [...level(1, 10)]);
});

test("the wait is counted from the first sound, not from the beginning of the line", () => {
  const it = playout().playout;
  read(it, 500);
  it.push(level(1, 20));
  assert.deepEqual(read(it, 10), zeros(10));
});

test("what comes in pieces is played without a seam", () => {
  const it = playout().playout;
  const heard = [];
  for (let piece = 0; piece < 10; piece++) {
    it.push(ramp(80, 1 + piece * 80));
    for (let block = 0; block < 10; block++) heard.push(...read(it, 8));
  }
  assert.deepEqual(heard, [...ramp(800)]);
});

test("a sound that gives out dies away instead of breaking off", () => {
  const it = playout().playout;
  it.push(level(6, START));
  read(it, START);
  const end = read(it, 20);
  assert.deepEqual(end.slice(FADE), zeros(20 - FADE));
  for (let index = 0; index < FADE; index++) {
    assert.ok(end[index] < (end[index - 1] ?? 6));
    assert.ok(end[index] > 0);
  }
});

test("after it has given out it resumes with a little in hand again, and loses nothing", () => {
  const it = playout().playout;
  it.push(ramp(START));
  read(it, START + 20);
  it.push(ramp(START - 10));
  assert.deepEqual(read(it, 10), zeros(10));
  it.push(ramp(10, START - 9));
  assert.deepEqual(read(it, START), [...ramp(START)]);
});

test("a clear drops all but a fade of 5 ms", () => {
  const it = playout().playout;
  it.push(level(1, 400));
  read(it, 100);
  it.clear();
  const end = read(it, 300);
  assert.deepEqual(end.slice(FADE), zeros(300 - FADE));
  assert.ok(end.slice(0, FADE).every((sample, index) => sample < (end[index - 1] ?? 1) && sample > 0));
});

test("a fade is over the sound that would have been played", () => {
  const it = playout().playout;
  it.push([...level(1, 100), ...level(-1, 100)]);
  read(it, 100);
  it.clear();
  assert.ok(read(it, FADE).every((sample) => sample < 0));
});

test("a clear before playing has begun leaves nothing to hear", () => {
  const it = playout().playout;
  it.push(level(1, START - 1));
  it.clear();
  assert.deepEqual(read(it, 200), zeros(200));
});

test("what comes after a clear is played whole, after the fade", () => {
  const it = playout().playout;
  it.push(level(1, 200));
  read(it, 100);
  it.clear();
  it.push(ramp(START, 100));
  const heard = [...read(it, FADE), ...read(it, START)];
  assert.ok(heard.slice(0, FADE).every((sample) => sample < 1));
  assert.deepEqual(heard.slice(FADE), [...ramp(START, 100)]);
});

test("a clear of nothing does nothing", () => {
  const it = playout().playout;
  it.clear();
  it.push(ramp(START));
  assert.deepEqual(read(it, START), [...ramp(START)]);
});

test("a mark with nothing before it is reached at once", () => {
  const { playout: it, marks } = playout();
  it.mark("a");
  assert.deepEqual(marks, ["a"]);
});

test("a mark is reached with the last sample before it, and not sooner", () => {
  const { playout: it, marks } = playout();
  it.push(level(1, 100));
  it.mark("a");
  it.push(level(1, 100));
  read(it, 99);
  assert.deepEqual(marks, []);
  read(it, 1);
  assert.deepEqual(marks, ["a"]);
});

test("marks are reached in the order in which they were set", () => {
  const { playout: it, marks } = playout();
  for (const name of ["a", "b", "c"]) {
    it.push(level(1, 40));
    it.mark(name);
  }
  it.mark("d");
  read(it, 90);
  assert.deepEqual(marks, ["a", "b"]);
  read(it, 30);
  assert.deepEqual(marks, ["a", "b", "c", "d"]);
});

test("a mark waits with a sound that waits to be played", () => {
  const { playout: it, marks } = playout();
  it.push(level(1, 20));
  it.mark("a");
  read(it, 50);
  assert.deepEqual(marks, []);
  read(it, 10);
  read(it, 20);
  assert.deepEqual(marks, ["a"]);
});

test("a clear reaches every mark, in order, and each once", () => {
  const { playout: it, marks } = playout();
  for (const name of ["a", "b"]) {
    it.push(level(1, 200));
    it.mark(name);
  }
  it.clear();
  read(it, 600);
  assert.deepEqual(marks, ["a", "b"]);
});

test("of more than five seconds the oldest is dropped", () => {
  const it = playout().playout;
  it.push(ramp(3_000));
  it.push(ramp(3_000, 3_001));
  const heard = read(it, MOST + 100).slice(0, MOST);
  assert.deepEqual([heard[0], heard.at(-1)], [1_001, 6_000]);
});

test("a mark among what was dropped is reached by that", () => {
  const { playout: it, marks } = playout();
  it.push(level(1, 1_000));
  it.mark("a");
  it.push(level(1, MOST - 1));
  assert.deepEqual(marks, []);
  it.push(level(1, 1));
  assert.deepEqual(marks, ["a"]);
});

test("frames are of 20 ms, whatever the blocks", () => {
  const framer = new Framer(8_000);
  const frames = [];
  framer.onframe = (frame) => frames.push(frame);
  for (let block = 0; block < 5; block++) framer.push(level(0.5, 128));
  assert.deepEqual(
    frames.map((frame) => [frame.length, frame.constructor]),
    new Array(4).fill([160, Int16Array]),
  );
});

test("a frame is not written to once it is given away", () => {
  const framer = new Framer(8_000);
  const frames = [];
  framer.onframe = (frame) => frames.push(frame);
  framer.push([...level(0.25, 160), ...level(0.5, 160)]);
  assert.deepEqual([frames[0][0], frames[1][0]], [8_192, 16_384]);
});

test("too loud a sample is cut to what 16 bits can hold", () => {
  const framer = new Framer(50 * 5);
  let frame;
  framer.onframe = (it) => (frame = it);
  framer.push([0, 1, -1, 7, -7]);
  assert.deepEqual([...frame], [0, 32_767, -32_768, 32_767, -32_768]);
});

for (const [from, to] of [
  [96_000, 48_000],
  [48_000, 96_000],
  [11_025, 24_000],
  [44_100, 16_000],
])
  test(`a tone of ${from} Hz is the same tone at ${to} Hz, whatever the blocks`, () => {
    const resampler = new Resampler(from, to);
    const hertz = 200;
    const made = [];
    for (let start = 0; start < from; start += 128) {
      const block = Float32Array.from({ length: 128 }, (_, n) => Math.sin((2 * Math.PI * hertz * (start + n)) / from));
      made.push(...resampler.run(block));
    }
    assert.ok(Math.abs(made.length - to) < (128 * to) / from + 2);
    for (const [n, sample] of made.entries())
      assert.ok(Math.abs(sample - Math.sin((2 * Math.PI * hertz * n) / to)) < 0.005, `sample ${n}`);
  });

test("where the rates are equal no sample is touched", () => {
  const block = ramp(128);
  assert.equal(new Resampler(48_000, 48_000).run(block), block);
});

/** The processor of a line, as an audio thread would make it. */
async function line(t, options) {
  let Line;
  class Processor {
    port = { sent: [], postMessage: (message) => this.port.sent.push(message) };
  }
  install(t, {
    AudioWorkletProcessor: Processor,
    sampleRate: 8_000,
    registerProcessor: (name, it) => (Line = it),
  });
  await import(`../../src/fastrtc/web/worklets.js?${t.name}`); // a copy of its own, as a thread has
  return new Line({ processorOptions: { rate: 8_000, sends: true, ...options } });
}

const say = (line, data) => line.port.onmessage({ data });

test("a line plays what it is told, and says when a mark is reached", async (t) => {
  const it = await line(t);
  say(it, { sound: new Int16Array(480).fill(16_384) });
  say(it, { mark: { name: "a" } });
  const block = new Float32Array(480);
  it.process([[]], [[block]]);
  assert.deepEqual([...block], [...level(0.5, 480)]);
  assert.deepEqual(
    it.port.sent.filter(({ mark }) => mark),
    [{ mark: { name: "a" } }],
  );
});

test("a line that is cleared falls silent and gives its marks back", async (t) => {
  const it = await line(t);
  say(it, { sound: new Int16Array(4_000).fill(16_384) });
  say(it, { mark: { name: "a" } });
  say(it, { clear: true });
  assert.deepEqual(it.port.sent, [{ mark: { name: "a" } }]);
  const block = new Float32Array(128);
  it.process([[]], [[block]]);
  assert.deepEqual([...block], zeros(128));
});

test("a line sends what the microphone gives", async (t) => {
  const it = await line(t);
  it.process([[level(0.5, 160)]], [[new Float32Array(160)]]);
  assert.deepEqual([...new Int16Array(it.port.sent[0].frame)], new Array(160).fill(16_384));
});

test("a line without a microphone sends silence", async (t) => {
  const it = await line(t);
  it.process([[]], [[new Float32Array(160)]]);
  assert.deepEqual([...new Int16Array(it.port.sent[0].frame)], zeros(160));
});

test("a line that only listens sends nothing", async (t) => {
  const it = await line(t, { sends: false });
  it.process([[level(0.5, 160)]], [[new Float32Array(160)]]);
  assert.deepEqual(it.port.sent, []);
});

test("a line works until it is closed", async (t) => {
  const it = await line(t);
  assert.equal(it.process([[]], [[new Float32Array(128)]]), true);
  say(it, { close: true });
  assert.equal(it.process([[]], [[new Float32Array(128)]]), false);
});
