/**
 * The wire between the two sides of a call, drawn as it sounds: the caller runs into the middle from the left, the
 * reply runs out of it to the right.
 *
 * The colours are the custom properties `--caller`, `--reply`, `--ink`, `--hair`, `--glow` and `--pulse` of the canvas.
 */
import { isOn } from "./face.js";

const PAST = 96; // frames that a sound takes from one end of its half to the other
const RINGS = 4;
const PULSES = 3;
const STRANDS = [
  { bend: 1, pitch: 0.052, pace: 0.0062, alpha: 1 },
  { bend: -0.7, pitch: 0.039, pace: 0.0047, alpha: 0.5 },
  { bend: 0.45, pitch: 0.081, pace: 0.0081, alpha: 0.35 },
];
const COLORS = ["caller", "reply", "ink", "hair", "glow", "pulse"];
/** For which a stop word that was heard is shown, in milliseconds. */
export const WOKEN_MS = 1_400;

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

export class Wire {
  /** Which ways the sound goes. */
  mode = "send-receive";
  /** Called after each frame. */
  onframe = () => {};

  #canvas;
  #pen;
  #core;
  #sides;
  #drawing = false;
  #joined = 0; // 0 with the wire cut in the middle, 1 with it whole
  #wokenAt = -Infinity;
  #closing = new AbortController();

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {FastRTCClient} client whose call is drawn; may be replaced
   * @param {{caller: Element, reply: Element}} meters show the loudness of the sides
   * @param {"mouthpiece" | "bare" | HTMLElement} [core] what is in the middle; an element is ringed
   */
  constructor(canvas, client, { caller, reply }, core = "mouthpiece") {
    const side = (meter, read) => ({ meter, read, level: 0, past: new Array(PAST).fill(0) });
    this.client = client;
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    this.#core = core;
    this.#sides = {
      caller: side(caller, () => this.client.inputLevel),
      reply: side(reply, () => this.client.outputLevel),
    };
    const { signal } = this.#closing;
    const sizes = new ResizeObserver(() => this.draw());
    sizes.observe(canvas);
    signal.addEventListener("abort", () => sizes.disconnect());
    dark.addEventListener("change", () => this.draw(), { signal });
  }

  /** Whether a stop word was heard just now. */
  get woken() {
    return performance.now() - this.#wokenAt < WOKEN_MS;
  }

  /** Shows that a stop word was heard. */
  wake() {
    this.#wokenAt = performance.now();
    this.draw();
  }

  /** Draws, and goes on for as long as anything moves. */
  draw() {
    if (this.#drawing || this.#closing.signal.aborted) return;
    this.#drawing = true;
    requestAnimationFrame((now) => this.#frame(now));
  }

  close() {
    this.#closing.abort();
  }

  #frame(now) {
    const sides = Object.values(this.#sides);
    for (const side of sides) measure(side);
    const aim = this.client.state === "connected" ? 1 : 0;
    this.#joined = calm.matches ? aim : this.#joined + (aim - this.#joined) * 0.09;
    this.#paint(now);
    this.onframe();
    const still = Math.abs(aim - this.#joined) < 0.01 && sides.every(({ past }) => past.every((x) => x < 0.01));
    this.#drawing = false;
    if (isOn(this.client.state) || !still) this.draw();
  }

  #paint(now) {
    const pen = this.#pen;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    pen.setTransform(scale, 0, 0, scale, width * scale * 0.5, height * scale * 0.5);
    pen.lineCap = "round";

    const style = getComputedStyle(this.#canvas);
    const colors = Object.fromEntries(COLORS.map((name) => [name, style.getPropertyValue(`--${name}`)]));
    const { caller, reply } = this.#sides;
    const radius = this.#radius(width, height, Math.max(caller.level, reply.level));
    const gap = (1 - this.#joined) * Math.min(26, height * 0.16);
    const shape = { reach: width / 2 - radius - gap, start: radius + gap, height, now };
    const sends = this.#joined > 0.5 && this.mode !== "receive" && !this.client.muted;
    const receives = this.#joined > 0.5 && this.mode !== "send";

    this.#strand(-1, shape, sends ? colors.caller : colors.hair, caller.past);
    this.#strand(1, shape, receives ? colors.reply : colors.hair, reply.past);
    if (this.#core === "mouthpiece") this.#mouthpiece(radius, now, colors);
    else if (this.#core !== "bare") this.#pulses(radius, now, colors);
  }

  #radius(width, height, loud) {
    if (this.#core === "bare") return 0;
    if (this.#core !== "mouthpiece") return this.#core.offsetWidth / 2;
    return Math.min(height * 0.36, width * 0.2, 84) * (calm.matches ? 1 : 1 + loud * 0.07);
  }

  /** One half of the wire: the caller's sound runs into the middle, the reply runs out of it. */
  #strand(side, { reach, start, height, now }, color, past) {
    const pen = this.#pen;
    pen.strokeStyle = color;
    for (const { bend, pitch, pace, alpha } of calm.matches ? STRANDS.slice(0, 1) : STRANDS) {
      pen.globalAlpha = alpha;
      pen.lineWidth = alpha === 1 ? 2 : 1.25;
      pen.beginPath();
      for (let u = 0; u <= reach; u += 2) {
        const along = u / reach;
        const level = calm.matches ? 0 : heard(past, (side < 0 ? 1 - along : along) * (PAST - 1));
        const held = Math.min(1, u / 40) ** 2; // by the middle
        const y = level ** 1.3 * held * height * 0.38 * bend * Math.sin(u * pitch - side * now * pace);
        pen[u ? "lineTo" : "moveTo"](side * (start + u), y);
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  get #busy() {
    const { turn, state } = this.client;
    return turn === "thinking" || ["connecting", "reconnecting"].includes(state);
  }

  /** The mouthpiece: rings of holes, through which the caller's sound goes in and the reply comes out. */
  #mouthpiece(radius, now, { caller, reply, ink, hair, glow }) {
    const pen = this.#pen;
    const dot = (x, y, r, color, alpha = 1) => {
      pen.globalAlpha = alpha;
      pen.fillStyle = color;
      pen.beginPath();
      pen.arc(x, y, r, 0, 2 * Math.PI);
      pen.fill();
    };
    const { turn } = this.client;
    const up = turn && turn !== "asleep";
    const busy = this.#busy;
    const rim = { hearing: caller, interrupted: caller, speaking: reply }[turn] ?? (up ? ink : hair);
    dot(0, 0, radius, glow);
    pen.strokeStyle = rim;
    pen.lineWidth = 2;
    pen.stroke();
    if (this.woken) this.#ring(radius, now, caller);
    for (let ring = 0; ring <= RINGS; ring++) {
      const far = (radius * 0.76 * ring) / RINGS;
      const into = heard(this.#sides.caller.past, calm.matches ? 0 : (RINGS - ring) * 4);
      const out = heard(this.#sides.reply.past, calm.matches ? 0 : ring * 4);
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

  /** Rings about an element, of its own shape: the caller's sound draws in, the reply goes out. */
  #pulses(radius, now, { pulse, hair }) {
    const pen = this.#pen;
    const corner = getComputedStyle(this.#core).borderTopLeftRadius; // in percent, or in pixels
    const share = Math.min(0.5, parseFloat(corner) / (corner.endsWith("%") ? 100 : 2 * radius || 1));
    const outline = (r) => {
      pen.beginPath();
      pen.roundRect(-r, -r, 2 * r, 2 * r, 2 * r * share);
    };
    const room = Math.min(radius * 0.66, this.#canvas.clientHeight / 2 - radius);
    pen.fillStyle = pulse;
    for (let ring = PULSES; ring > 0; ring--) {
      const into = heard(this.#sides.caller.past, calm.matches ? 0 : (PULSES - ring) * 5);
      const out = heard(this.#sides.reply.past, calm.matches ? 0 : ring * 5);
      const level = Math.max(into, out);
      if (level < 0.02) continue;
      pen.globalAlpha = Math.min(1, level * 2) * (0.34 - 0.07 * ring);
      outline(radius + room * (ring / PULSES) * (0.23 + 0.77 * level));
      pen.fill();
    }
    pen.globalAlpha = this.#busy ? (calm.matches ? 0.6 : 0.45 + 0.35 * Math.sin(now * 0.004)) : 1;
    pen.strokeStyle = this.client.state === "connected" || this.#busy ? pulse : hair;
    pen.lineWidth = 2;
    outline(radius + 5);
    pen.stroke();
    pen.globalAlpha = 1;
    if (this.woken) this.#ring(radius, now, pulse);
  }

  /** A ring goes out from the middle: a stop word was heard. */
  #ring(radius, now, color) {
    const pen = this.#pen;
    const along = calm.matches ? 0.2 : Math.max(0, now - this.#wokenAt) / WOKEN_MS;
    pen.globalAlpha = 1 - along;
    pen.strokeStyle = color;
    pen.lineWidth = 3;
    pen.beginPath();
    pen.arc(0, 0, radius * (1.06 + 0.34 * along), 0, 2 * Math.PI);
    pen.stroke();
    pen.globalAlpha = 1;
  }
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

/** The level of `age` frames ago. */
function heard(past, age) {
  const frame = Math.min(PAST - 2, Math.floor(age));
  return past[frame] + (past[frame + 1] - past[frame]) * (age - frame);
}
