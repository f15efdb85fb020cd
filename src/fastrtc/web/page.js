/** The page that comes with a stream. */
import { chime } from "./chime.js";
import { FastRTCClient } from "./client.js";
import { isOn, listMicrophones, say, startWord, tell, words } from "./face.js";
import { showTurnTaking } from "./strip.js";
import { showTranscript } from "./transcript.js";
import { Wire, WOKEN_MS } from "./wire.js";

const TRANSPORTS = { webrtc: "WebRTC", websocket: "WebSocket" };

const wished = new URLSearchParams(location.search).get("transport");
const transport = Object.hasOwn(TRANSPORTS, wished) ? wished : "auto";
const client = (window.fastrtc = new FastRTCClient({ watch: true, transport }));
const $ = (id) => document.getElementById(id);
const wire = new Wire($("line"), client, { caller: $("input-level"), reply: $("output-level") });

const STATUS = {
  idle: "Ready",
  connecting: "Connecting",
  connected: "On the line",
  reconnecting: "Reconnecting",
  closed: "Call ended",
  failed: "Not connected",
};

let mode = "send-receive";
let answeredAt = null;
let blocked = false;

const listed = () => listMicrophones($("microphone"), client);

// — what is going on, in words —

function show() {
  const { state, turn } = client;
  const on = isOn(state);
  say($("status"), STATUS[state]);
  $("status").dataset.state = state;
  say($("transport"), TRANSPORTS[client.transport] ?? "");
  $("transport").hidden = !client.transport;
  say($("turn"), words(client, { mode, woken: wire.woken }));
  $("turn").dataset.turn = turn ?? "";
  say($("talk").querySelector("span"), on ? "Hang up" : startWord(mode));
  $("talk").toggleAttribute("data-on", on);
  $("mute").setAttribute("aria-pressed", client.muted);
  $("clock").hidden = !answeredAt;
}

function note(kind, text, code = "") {
  if (!text) return;
  const item = document.createElement("li");
  const line = document.createElement("p");
  item.dataset.kind = kind;
  item.dataset.code = code;
  line.setAttribute("role", kind === "error" ? "alert" : "status");
  line.textContent = text;
  item.append(line);
  $("messages").append(item);
  while ($("messages").children.length > 20) $("messages").firstChild.remove();
  $("messages").scrollTop = $("messages").scrollHeight;
  if (kind === "error") item.scrollIntoView({ block: "nearest" });
}

function forget(code) {
  for (const item of document.querySelectorAll(`#messages [data-code="${code}"]`)) item.remove();
}

client.addEventListener("state", ({ detail: { state } }) => {
  if (state === "connected") {
    answeredAt ??= Date.now();
    listed();
  } else if (state !== "reconnecting") answeredAt = null;
  if (state !== "reconnecting") forget("connection_lost");
  mode = client.config.mode;
  arrange();
  show();
  wire.draw();
});

client.addEventListener("turn", show);
client.addEventListener("transport", show);

client.addEventListener("stopword", () => {
  wire.wake();
  chime(client.audioContext);
  show();
  setTimeout(show, WOKEN_MS + 50);
});

client.addEventListener("error", ({ detail: { code, message } }) => {
  if (code === "autoplay_blocked") blocked = true;
  note("error", message, code);
});

client.addEventListener("message", ({ detail: { type, data, message } }) => {
  if (["log", "stopword", "error", "end_stream", "update_connection"].includes(type)) return;
  const text = type === "warning" ? data || message : data;
  if (typeof text === "string") note(type === "warning" ? "warning" : "message", text);
});

// — the caller's hands —

$("talk").addEventListener("click", () => {
  if ($("talk").hasAttribute("data-on")) return client.disconnect();
  $("messages").replaceChildren();
  client.connect().catch(() => {}); // told by the error event
});

function toggleMute() {
  client.setMuted(!client.muted);
  show();
}

$("mute").addEventListener("click", toggleMute);

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
  if (event.key.toLowerCase() !== "m" || typing || event.repeat) return;
  if (event.ctrlKey || event.metaKey || event.altKey || $("mute").hidden) return;
  toggleMute();
});

$("microphone").addEventListener("change", async ({ target }) => {
  await client.setMicrophone(target.value).catch(() => {});
  listed();
});

for (const gesture of ["click", "keydown"])
  addEventListener(gesture, async () => {
    if (!blocked) return;
    blocked = false;
    forget("autoplay_blocked");
    await client.play();
  });

navigator.mediaDevices?.addEventListener?.("devicechange", listed);

wire.onframe = () => answeredAt && tell($("clock"), answeredAt);

showTurnTaking(client, $("turn-taking"));
showTranscript(client, $("transcript"));

// — the stream's own settings —

function arrange() {
  wire.mode = mode;
  $("mute").hidden = mode === "receive";
  document.querySelector(".choice").hidden = mode === "receive";
  $("turn-taking").hidden = mode === "receive";
  document.querySelector('[data-side="caller"]').hidden = mode === "receive";
  document.querySelector('[data-side="reply"]').hidden = mode === "send";
}

try {
  const { title, subtitle, mode: told } = await client.configure();
  mode = told;
  if (title) $("title").textContent = document.title = title;
  $("subtitle").textContent = subtitle ?? "";
  $("subtitle").hidden = !subtitle;
  arrange();
  if (mode !== "receive") listed();
} catch (error) {
  note("error", error.message, error.code);
}
show();
