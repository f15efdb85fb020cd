/** The page that comes with a stream. */
import { FastRTCClient } from "./client.js";

const client = (window.fastrtc = new FastRTCClient());
const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const STATUS = {
  idle: "Ready",
  connecting: "Connecting",
  connected: "On the line",
  reconnecting: "Reconnecting",
  closed: "Call ended",
  failed: "Not connected",
};

const TURNS = {
  listening: "I’m listening.",
  hearing: "Go on, I hear you.",
  thinking: "Let me think.",
  speaking: "Here is my reply.",
  interrupted: "Sorry, go ahead.",
};

const WITHOUT_TURN = {
  connecting: "Calling…",
  reconnecting: "The line dropped. Calling back…",
  closed: "Goodbye.",
  failed: "No connection.",
};

let mode = "send-receive";
let answeredAt = null;
let blocked = false;

// — what is going on, in words —

function words() {
  const { state, turn } = client;
  if (WITHOUT_TURN[state]) return WITHOUT_TURN[state];
  if (state === "connected" && mode === "receive") return "You are listening in.";
  if (turn) return TURNS[turn];
  return mode === "receive" ? "Press Listen to hear the stream." : "Press Talk and say hello.";
}

/** Touches a text only when it changes, so that a screen reader does not say it twice. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show() {
  const { state, turn } = client;
  const on = ["connecting", "connected", "reconnecting"].includes(state);
  say($("status"), STATUS[state]);
  $("status").dataset.state = state;
  say($("turn"), words());
  $("turn").dataset.turn = turn ?? "";
  say($("talk").querySelector("span"), on ? "Hang up" : mode === "receive" ? "Listen" : "Talk");
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
  item.scrollIntoView({ block: "nearest" });
}

function forget(code) {
  for (const item of document.querySelectorAll(`#messages [data-code="${code}"]`)) item.remove();
}

client.addEventListener("state", ({ detail: { state } }) => {
  if (state === "connected") {
    answeredAt ??= Date.now();
    forget("connection_lost");
    listMicrophones();
  } else if (state !== "reconnecting") answeredAt = null;
  mode = client.config.mode;
  arrange();
  show();
  draw();
});

client.addEventListener("turn", show);

client.addEventListener("error", ({ detail: { code, message } }) => {
  if (code === "autoplay_blocked") blocked = true;
  note("error", message, code);
});

client.addEventListener("message", ({ detail: { type, data, message } }) => {
  if (["log", "error", "end_stream", "update_connection"].includes(type)) return;
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
  listMicrophones();
});

for (const gesture of ["click", "keydown"])
  addEventListener(gesture, async () => {
    if (!blocked) return;
    blocked = false;
    forget("autoplay_blocked");
    await client.play();
  });

async function listMicrophones() {
  const found = (await FastRTCClient.microphones()).filter(({ label }) => label);
  if (!found.length) return;
  const select = $("microphone");
  const chosen = client.microphone ?? select.value;
  select.replaceChildren(...found.map(({ deviceId, label }) => new Option(label, deviceId)));
  if (found.some(({ deviceId }) => deviceId === chosen)) select.value = chosen;
}

navigator.mediaDevices?.addEventListener?.("devicechange", listMicrophones);

// — the wire —

const canvas = $("line");
const pen = canvas.getContext("2d");
const PAST = 96; // frames that a sound takes from one end of its half to the other
const sides = {
  caller: { meter: $("input-level"), read: () => client.inputLevel, level: 0, past: new Array(PAST).fill(0) },
  reply: { meter: $("output-level"), read: () => client.outputLevel, level: 0, past: new Array(PAST).fill(0) },
};
const STRANDS = [
  { bend: 1, pitch: 0.052, pace: 0.0062, alpha: 1 },
  { bend: -0.7, pitch: 0.039, pace: 0.0047, alpha: 0.5 },
  { bend: 0.45, pitch: 0.081, pace: 0.0081, alpha: 0.35 },
];
let drawing = false;
let joined = 0; // 0 with the wire cut at the bead, 1 with it whole

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(frame);
}

function frame(now) {
  for (const side of Object.values(sides)) measure(side);
  const aim = client.state === "connected" ? 1 : 0;
  joined = calm.matches ? aim : joined + (aim - joined) * 0.09;
  paint(now);
  if (answeredAt) {
    const seconds = Math.floor((Date.now() - answeredAt) / 1000);
    say($("clock"), `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
  }
  const still = Math.abs(aim - joined) < 0.01 && Object.values(sides).every(({ past }) => past.every((x) => x < 0.01));
  drawing = $("talk").hasAttribute("data-on") || !still;
  if (drawing) requestAnimationFrame(frame);
}

function measure(side) {
  const heard = side.read();
  side.level += (heard - side.level) * (heard > side.level ? 0.55 : 0.14);
  if (side.level < 0.004) side.level = 0;
  side.past.unshift(side.level);
  side.past.length = PAST;
  side.meter.style.setProperty("--level", side.level.toFixed(3));
  const percent = String(Math.round(side.level * 100));
  if (side.meter.getAttribute("aria-valuenow") !== percent) side.meter.setAttribute("aria-valuenow", percent);
}

function paint(now) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  pen.setTransform(scale, 0, 0, scale, width * scale * 0.5, height * scale * 0.5);
  pen.lineCap = "round";

  const style = getComputedStyle(document.documentElement);
  const [caller, reply, ink, hair, glow] = ["caller", "reply", "ink", "hair", "glow"].map((name) =>
    style.getPropertyValue(`--${name}`),
  );
  const loud = Math.max(sides.caller.level, sides.reply.level);
  const radius = Math.min(height * 0.3, 62) * (calm.matches ? 1 : 1 + loud * 0.16);
  const gap = (1 - joined) * 26;
  const reach = width / 2 - radius - gap;
  const muted = client.muted && mode !== "receive";

  strand(-1, reach, radius + gap, height, now, joined > 0.5 && !muted ? caller : hair, sides.caller.past);
  strand(1, reach, radius + gap, height, now, joined > 0.5 ? reply : hair, sides.reply.past);
  bead(radius, now, { caller, reply, ink, hair, glow });
}

/** One half of the wire: the caller's sound runs into the bead, the reply runs out of it. */
function strand(side, reach, start, height, now, color, past) {
  pen.strokeStyle = color;
  for (const { bend, pitch, pace, alpha } of calm.matches ? STRANDS.slice(0, 1) : STRANDS) {
    pen.globalAlpha = alpha;
    pen.lineWidth = alpha === 1 ? 2 : 1.25;
    pen.beginPath();
    for (let u = 0; u <= reach; u += 2) {
      const along = u / reach;
      const age = (side < 0 ? 1 - along : along) * (PAST - 1);
      const level = calm.matches ? 0 : past[Math.round(age)];
      const fixed = Math.min(1, u / 28); // the wire is held at the bead
      const y = level ** 1.4 * fixed * height * 0.34 * bend * Math.sin(u * pitch - side * now * pace);
      pen[u ? "lineTo" : "moveTo"](side * (start + u), y);
    }
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

function bead(radius, now, { caller, reply, ink, hair, glow }) {
  const circle = (r, from = 0, to = 2 * Math.PI) => {
    pen.beginPath();
    pen.arc(0, 0, r, from, to);
  };
  circle(radius);
  pen.fillStyle = glow;
  pen.fill();
  for (const [color, { level }] of [
    [caller, sides.caller],
    [reply, sides.reply],
  ]) {
    pen.globalAlpha = Math.min(1, level * 1.25);
    circle(radius * (calm.matches ? 0.86 : 0.3 + 0.56 * level));
    pen.fillStyle = color;
    pen.fill();
  }
  pen.globalAlpha = 1;
  const tint = { hearing: caller, interrupted: caller, thinking: ink, speaking: reply, listening: ink }[client.turn];
  circle(radius);
  pen.lineWidth = 2;
  pen.strokeStyle = tint ?? hair;
  pen.stroke();

  const busy = client.turn === "thinking" || ["connecting", "reconnecting"].includes(client.state);
  if (!busy) return;
  const angle = calm.matches ? -Math.PI / 2 : now * 0.0026;
  circle(radius + 9, angle, angle + 1.1);
  pen.strokeStyle = client.turn === "thinking" ? reply : ink;
  pen.stroke();
}

new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

// — the stream's own settings —

function arrange() {
  $("mute").hidden = mode === "receive";
  document.querySelector(".choice").hidden = mode === "receive";
  document.querySelector('[data-side="caller"]').hidden = mode === "receive";
  document.querySelector('[data-side="reply"]').hidden = mode === "send";
}

try {
  const { title, mode: told } = await client.configure();
  mode = told;
  if (title) $("title").textContent = document.title = title;
  arrange();
  if (mode !== "receive") listMicrophones();
} catch (error) {
  note("error", error.message, error.code);
}
show();
