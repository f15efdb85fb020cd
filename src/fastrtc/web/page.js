/** The page that comes with a stream. */
import { chime } from "./chime.js";
import { FastRTCClient } from "./client.js";
import { showTurnTaking } from "./strip.js";
import { showTranscript } from "./transcript.js";

const TRANSPORTS = { webrtc: "WebRTC", websocket: "WebSocket" };

const wished = new URLSearchParams(location.search).get("transport");
const transport = Object.hasOwn(TRANSPORTS, wished) ? wished : "auto";
const client = (window.fastrtc = new FastRTCClient({ watch: true, transport }));
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
  asleep: "Say the stop word.",
  hearing: "Go on, I hear you.",
  thinking: "Let me think.",
  speaking: "Here is my reply.",
  interrupted: "Sorry, go ahead.",
};

const WITHOUT_TURN = {
  connecting: "Calling…",
  reconnecting: "The line dropped. Calling back…",
  closed: "Goodbye.",
  failed: "The call did not go through.",
};

const WOKEN_MS = 1_400; // for which a stop word that was heard is shown

let mode = "send-receive";
let answeredAt = null;
let blocked = false;
let wokenAt = -Infinity;

const justWoken = () => performance.now() - wokenAt < WOKEN_MS;

// — what is going on, in words —

function words() {
  const { state, turn } = client;
  if (WITHOUT_TURN[state]) return WITHOUT_TURN[state];
  if (state === "connected" && mode === "receive") return "You are listening in.";
  if (turn) return TURNS[justWoken() && ["asleep", "hearing"].includes(turn) ? "listening" : turn];
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
  say($("transport"), TRANSPORTS[client.transport] ?? "");
  $("transport").hidden = !client.transport;
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
  $("messages").scrollTop = $("messages").scrollHeight;
  if (kind === "error") item.scrollIntoView({ block: "nearest" });
}

function forget(code) {
  for (const item of document.querySelectorAll(`#messages [data-code="${code}"]`)) item.remove();
}

client.addEventListener("state", ({ detail: { state } }) => {
  if (state === "connected") {
    answeredAt ??= Date.now();
    listMicrophones();
  } else if (state !== "reconnecting") answeredAt = null;
  if (state !== "reconnecting") forget("connection_lost");
  mode = client.config.mode;
  arrange();
  show();
  draw();
});

client.addEventListener("turn", show);
client.addEventListener("transport", show);

client.addEventListener("stopword", () => {
  wokenAt = performance.now();
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
const RINGS = 4;
const STRANDS = [
  { bend: 1, pitch: 0.052, pace: 0.0062, alpha: 1 },
  { bend: -0.7, pitch: 0.039, pace: 0.0047, alpha: 0.5 },
  { bend: 0.45, pitch: 0.081, pace: 0.0081, alpha: 0.35 },
];
let drawing = false;
let joined = 0; // 0 with the wire cut at the mouthpiece, 1 with it whole

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
  side.past.unshift(side.past[0] + (side.level - side.past[0]) * 0.3); // a wire has some weight
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
  const radius = Math.min(height * 0.36, width * 0.2, 84) * (calm.matches ? 1 : 1 + loud * 0.07);
  const gap = (1 - joined) * 26;
  const reach = width / 2 - radius - gap;
  const sends = joined > 0.5 && mode !== "receive" && !client.muted;
  const receives = joined > 0.5 && mode !== "send";

  strand(-1, reach, radius + gap, height, now, sends ? caller : hair, sides.caller.past);
  strand(1, reach, radius + gap, height, now, receives ? reply : hair, sides.reply.past);
  mouthpiece(radius, now, { caller, reply, ink, hair, glow });
}

/** One half of the wire: the caller's sound runs into the mouthpiece, the reply runs out of it. */
function strand(side, reach, start, height, now, color, past) {
  pen.strokeStyle = color;
  for (const { bend, pitch, pace, alpha } of calm.matches ? STRANDS.slice(0, 1) : STRANDS) {
    pen.globalAlpha = alpha;
    pen.lineWidth = alpha === 1 ? 2 : 1.25;
    pen.beginPath();
    for (let u = 0; u <= reach; u += 2) {
      const along = u / reach;
      const level = calm.matches ? 0 : heard(past, (side < 0 ? 1 - along : along) * (PAST - 1));
      const held = Math.min(1, u / 40) ** 2; // by the mouthpiece
      const y = level ** 1.3 * held * height * 0.38 * bend * Math.sin(u * pitch - side * now * pace);
      pen[u ? "lineTo" : "moveTo"](side * (start + u), y);
    }
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

/** The level of `age` frames ago. */
function heard(past, age) {
  const frame = Math.min(PAST - 2, Math.floor(age));
  return past[frame] + (past[frame + 1] - past[frame]) * (age - frame);
}

/** The mouthpiece: rings of holes, through which the caller's sound goes in and the reply comes out. */
function mouthpiece(radius, now, { caller, reply, ink, hair, glow }) {
  const dot = (x, y, r, color, alpha = 1) => {
    pen.globalAlpha = alpha;
    pen.fillStyle = color;
    pen.beginPath();
    pen.arc(x, y, r, 0, 2 * Math.PI);
    pen.fill();
  };
  const { turn, state } = client;
  const up = turn && turn !== "asleep";
  const busy = turn === "thinking" || ["connecting", "reconnecting"].includes(state);
  const rim = { hearing: caller, interrupted: caller, speaking: reply }[turn] ?? (up ? ink : hair);
  dot(0, 0, radius, glow);
  pen.strokeStyle = rim;
  pen.lineWidth = 2;
  pen.stroke();
  if (justWoken()) wake(radius, now, caller);
  for (let ring = 0; ring <= RINGS; ring++) {
    const far = (radius * 0.76 * ring) / RINGS;
    const into = heard(sides.caller.past, calm.matches ? 0 : (RINGS - ring) * 4);
    const out = heard(sides.reply.past, calm.matches ? 0 : ring * 4);
    const holes = ring * 6 || 1;
    for (let hole = 0; hole < holes; hole++) {
      const angle = (hole / holes) * 2 * Math.PI - Math.PI / 2;
      const [x, y] = [far * Math.cos(angle), far * Math.sin(angle)];
      // A light goes round while someone has to wait.
      const lit = busy ? (calm.matches ? 0.5 : (0.5 + 0.5 * Math.cos(angle - now * 0.0032)) ** 3) : 0;
      const room = radius / RINGS / 2.6;
      dot(x, y, room * 0.34, up ? ink : hair, busy ? 0.18 + 0.82 * lit : up ? 0.3 : 1);
      if (into > 0.02) dot(x, y, room * (calm.matches ? 0.7 : 0.34 + 0.6 * into), caller, Math.min(1, into * 1.6));
      if (out > 0.02) dot(x, y, room * (calm.matches ? 0.7 : 0.34 + 0.6 * out), reply, Math.min(1, out * 1.6));
    }
  }
  pen.globalAlpha = 1;
}

/** A ring goes out from the mouthpiece: a stop word was heard. */
function wake(radius, now, color) {
  const along = calm.matches ? 0.2 : Math.max(0, now - wokenAt) / WOKEN_MS;
  pen.globalAlpha = 1 - along;
  pen.strokeStyle = color;
  pen.lineWidth = 3;
  pen.beginPath();
  pen.arc(0, 0, radius * (1.06 + 0.34 * along), 0, 2 * Math.PI);
  pen.stroke();
}

new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

showTurnTaking(client, $("turn-taking"));
showTranscript(client, $("transcript"));

// — the stream's own settings —

function arrange() {
  $("mute").hidden = mode === "receive";
  document.querySelector(".choice").hidden = mode === "receive";
  $("turn-taking").hidden = mode === "receive";
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
