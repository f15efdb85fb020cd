/** The strip of turn-taking: what is kept, where it is drawn, and how it is told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  arrange,
  Clock,
  History,
  KEPT,
  lastWords,
  loudness,
  showTurnTaking,
  standing,
  STEP,
  Strip,
  tag,
  tell,
} from "../../src/fastrtc/web/strip.js";

const steps = (count, state = "listening") => Array.from({ length: count }, () => [0.5, -30, -100, state]);
const close = (actual, expected) => assert.ok(Math.abs(actual - expected) < 1e-9, `${actual} is not ${expected}`);
const plain = (parts) => parts.join(" · ").replaceAll("\u00a0", " ");

test("loudness goes from a quiet room to a loud voice", () => {
  assert.deepEqual([-100, -60, -36, -12, 0].map(loudness), [0, 0, 0.5, 1, 1]);
});

test("the last step of a message ends when the message says, the others each 32 ms before", () => {
  const history = new History();
  assert.equal(history.add({ end: 1, steps: steps(3) }), true);
  close(history.steps[0].at, 1 - 2 * STEP);
  close(history.newest, 1);
});

test("a step keeps what was sent", () => {
  const history = new History();
  history.add({ end: 1, steps: [[0.93, -21, -34, "overlapping"]] });
  assert.deepEqual(history.steps, [{ at: 1, probability: 0.93, level: -21, playing: -34, state: "overlapping" }]);
});

test("steps that are known already are not kept twice", () => {
  const history = new History();
  history.add({ end: 1, steps: steps(5) });
  assert.equal(history.add({ end: 1, steps: steps(5) }), false);
  assert.equal(history.add({ end: 1 + 2 * STEP, steps: steps(5) }), true);
  assert.equal(history.steps.length, 7);
});

test("what is old is let go, steps and decisions", () => {
  const history = new History();
  history.decide({ at: 1, kind: "user started" });
  for (let index = 1; index < 2000; index++) history.add({ end: index * 5 * STEP, steps: steps(5) });
  assert.ok(history.steps.length <= KEPT / STEP + 1);
  assert.deepEqual(history.decisions, []);
});

test("one huge message is no more than the rest", () => {
  const history = new History();
  history.add({ end: 5000, steps: steps(100_000) });
  assert.ok(history.steps.length <= KEPT / STEP + 1);
});

test("a call that starts anew forgets the one before", () => {
  const history = new History();
  history.add({ end: 90, steps: steps(5) });
  history.decide({ at: 89, kind: "user started" });
  assert.equal(history.add({ end: 0.16, steps: steps(5) }), true);
  assert.equal(history.steps.length, 5);
  assert.deepEqual(history.decisions, []);
});

test("malformed steps, decisions and turns break nothing", () => {
  const history = new History();
  const nonsense = [undefined, null, 7, "x", [], {}, { end: "1", steps: [] }, { end: NaN, steps: steps(1) }];
  for (const data of [...nonsense, { end: 1, steps: {} }, { end: 1, steps: [] }, { end: 1, steps: [null, 7] }])
    assert.equal(history.add(data), false);
  for (const data of [...nonsense, { at: 1 }, { at: 1, kind: 7 }, { kind: "user started" }, { at: 1, kind: " " }])
    assert.equal(history.decide(data), false);
  for (const data of [...nonsense, { number: "1" }]) assert.deepEqual(tell(data), []);
  assert.equal(history.newest, null);
  assert.deepEqual(history.stretches(0, 10), []);
});

test("a step of nonsense is a silent one", () => {
  const history = new History();
  history.add({ end: 1, steps: [[null, "loud", undefined, 3]] });
  history.add({ end: 2, steps: [[7, -20, -20, "speaking"]] });
  assert.deepEqual(history.steps[0], { at: 1, probability: 0, level: -100, playing: -100, state: "" });
  assert.equal(history.steps[1].probability, 1);
});

test("a turn of nonsense is told as far as it makes sense", () => {
  const turn = { number: 2, speech_start: "x", evidence: 7, false_alarms: [null, [1]], heard: null, error: {} };
  assert.equal(plain(tell({ ...turn, interrupted: "no" })), "Turn 2 · greeting · held for nothing 0.00 s");
});

test("a gap between steps is a gap in the picture", () => {
  const history = new History();
  history.add({ end: 1, steps: steps(5) });
  history.add({ end: 3, steps: steps(5) });
  assert.deepEqual(
    history.stretches(0, 4).map(({ length }) => length),
    [5, 5],
  );
});

test("who has the floor is one stretch for as long as it lasts", () => {
  const history = new History();
  history.add({ end: 10 * STEP, steps: [...steps(4, "speaking"), ...steps(6, "pausing")] });
  const floors = history.floors(0, 1);
  assert.deepEqual(
    floors.map(({ state }) => state),
    ["speaking", "pausing"],
  );
  close(floors[0].start, 0);
  close(floors[0].end, 4 * STEP);
  close(floors[1].start, 4 * STEP);
});

test("only what lies in the window is given", () => {
  const history = new History();
  history.add({ end: 2, steps: steps(60) });
  const [seen] = history.stretches(1, 1.5);
  assert.ok(seen[0].at > 1);
  assert.ok(seen[0].at < 1 + STEP + 1e-9);
  assert.ok(seen.at(-1).at - STEP < 1.5);
});

test("the clock runs evenly over messages that come late and early", () => {
  const clock = new Clock();
  const late = [0.02, 0, 0.05, 0.01, 0.03, 0];
  const drawn = [];
  for (let index = 0; index < 60; index++) {
    const now = 100 + index * 0.16;
    clock.set(index * 0.16, now + late[index % late.length]);
    drawn.push(clock.read(now) - index * 0.16);
  }
  const last = drawn.slice(30);
  assert.ok(Math.max(...last) - Math.min(...last) < 0.02);
  assert.ok(Math.max(...last) < -0.16, "it never overtakes the next message");
});

test("the clock follows a call that has jumped", () => {
  const clock = new Clock();
  clock.set(50, 100);
  clock.set(0, 101);
  close(clock.read(101), -0.25);
});

test("a window that stands still moves by half of its width", () => {
  assert.deepEqual(
    [0, 5, 12, 12.1, 18, 18.1].map((now) => standing(now, 12)),
    [12, 12, 12, 18, 18, 24],
  );
});

test("labels that would lie over each other go to other rows, and one too many to none", () => {
  const at = (time) => ({ at: time, label: "done" });
  const decisions = [at(1), at(1.5), at(1.6), at(2.1)];
  arrange(decisions, () => 1, 2);
  assert.deepEqual(
    decisions.map(({ row }) => row),
    [0, 1, -1, 0],
  );
});

test("a label stays in its row when the ones before it are gone", () => {
  const decisions = [1, 1.5, 1.9].map((time) => ({ at: time, label: "done" }));
  arrange(decisions, () => 1, 3);
  const left = decisions.slice(1);
  arrange(left, () => 1, 3);
  assert.deepEqual(
    left.map(({ row }) => row),
    [1, 2],
  );
});

test("a decision is a word or two", () => {
  const tags = [
    { kind: "user may have finished", finished: 0.31 },
    { kind: "user finished", finished: null },
    { kind: "user went on" },
    { kind: "false alarm" },
    { kind: "something that nobody has thought of yet" },
    { kind: "constructor" },
    {},
  ].map((it) => tag(it).replace("\u00a0", " "));
  const unknown = "something that nobody ha";
  assert.deepEqual(tags, ["done? 31 %", "done", "goes on", "false alarm", unknown, "constructor", ""]);
});

test("long words are told from a whole word on", () => {
  assert.equal(lastWords("To the station."), "To the station.");
  assert.equal(lastWords("I would like to go from here to the station."), "…from here to the station.");
  assert.equal(lastWords(null), "");
});

const TURN = {
  number: 3,
  speech_start: 1.2,
  speech_end: 3.1,
  decided: 3.31,
  evidence: { opinion: { probability: 0.9, words: "to the station." }, speech: 1.9, finished: 0.98, patience: 0.2 },
  speculated: 0,
  first_output: 3.35,
  first_sound: 3.4,
  reply_end: 6,
  interrupted: true,
  false_alarms: [],
  heard: { seconds: 2.4, text: "Platform two." },
  error: null,
};

test("a turn is told in words", () => {
  assert.equal(
    plain(tell(TURN)),
    "Turn 3 · spoke 1.9 s · decided after 0.21 s (98 % finished: “to the station.”)" +
      " · first sound 0.30 s · heard 2.4 s · interrupted",
  );
});

test("a turn that silence ended is told without evidence", () => {
  const parts = tell({ ...TURN, evidence: null, interrupted: false, heard: { seconds: 0, text: "" } });
  assert.equal(plain(parts), "Turn 3 · spoke 1.9 s · decided after 0.21 s · first sound 0.30 s");
});

test("evidence without words is a number", () => {
  const evidence = { ...TURN.evidence, opinion: { probability: 0.9, words: null } };
  assert.match(plain(tell({ ...TURN, evidence })), /after 0\.21 s \(98 % finished\) ·/);
});

test("early replies, false alarms and errors are told", () => {
  const turn = { ...TURN, speculated: 2, false_alarms: [[4, 0.4], [5, 0.3]], error: "ValueError: no" };
  const told = plain(tell(turn));
  for (const part of ["2 early replies discarded", "held for nothing 0.70 s", "failed: ValueError: no"])
    assert.ok(told.includes(part), told);
  assert.match(plain(tell({ ...TURN, speculated: 1 })), /1 early reply discarded/);
});

test("a greeting has a first sound, and a forced turn may have no speech", () => {
  const silent = { ...TURN, speech_start: null, speech_end: null, evidence: null, interrupted: false };
  assert.equal(plain(tell({ ...silent, decided: null })), "Turn 3 · greeting · first sound at 3.40 s · heard 2.4 s");
  assert.match(plain(tell(silent)), /^Turn 3 · nothing said/);
});

// — on a page —

class FakeElement extends EventTarget {
  dataset = {};
  hidden = false;
  children = [];
  textContent = "";

  constructor(parts = {}) {
    super();
    this.querySelector = (name) => parts[name];
  }

  get lastChild() {
    return this.children.at(-1);
  }

  get words() {
    return this.children.map((child) => child.words ?? child).join("") || this.textContent;
  }

  append(...items) {
    for (const item of items) if (item instanceof FakeElement) item.parent = this;
    this.children.push(...items);
  }

  prepend(item) {
    item.parent = this;
    this.children.unshift(item);
  }

  remove() {
    this.parent.children = this.parent.children.filter((it) => it !== this);
  }

  replaceChildren() {
    this.children = [];
  }
}

/** A canvas that notes what is written and how often it is wiped. */
function fakeCanvas() {
  const canvas = new FakeElement();
  Object.assign(canvas, { clientWidth: 700, clientHeight: 168, written: [], places: [], drawn: 0 });
  const pen = {
    measureText: (text) => ({ width: text.length * 6 }),
    fillText: (text, x, y) => (canvas.written.push(text), canvas.places.push([x, y])),
    setTransform: () => (canvas.drawn++, (canvas.written = []), (canvas.places = [])),
    fillRect: (...box) => canvas.places.push(box.slice(0, 2)),
    moveTo: (...place) => canvas.places.push(place),
    lineTo: (...place) => canvas.places.push(place),
  };
  for (const name of ["strokeText", "beginPath", "closePath", "fill", "stroke"]) pen[name] = () => {};
  canvas.getContext = () => pen;
  return canvas;
}

/** A page around one strip; `frames()` lets the browser draw, and says whether it had anything to. */
function page(t, { calm = false, storage = {} } = {}) {
  const waiting = [];
  const globals = {
    devicePixelRatio: 1,
    getComputedStyle: () => ({ getPropertyValue: (name) => name }),
    matchMedia: (query) => Object.assign(new EventTarget(), { matches: calm && query.includes("motion") }),
    requestAnimationFrame: (draw) => waiting.push(draw),
    ResizeObserver: class {
      observe() {}
    },
    document: { createElement: () => new FakeElement() },
    localStorage: {
      getItem: (key) => storage[key] ?? null,
      setItem: (key, value) => (storage[key] = value),
    },
  };
  if (storage === null)
    globals.localStorage = new Proxy({}, { get: () => assert.fail("no storage on this page") });
  const before = Object.keys(globals).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(globals))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => {
    for (const [name, descriptor] of before)
      descriptor ? Object.defineProperty(globalThis, name, descriptor) : delete globalThis[name];
  });
  const [canvas, list, hint] = [fakeCanvas(), new FakeElement(), new FakeElement()];
  const details = new FakeElement({ canvas, ol: list, ".hint": hint });
  details.open = false;
  const client = Object.assign(new EventTarget(), { state: "idle" });
  const emit = (type, detail) => client.dispatchEvent(new CustomEvent(type, { detail }));
  return {
    ...{ canvas, list, hint, details, storage, emit },
    show: () => showTurnTaking(client, details),
    become(state) {
      client.state = state;
      emit("state", { state });
    },
    toggle(open) {
      details.open = open;
      details.dispatchEvent(new Event("toggle"));
    },
    frames(times = 1) {
      let drew = false;
      for (let index = 0; index < times; index++)
        for (const draw of waiting.splice(0)) {
          drew = true;
          draw(performance.now());
        }
      return drew || waiting.length > 0;
    },
  };
}

test("a strip that is shut draws nothing and keeps what comes", (t) => {
  const { show, become, emit, frames, toggle, canvas } = page(t);
  show();
  become("connected");
  emit("steps", { end: 3, steps: steps(90, "speaking") });
  assert.equal(frames(3), false);
  assert.equal(canvas.drawn, 0);
  toggle(true);
  frames(2);
  assert.ok(canvas.written.includes("speaking"));
});

test("a strip runs while there is a call, and rests after it", (t) => {
  const { show, become, emit, frames, toggle, canvas } = page(t);
  show();
  toggle(true);
  frames(3);
  assert.equal(frames(), false);
  become("connected");
  emit("steps", { end: 3, steps: steps(90, "speaking") });
  frames(5);
  assert.equal(frames(), true);
  become("closed");
  frames(3);
  assert.equal(frames(), false);
  assert.ok(canvas.written.includes("speaking"), "the end of the call stays to be seen");
});

test("those who want no motion get one picture a message", (t) => {
  const { show, become, emit, frames, toggle, canvas } = page(t, { calm: true });
  show();
  toggle(true);
  become("connected");
  frames(3);
  const before = canvas.drawn;
  emit("steps", { end: 3, steps: steps(90, "speaking") });
  frames(5);
  assert.equal(canvas.drawn, before + 1);
});

test("whether it is open is remembered, where the page may remember", (t) => {
  const { show, details, toggle, storage } = page(t, { storage: { "fastrtc.turn-taking": "open" } });
  show();
  assert.equal(details.open, true);
  toggle(false);
  assert.equal(storage["fastrtc.turn-taking"], "shut");
});

test("a page without storage shows it all the same", (t) => {
  const { show, toggle, details } = page(t, { storage: null });
  show();
  toggle(true);
  assert.equal(details.open, true);
});

test("the last four turns are told, the newest first, each once", (t) => {
  const { show, emit, list } = page(t);
  show();
  for (const number of [1, 2, 3, 4, 5, 5]) emit("turn_record", { ...TURN, number });
  emit("turn_record", { nonsense: true });
  assert.deepEqual(
    list.children.map(({ words }) => words.split(" · ")[0]),
    ["Turn 5", "Turn 4", "Turn 3", "Turn 2"],
  );
  assert.match(list.children[0].words, /^Turn 5 · spoke/);
});

test("a new call begins with an empty strip, a fresh line with an empty list", (t) => {
  const { show, become, emit, list, hint } = page(t);
  show();
  emit("steps", { end: 90, steps: steps(5) });
  emit("turn_record", TURN);
  assert.equal(hint.hidden, true);
  emit("steps", { end: 0.2, steps: steps(5) });
  assert.equal(list.children.length, 0);
  become("connecting");
  assert.equal(hint.hidden, false);
});

test("everything is drawn at a place, whatever was sent", (t) => {
  const { canvas } = page(t);
  const history = new History();
  const states = ["speaking", "a state of tomorrow", "constructor"];
  for (let index = 0; index < 60; index++)
    history.add({ end: (index + 1) * 5 * STEP, steps: steps(5, states[index % 3]) });
  history.add({ end: 10, steps: [[NaN, Infinity, null, null]] });
  const kinds = ["user finished", "may interrupt", "false alarm", "constructor"];
  for (const [index, kind] of kinds.entries()) history.decide({ at: 4 + index, kind, finished: 0.5 });
  for (const width of [700, 300, 0]) {
    canvas.clientWidth = width;
    new Strip(canvas, history).draw(10);
    if (width) assert.ok(canvas.places.flat().every(Number.isFinite));
  }
  canvas.clientWidth = 700;
  new Strip(canvas, history).draw(10);
  for (const label of ["done 50\u00a0%", "false alarm 50\u00a0%", "0:06"]) assert.ok(canvas.written.includes(label));
});
