/** What Gradio is told of a call, with the signalling and the settings through Gradio too. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Caller, escape } from "../../src/fastrtc/web/caller.js";
import { browser, caller, connected, FakePeer, pass, settle } from "./fakes.mjs";

/** A Gradio page: what its component is told, in order, each event with the value that Python would get. */
function gradio(t, { settings = { mode: "send-receive" } } = {}) {
  const { server: http, media, window } = browser(t);
  const watched = [];
  const it = {
    ...{ http, media, window },
    told: [],
    offers: [],
    settings,
    props: { value: null },
    trigger: (name, data) => it.told.push({ name, data, value: it.props.value }),
    watch: (name, callback) => watched.push(callback),
    server: {
      offer: async (body) => {
        if (body.type === "offer") it.offers.push(body);
        return body.type === "offer" ? { type: "answer", sdp: "answer" } : { status: "success" };
      },
      settings: async () => it.settings,
    },
    /** Python sets the value. */
    set(value) {
      it.props.value = value;
      for (const callback of watched) callback();
    },
    named: (name) => it.told.filter((event) => event.name === name),
  };
  it.caller = new Caller(it);
  return it;
}

/** Lets the line that was asked for last carry sound. */
async function answer() {
  await settle();
  FakePeer.latest().become("connected");
  await settle();
  return FakePeer.latest();
}

/** A Gradio page with a call on. */
async function onCall(t, options) {
  const it = gradio(t, options);
  it.caller.call();
  return { ...it, gradio: it, peer: await answer() };
}

/** A Gradio page on which a text was sent. */
async function typed(t, text) {
  const it = gradio(t);
  const sent = it.caller.submit(text);
  return { ...it, gradio: it, peer: await answer(), sent: await sent };
}

test("a call is told by its id before anything that reads the value", async (t) => {
  const { told, caller } = await onCall(t);
  const value = { webrtc_id: caller.client.id, textbox: "" };
  assert.deepEqual(
    told.map(({ name, value }) => [name, value]),
    [
      ["state_change", null],
      ["fetch", value],
      ["start_recording", value],
      ["state_change", value],
    ],
  );
});

test("each state is told with the id of the call", async (t) => {
  const { named, caller } = await onCall(t);
  const webrtc_id = caller.client.id;
  caller.hangUp();
  assert.deepEqual(
    named("state_change").map(({ data }) => data),
    ["connecting", "connected", "closed"].map((state) => ({ state, webrtc_id })),
  );
  assert.equal(named("stop_recording").length, 1);
});

test("a call that never was is not said to have ended", async (t) => {
  const { caller, named } = gradio(t);
  caller.call();
  await settle();
  caller.hangUp();
  assert.deepEqual(named("stop_recording"), []);
});

test("a line that comes back is told no second time", async (t) => {
  const { named, peer } = await onCall(t);
  peer.become("failed");
  peer.become("connected");
  await settle();
  assert.equal(named("fetch").length, 1);
});

test("a call that is lost and called back is fetched anew by its id, as the same recording", async (t) => {
  const { named, offers, peer, caller } = await onCall(t);
  const { id } = caller.client;
  peer.channel.onclose();
  await settle();
  await answer();
  const ids = named("fetch").map(({ value }) => value.webrtc_id);
  assert.deepEqual(ids, [id, id]);
  assert.equal(offers.at(-1).webrtc_id, id);
  assert.equal(offers.at(-1).reconnected, true);
  assert.equal(named("start_recording").length, 1);
  assert.equal(named("stop_recording").length, 0);
});

test("everything goes through Gradio, and nothing over HTTP", async (t) => {
  const { offers, http, gradio: it } = await onCall(t, { settings: { rtc_configuration: { iceServers: [] } } });
  assert.equal(offers.length, 1);
  assert.deepEqual(FakePeer.latest().configuration, { iceServers: [] });
  assert.equal(it.caller.client.state, "connected");
  assert.deepEqual(http.requests, []);
});

test("a handler that asks for its inputs is a tick", async (t) => {
  const { named, peer, caller } = await onCall(t);
  peer.say({ type: "send_input" });
  assert.deepEqual(
    named("tick").map(({ value }) => value),
    [{ webrtc_id: caller.client.id, textbox: "" }],
  );
});

test("inputs that are asked for before the line is said to be connected go to that call", async (t) => {
  const it = gradio(t);
  it.caller.call();
  await settle();
  FakePeer.latest().say({ type: "send_input" });
  assert.equal(it.caller.client.state, "connecting");
  assert.equal(it.named("tick")[0].value?.webrtc_id, it.caller.client.id);
  await answer();
  assert.equal(it.named("start_recording").length, 1);
});

test("outputs that are there are fetched by the id of the call", async (t) => {
  const { named, peer, caller } = await onCall(t);
  const before = named("fetch").length;
  peer.say({ type: "fetch_output" });
  assert.deepEqual(
    named("fetch")
      .slice(before)
      .map(({ value }) => value.webrtc_id),
    [caller.client.id],
  );
});

test("Python begins a call by a value", async (t) => {
  const it = gradio(t, { settings: { mode: "receive" } });
  it.set("start_webrtc_stream");
  await answer();
  assert.equal(it.caller.client.state, "connected");
  assert.deepEqual(it.props.value, { webrtc_id: it.caller.client.id, textbox: "" });
});

test("Python begins a call anew that is on", async (t) => {
  const { gradio: it } = await onCall(t, { settings: { mode: "receive" } });
  const first = it.caller.client.id;
  it.set("start_webrtc_stream");
  await answer();
  assert.equal(it.caller.client.state, "connected");
  assert.notEqual(it.caller.client.id, first);
});

test("Python may begin a call again after one that failed", async (t) => {
  const it = gradio(t, { settings: { mode: "receive" } });
  const { offer } = it.server;
  it.server.offer = async () => ({ status: "failed", meta: { error: "concurrency_limit_reached", limit: 1 } });
  it.set("start_webrtc_stream");
  await settle();
  assert.equal(it.caller.client.state, "failed");
  assert.notEqual(it.props.value, "start_webrtc_stream"); // or setting it would be no change
  it.server.offer = offer;
  it.set("start_webrtc_stream");
  await answer();
  assert.equal(it.caller.client.state, "connected");
});

test("a value that is taken away in a call is told again", async (t) => {
  const { gradio: it } = await onCall(t);
  it.set(null);
  assert.deepEqual(it.props.value, { webrtc_id: it.caller.client.id, textbox: "" });
});

test("what is there when a call ends is fetched", async (t) => {
  const { named, caller } = await onCall(t);
  const before = named("fetch").length;
  const { id } = caller.client;
  caller.hangUp();
  assert.equal(named("fetch").length, before + 1);
  assert.equal(named("fetch").at(-1).value.webrtc_id, id);
});

test("any other value begins nothing", async (t) => {
  const it = gradio(t);
  it.set("hello");
  await settle();
  assert.equal(it.caller.client.state, "idle");
});

test("a text is sent without asking for a microphone", async (t) => {
  const { sent, named, media, caller } = await typed(t, "Hello");
  assert.equal(sent, true);
  assert.deepEqual(media.asked, []);
  assert.deepEqual(
    named("submit").map(({ value }) => value),
    [{ webrtc_id: caller.client.id, textbox: "Hello" }],
  );
  assert.equal(caller.typing, true);
  assert.equal(caller.calling, false);
});

test("a second text goes over the line of the first", async (t) => {
  const { caller, offers } = await typed(t, "Hello");
  assert.equal(await caller.submit("Still there?"), true);
  assert.equal(offers.length, 1);
});

test("a text stays for listeners that read it late", async (t) => {
  const { props, peer } = await typed(t, "Hello");
  peer.say({ type: "send_input" });
  await pass(5_000);
  assert.equal(props.value.textbox, "Hello");
});

test("a text that was sent last does not come into the next call", async (t) => {
  const { caller, named } = await typed(t, "Hello");
  caller.call();
  await answer();
  assert.equal(named("start_recording").at(-1).value.textbox, "");
});

test("a text goes over the call that is on", async (t) => {
  const { caller, offers, media } = await onCall(t);
  assert.equal(await caller.submit("Hello"), true);
  assert.equal(offers.length, 1);
  assert.equal(media.asked.length, 1);
  assert.equal(caller.calling, true);
});

test("a line on which nothing is typed any more gives its place back", async (t) => {
  const { caller, gradio } = await typed(t, "hello");
  await pass(59_000);
  assert.equal(caller.client.state, "connected");
  await pass(2_000);
  assert.equal(caller.client.state, "closed");
  const sent = caller.submit("again");
  await answer();
  assert.equal(await sent, true);
  assert.equal(gradio.named("submit").length, 2);
});

test("a line on which is only typed stays while there is something to hear", async (t) => {
  const { caller, peer } = await typed(t, "hello");
  for (let minutes = 0; minutes < 3; minutes++) {
    await pass(50_000);
    peer.channel.onmessage({ data: JSON.stringify({ type: "log", data: "response_starting" }) });
  }
  await pass(59_000);
  assert.equal(caller.client.state, "connected");
});

test("talking takes the place of a line on which was typed", async (t) => {
  const { caller, media, peer, named } = await typed(t, "Hello");
  caller.call();
  await answer();
  assert.equal(peer.connectionState, "closed");
  assert.equal(media.asked.length, 1);
  assert.equal(caller.calling, true);
  assert.equal(named("fetch").at(-1).value.webrtc_id, caller.client.id);
});

test("a text that found no line is kept, and why is shown", async (t) => {
  const it = gradio(t);
  it.server.offer = async () => undefined; // so Gradio answers where the server is away
  assert.equal(await it.caller.submit("Hello"), false);
  assert.deepEqual(it.named("submit"), []);
  assert.match(it.named("error")[0].data, /cannot be reached/);
});

test("a text is kept while a line is being brought back", async (t) => {
  const { caller, peer, named } = await typed(t, "Hello");
  peer.become("failed");
  assert.equal(await caller.submit("Are you there?"), false);
  assert.equal(named("submit").length, 1);
});

test("a server that cannot be reached is told so, however Gradio puts it", async (t) => {
  const failures = [
    async () => undefined,
    async () => {
      throw new TypeError("Failed to fetch");
    },
  ];
  const it = gradio(t);
  for (const [index, offer] of failures.entries()) {
    it.server.offer = offer;
    await it.caller.call();
    assert.match(it.named("error")[index].data, /cannot be reached/);
    assert.equal(it.caller.client.state, "failed");
  }
});

test("a refusal in the settings is told in its own words", async (t) => {
  const it = gradio(t, {
    settings: { status: "failed", meta: { error: "not_authorized" } },
  });
  await it.caller.call();
  assert.deepEqual(
    it.named("error").map(({ data }) => data),
    ["You are not allowed to call this stream."],
  );
});

test("an error and a warning of the server are toasts, their texts no markup", async (t) => {
  const { peer, named } = await onCall(t);
  peer.say({ type: "error", data: "<b>Closed</b>" });
  peer.say({ type: "warning", data: 'Slow & "late"' });
  assert.equal(named("error")[0].data, "&lt;b&gt;Closed&lt;/b&gt;");
  assert.equal(named("warning")[0].data, "Slow &amp; &quot;late&quot;");
});

test("a warning that is no text is passed over", async (t) => {
  const { peer, named } = await onCall(t);
  for (const data of [{ a: 1 }, 7, null, ""]) peer.say({ type: "warning", data });
  assert.deepEqual(named("warning"), []);
});

test("an end with a reason is told, and one without is silent", async (t) => {
  const it = await onCall(t);
  it.peer.say({ type: "end_stream", data: "Time is up." });
  assert.equal(it.named("info")[0].data, "Time is up.");
  it.caller.call();
  (await answer()).say({ type: "end_stream" });
  assert.equal(it.caller.client.state, "closed");
  assert.equal(it.named("info").length, 1);
  assert.deepEqual(it.named("error"), []);
});

test("a stream that is simply over is silent", async (t) => {
  const { peer, named } = await onCall(t, { settings: { mode: "receive" } });
  peer.say({ type: "end_stream", data: "The stream has ended" });
  assert.deepEqual(named("info"), []);
});

test("sound that the browser holds back is let go by the next click", async (t) => {
  let allowed = false;
  let plays = 0;
  class Audio {
    async play() {
      if (!allowed) throw Object.assign(new Error(), { name: "NotAllowedError" });
      plays++;
    }
  }
  globalThis.Audio = Audio;
  t.after(() => delete globalThis.Audio);
  const it = await onCall(t);
  it.peer.hear();
  await settle();
  assert.match(it.named("info")[0].data, /Click or tap/);
  allowed = true;
  it.window.dispatchEvent(new Event("click"));
  it.window.dispatchEvent(new Event("click"));
  await settle();
  assert.equal(plays, 1);
});

test("a component that is taken away hangs up, and tells nothing more", async (t) => {
  const { caller, peer, told, media } = await onCall(t);
  const before = told.length;
  caller.close();
  assert.equal(peer.connectionState, "closed");
  assert.equal(media.streams[0].tracks[0].stopped, true);
  assert.equal(told.length, before);
});

test("two callers of one page are each on a call of their own", async (t) => {
  const it = await onCall(t);
  const other = new Caller(it.gradio);
  other.call();
  await answer();
  assert.equal(it.caller.client.state, "connected");
  assert.equal(other.client.state, "connected");
  assert.notEqual(it.caller.client.id, other.client.id);
});

test("no character of a text is markup once it is escaped", () => {
  assert.equal(escape('<a href="x">&amp;</a>'), "&lt;a href=&quot;x&quot;&gt;&amp;amp;&lt;/a&gt;");
});

// — the client's option `settings` —

test("settings take the place of the request for them", async (t) => {
  const { server } = browser(t);
  const { client } = await connected({ settings: async () => ({ title: "Desk", subtitle: "Ring twice" }) });
  assert.equal(client.config.title, "Desk");
  assert.equal(client.config.subtitle, "Ring twice");
  assert.deepEqual(
    server.requests.filter(({ body }) => !body),
    [],
  );
});

test("settings are asked for anew at each call, and before each fresh line", async (t) => {
  browser(t);
  let asked = 0;
  const settings = async () => ({ rtc_configuration: { iceServers: [{ urls: `turn:${++asked}` }] } });
  const { client, peer } = await connected({ settings });
  peer.channel.onclose();
  await pass(600);
  await answer();
  assert.equal(FakePeer.latest().configuration.iceServers[0].urls, "turn:2");
  client.disconnect();
  client.connect();
  await answer();
  assert.equal(FakePeer.latest().configuration.iceServers[0].urls, "turn:3");
});

for (const [how, settings] of [
  ["reject", async () => Promise.reject(new Error("The office is closed."))],
  ["answer with an error", async () => ({ error: "The office is closed." })],
])
  test(`settings that ${how} are a refusal with that text`, async (t) => {
    browser(t);
    const { client, diary } = caller({ settings });
    await assert.rejects(client.connect(), { code: "server_refused", message: "The office is closed." });
    assert.deepEqual(diary.error, [{ code: "server_refused", message: "The office is closed." }]);
  });

test("settings that never come are a server that cannot be reached", async (t) => {
  browser(t);
  const { client, diary } = caller({ settings: () => new Promise(() => {}) });
  client.connect().catch(() => {});
  await pass(10_000);
  assert.equal(diary.error[0].code, "server_unreachable");
});
