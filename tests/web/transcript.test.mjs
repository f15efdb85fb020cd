/** The conversation in words: what of the outputs of a call it takes, how it is asked for, and how it is shown. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation, LINES, showTranscript } from "../../src/fastrtc/web/transcript.js";

const user = (content, more) => ({ role: "user", content, ...more });
const reply = (content, more) => ({ role: "assistant", content, ...more });
const part = { partial: true };

/** What a conversation tells after some outputs, a line as `role: text`, a partial one with an ellipsis. */
function told(...outputs) {
  const conversation = new Conversation();
  for (const values of outputs) conversation.add(values);
  return conversation.lines.map(({ role, text, partial }) => `${role}: ${text}${partial ? "…" : ""}`);
}

test("what is said is a line each", () => {
  assert.deepEqual(told([user("Hello.")], [reply("Good day.")], [user("Bye.")]), [
    "user: Hello.",
    "assistant: Good day.",
    "user: Bye.",
  ]);
});

test("one output may tell several lines", () => {
  assert.deepEqual(told([user("Hello."), reply("Good day.")]), ["user: Hello.", "assistant: Good day."]);
});

test("a text is a line of its own", () => {
  assert.deepEqual(told(["Looking it up"]), [": Looking it up"]);
});

test("a partial line is replaced until one comes that is whole", () => {
  const outputs = [[user("To", part)], [user("To the", part)], [user("To the station.")], [user("Now.")]];
  assert.deepEqual(told(...outputs.slice(0, 2)), ["user: To the…"]);
  assert.deepEqual(told(...outputs), ["user: To the station.", "user: Now."]);
});

test("a partial line of one side is none of the other's", () => {
  const lines = told([reply("Let me", part)], [user("Stop", part)], [reply("Let me see.")], ["note"], [user("Stop!")]);
  assert.deepEqual(lines, ["assistant: Let me see.", "user: Stop!", ": note"]);
});

test("a partial line that was nothing after all is gone", () => {
  assert.deepEqual(told([user("Uh", part)], [user(" ")], [user("Hello.")]), ["user: Hello."]);
});

test("a list is the whole conversation, in the place of what was told", () => {
  assert.deepEqual(told(["note"], [[user("Hello."), reply("Good day.")]]), ["user: Hello.", "assistant: Good day."]);
  assert.deepEqual(told([user("Hello.")], [[]]), []);
});

test("instructions and pictures in a conversation are not shown", () => {
  const image = { role: "assistant", content: { path: "cat.png" } };
  assert.deepEqual(told([[{ role: "system", content: "Be kind." }, user("Hello."), image]]), ["user: Hello."]);
});

test("a conversation that grows keeps the lines that it had", () => {
  const conversation = new Conversation();
  const lines = [user("Yes."), reply("And?"), user("Yes."), reply("Good", part)];
  conversation.add([lines]);
  const before = conversation.lines;
  conversation.add([[...lines.slice(0, 3), reply("Good day.")]]);
  assert.deepEqual(
    before.map((line) => conversation.lines.indexOf(line)),
    [0, 1, 2, -1],
  );
});

test("only the last lines are kept, told one by one or all at once", () => {
  const many = Array.from({ length: LINES + 50 }, (_, index) => user(`${index}`));
  for (const outputs of [many.map((line) => [line]), [[many]]]) {
    const lines = told(...outputs);
    assert.equal(lines.length, LINES);
    assert.equal(lines.at(-1), `user: ${LINES + 49}`);
  }
});

test("what is no line of a conversation is passed over", () => {
  const values = [null, 7, true, {}, " ", user(7), user(null), { role: "system", content: "x" }];
  const strange = [{ role: "constructor", content: "x" }, { role: 3, content: "x" }, { content: "x" }];
  const lists = [[1, 2], [[user("x")]], ["x"], [user("x"), null]];
  assert.deepEqual(told([user("Hello.")], [...values, ...strange, ...lists]), ["user: Hello."]);
  for (const output of [undefined, null, 7, "x", {}]) assert.deepEqual(told(output), []);
});

// — on a page —

class FakeElement {
  dataset = {};
  attributes = {};
  children = [];
  moves = 0;
  textContent = "";
  scrollTop = 0;
  clientHeight = 100;

  get firstChild() {
    return this.children[0] ?? null;
  }

  get lastChild() {
    return this.children.at(-1);
  }

  get nextSibling() {
    return this.parent.children[this.parent.children.indexOf(this) + 1] ?? null;
  }

  get scrollHeight() {
    return this.children.length * 50;
  }

  get words() {
    return this.children.map((child) => child.words ?? child).join("") || this.textContent;
  }

  append(...items) {
    this.children.push(...items);
  }

  insertBefore(item, next) {
    item.parent?.children.splice(item.parent.children.indexOf(item), 1);
    item.parent = this;
    this.children.splice(next ? this.children.indexOf(next) : this.children.length, 0, item);
    this.moves++;
  }

  remove() {
    this.parent.children.splice(this.parent.children.indexOf(this), 1);
  }

  setAttribute(name, value) {
    this.attributes[name] = String(value);
  }
}

class FakeEventSource {
  static CLOSED = 2;
  static made = [];
  readyState = 1;

  constructor(url) {
    this.url = url;
    FakeEventSource.made.push(this);
  }

  tell(...values) {
    if (this.readyState === 1) this.onmessage({ data: JSON.stringify(values) });
  }

  close() {
    this.readyState = 2;
  }
}

/** A page around one transcript. */
function page(t) {
  FakeEventSource.made = [];
  const globals = { EventSource: FakeEventSource, document: { createElement: () => new FakeElement() } };
  Object.assign(globalThis, globals);
  t.after(() => {
    for (const name of Object.keys(globals)) delete globalThis[name];
  });
  const log = new FakeElement();
  const section = { hidden: true, querySelector: () => log };
  const client = Object.assign(new EventTarget(), { id: "a&b" });
  const emit = (type, detail) => client.dispatchEvent(new CustomEvent(type, { detail }));
  showTranscript(client, section);
  return {
    ...{ log, section, client },
    become: (state) => emit("state", { state }),
    say: (type) => emit("message", { type, data: [] }),
    source: () => FakeEventSource.made.at(-1),
    lines: () => log.children.map(({ words }) => words),
  };
}

/** The same, on a line whose server has outputs. */
function begun(t) {
  const it = page(t);
  it.become("connecting");
  it.become("connected");
  it.say("fetch_output");
  return it;
}

test("a call without outputs is not asked for any, and shows nothing", (t) => {
  const { become, say, section } = page(t);
  become("connecting");
  become("connected");
  for (const type of ["log", "send_input", "steps"]) say(type);
  assert.equal(FakeEventSource.made.length, 0);
  assert.equal(section.hidden, true);
});

test("the first output opens the stream of them, the others use it", (t) => {
  const { say, source } = begun(t);
  say("fetch_output");
  assert.equal(FakeEventSource.made.length, 1);
  assert.equal(source().url, "outputs?webrtc_id=a%26b");
});

test("outputs without a word show nothing", (t) => {
  const { source, section } = begun(t);
  source().tell(7, { score: 3 });
  source().onmessage({ data: "no JSON" });
  assert.equal(section.hidden, true);
});

test("lines are shown with who said them, as text alone", (t) => {
  const { source, section, lines } = begun(t);
  source().tell(user("<b>Hello</b>"), reply("Good day."), "note");
  assert.equal(section.hidden, false);
  assert.deepEqual(lines(), ["You <b>Hello</b>", "Reply Good day.", "note"]);
});

test("a screen reader is told a line once it is whole", (t) => {
  const { source, log } = begun(t);
  const hidden = () => log.lastChild.attributes["aria-hidden"];
  source().tell(user("To the", part));
  assert.equal(hidden(), "true");
  source().tell(user("To the station."));
  assert.equal(hidden(), "false");
  assert.equal(log.children.length, 1);
});

test("lines that stay are not moved when the oldest goes", (t) => {
  const { source, log, lines } = begun(t);
  for (let index = 0; index < LINES; index++) source().tell(user(`${index}`));
  const moves = log.moves;
  source().tell(user("last"));
  assert.equal(log.moves, moves + 1);
  assert.equal(lines().length, LINES);
  assert.equal(lines()[0], "You 1");
});

test("the newest line is scrolled to, unless the reader has scrolled up", (t) => {
  const { source, log } = begun(t);
  for (let index = 0; index < 10; index++) source().tell(user(`${index}`));
  assert.equal(log.scrollTop, log.scrollHeight);
  log.scrollTop = 120;
  source().tell(user("one more"));
  assert.equal(log.scrollTop, 120);
  log.scrollTop = log.scrollHeight - log.clientHeight;
  source().tell(user("and one"));
  assert.equal(log.scrollTop, log.scrollHeight);
});

test("a call that is over is read no more, and stays to be read", (t) => {
  const { source, become, lines } = begun(t);
  source().tell(user("Bye."));
  become("closed");
  assert.equal(source().readyState, FakeEventSource.CLOSED);
  assert.deepEqual(lines(), ["You Bye."]);
});

test("a new call begins with nothing said", (t) => {
  const { source, become, lines, section } = begun(t);
  source().tell(user("Bye."));
  become("closed");
  become("connecting");
  assert.deepEqual(lines(), []);
  assert.equal(section.hidden, true);
});

test("a line that comes back is read on", (t) => {
  const { source, become, say } = begun(t);
  const before = source();
  become("reconnecting");
  become("connected");
  say("fetch_output");
  assert.equal(source(), before);
  assert.equal(before.readyState, 1);
});

test("a fresh line is asked for by its own id, and what was said stays", (t) => {
  const { client, source, become, say, lines } = begun(t);
  const before = source();
  before.tell(user("Hello?"));
  become("reconnecting");
  client.id = "second";
  become("connected");
  say("fetch_output");
  assert.equal(before.readyState, FakeEventSource.CLOSED);
  assert.equal(source().url, "outputs?webrtc_id=second");
  source().tell(user("Still there?"));
  assert.deepEqual(lines(), ["You Hello?", "You Still there?"]);
});

test("a stream of outputs that has broken off is opened again by the next output", (t) => {
  const { source, say } = begun(t);
  source().close();
  say("fetch_output");
  assert.equal(FakeEventSource.made.length, 2);
});
