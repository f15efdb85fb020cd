/**
 * The last seconds of a call, drawn as they happen: who is heard, who has the floor, and what was decided.
 * All but `showTurnTaking` at the end knows neither the page nor the client.
 */

/** Seconds of one step. */
export const STEP = 0.032;
/** Seconds that are kept. */
export const KEPT = 20;
/** Steps come six times a second; drawn this much later, in seconds, they always come in time. */
const DELAY = 0.25;
/** Turns told in words. */
const TOLD = 4;

/** Where a loudness in dBFS lies between a quiet room and a loud voice, 0 to 1; as the client's levels. */
export function loudness(dBFS) {
  return Math.min(1, Math.max(0, (dBFS + 60) / 48));
}

const number = (value) => (Number.isFinite(value) ? value : null);
const text = (value) => (typeof value === "string" ? value.trim() : "");

/** What the server has sent of the last seconds. Whatever makes no sense is passed over. */
export class History {
  steps = [];
  decisions = [];

  /** When the last step ended, in seconds; null without any. */
  get newest() {
    return this.steps.at(-1)?.at ?? null;
  }

  clear() {
    this.steps = [];
    this.decisions = [];
  }

  /** Takes the data of a message `steps`; says whether there was anything new in it. */
  add(data) {
    const end = number(data?.end);
    if (end === null || !Array.isArray(data.steps)) return false;
    // A fresh line counts its time from nought again.
    if (this.newest !== null && end < this.newest - 1) this.clear();
    const known = this.newest ?? -Infinity;
    const given = data.steps.slice(-Math.ceil(KEPT / STEP));
    for (const [index, step] of given.entries()) {
      const at = end - (given.length - 1 - index) * STEP;
      if (at < known + STEP / 2 || !Array.isArray(step)) continue;
      const [probability, level, playing, state] = step;
      this.steps.push({
        at,
        probability: Math.min(1, Math.max(0, number(probability) ?? 0)),
        level: number(level) ?? -100,
        playing: number(playing) ?? -100,
        state: text(state),
      });
    }
    if (this.newest === null || this.newest === known) return false;
    const from = this.newest - KEPT;
    this.steps.splice(
      0,
      this.steps.findIndex(({ at }) => at > from),
    );
    this.decisions = this.decisions.filter(({ at }) => at > from);
    return true;
  }

  /** Takes the data of a message `decision`. */
  decide(data) {
    const at = number(data?.at);
    const label = tag(data);
    if (at === null || !label) return false;
    this.decisions.push({ at, label, kind: data.kind });
    // A server without steps never lets them age.
    if (this.decisions.length > 200) this.decisions.shift();
    return true;
  }

  /** Stretches of steps without a gap, of those that touch the time between `from` and `to`. */
  stretches(from, to) {
    return grouped(
      this.steps.filter(({ at }) => at > from && at - STEP < to),
      (before, step) => step.at - before.at < 1.5 * STEP,
    );
  }

  /** Who had the floor between `from` and `to`: `{state, start, end}`, in seconds. */
  floors(from, to) {
    return this.stretches(from, to)
      .flatMap((steps) => grouped(steps, (before, step) => step.state === before.state))
      .map((steps) => ({ state: steps[0].state, start: steps[0].at - STEP, end: steps.at(-1).at }));
  }
}

function grouped(items, together) {
  const groups = [];
  for (const item of items)
    if (groups.length && together(groups.at(-1).at(-1), item)) groups.at(-1).push(item);
    else groups.push([item]);
  return groups;
}

/** The time of the call, made even: messages come in steps and not on time. */
export class Clock {
  #lead = null; // seconds that this machine's clock is ahead of the call's

  /** The call had come to `end` when it was `now`, both in seconds. */
  set(end, now) {
    const lead = now - end;
    const near = this.#lead !== null && Math.abs(lead - this.#lead) < 1;
    this.#lead = near ? this.#lead + (lead - this.#lead) * 0.1 : lead;
  }

  /** The time to draw. */
  read(now) {
    return now - this.#lead - DELAY;
  }
}

/** The end of a window of `seconds` that stands still until it is full, for those who want no motion. */
export function standing(now, seconds) {
  const half = seconds / 2;
  return Math.max(2, Math.ceil(now / half)) * half;
}

/**
 * Gives each decision a `row`, so that labels do not lie over each other; -1 where all rows are taken.
 * A label ends at its tick. Rows once given stay, lest labels jump. `span` gives the seconds that a label takes.
 */
export function arrange(decisions, span, rows) {
  const taken = new Array(rows).fill(-Infinity);
  for (const it of decisions) {
    it.row ??= taken.findIndex((until) => it.at - span(it.label) >= until);
    if (it.row >= 0) taken[it.row] = Math.max(taken[it.row], it.at);
  }
}

// — in words —

const percent = (share) => `${Math.round(share * 100)}\u00a0%`;
const seconds = (value, digits = 2) => `${value.toFixed(digits)}\u00a0s`;
const TAGS = {
  "user started": "talks",
  "user may have finished": "done?",
  "user finished": "done",
  "user went on": "goes on",
  "user interrupts": "interrupts",
  "may interrupt": "interrupts?",
  "false alarm": "false alarm",
};

/** A decision in a word or two; empty where there is none. */
export function tag(decision) {
  const kind = text(decision?.kind);
  const label = Object.hasOwn(TAGS, kind) ? TAGS[kind] : kind.slice(0, 24);
  const finished = number(decision?.finished);
  return label && finished !== null ? `${label} ${percent(finished)}` : label;
}

/** The last words of a text. */
export function lastWords(words, length = 28) {
  const said = text(words);
  return said.length <= length ? said : `…${said.slice(-length).replace(/^\S*\s+/, "")}`;
}

/** A turn in words: "Turn 3", "spoke 1.9 s", …; none where it makes no sense. */
export function tell(turn) {
  if (number(turn?.number) === null) return [];
  const times = ["speech_start", "speech_end", "decided", "first_sound"].map((name) => number(turn[name]));
  const [start, end, decided, sound] = times;
  const parts = [`Turn ${turn.number}`];
  if (start === null) parts.push(decided === null ? "greeting" : "nothing said");
  else if (end !== null) parts.push(`spoke ${seconds(end - start, 1)}`);
  if (decided !== null && end !== null) parts.push(`decided after ${seconds(decided - end)}${why(turn.evidence)}`);
  const early = number(turn.speculated) ?? 0;
  if (early > 0) parts.push(`${early} early ${early > 1 ? "replies" : "reply"} discarded`);
  if (sound !== null) parts.push(`first sound ${end === null ? `at ${seconds(sound)}` : seconds(sound - end)}`);
  const held = Array.isArray(turn.false_alarms) ? turn.false_alarms.map((it) => number(it?.[1]) ?? 0) : [];
  if (held.length) parts.push(`held for nothing ${seconds(held.reduce((sum, it) => sum + it))}`);
  if (number(turn.heard?.seconds) > 0) parts.push(`heard ${seconds(turn.heard.seconds, 1)}`);
  if (turn.interrupted === true) parts.push("interrupted");
  if (text(turn.error)) parts.push(`failed: ${text(turn.error)}`);
  return parts;
}

function why(evidence) {
  const finished = number(evidence?.finished);
  if (finished === null) return "";
  const words = lastWords(evidence.opinion?.words);
  return ` (${percent(finished)} finished${words && `: “${words}”`})`;
}

// — drawn —

const FLOORS = {
  listening: ["soft", 0.1],
  starting: ["caller", 0.22],
  speaking: ["caller", 0.55],
  pausing: ["caller", 0.22],
  replying: ["reply", 0.5],
  interrupting: ["warn", 0.4],
  faltering: ["warn", 0.4],
  protected: ["reply", 0.3],
  overlapping: ["end", 0.35],
  waiting: ["soft", 0.3],
};
const COLORS = ["glow", "ink", "soft", "hair", "caller", "reply", "warn", "end"];
const FONT = "11px ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const LINE = 13; // px of a line of labels
const RIBBON = 18;
const AXIS = 16;

/** Draws a history on a canvas, up to the time `end`. */
export class Strip {
  #canvas;
  #pen;
  #history;
  #width = 0;

  constructor(canvas, history) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    this.#history = history;
  }

  /** Seconds from the left end to the right. */
  get seconds() {
    return this.#canvas.clientWidth < 480 ? 8 : 12;
  }

  draw(end) {
    const pen = this.#pen;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = FONT;
    pen.textBaseline = "middle";
    const style = getComputedStyle(this.#canvas);
    const colors = Object.fromEntries(COLORS.map((name) => [name, style.getPropertyValue(`--${name}`)]));

    const rows = width < 480 ? 4 : 3;
    const lane = (height - rows * LINE - RIBBON - AXIS) / 2;
    const ribbon = rows * LINE + lane;
    const begin = end - this.seconds;
    const x = (at) => ((at - begin) / this.seconds) * width;
    const view = { pen, colors, width, x, begin, end };

    if (this.#history.newest !== null) this.#axis(view, height);
    for (const steps of this.#history.stretches(begin, end)) {
      band(view, steps, ({ level }) => ribbon - 1 - loudness(level) * (lane - 4), ribbon - 1, colors.caller);
      const below = ribbon + RIBBON + 1;
      band(view, steps, ({ playing }) => below + loudness(playing) * (lane - 4), below, colors.reply);
      line(view, steps, ({ probability }) => ribbon - 2 - probability * (lane - 5));
    }
    for (const floor of this.#history.floors(begin, end)) ribbonPart(view, floor, ribbon);
    if (width !== this.#width) for (const it of this.#history.decisions) delete it.row;
    this.#width = width;
    arrange(this.#history.decisions, (label) => ((pen.measureText(label).width + 8) / width) * this.seconds, rows);
    const drawn = this.#history.decisions.filter(({ at }) => at > begin && at <= end);
    for (const it of drawn) tick(view, it, ribbon + RIBBON, rows);
    for (const it of drawn) label(view, it);
  }

  #axis({ pen, colors, width, x, begin, end }, height) {
    pen.textAlign = "center";
    for (let second = Math.max(0, Math.ceil(begin)); second <= end; second++) {
      pen.fillStyle = colors.hair;
      pen.fillRect(x(second), height - AXIS, 1, second % 2 ? 3 : 5);
      pen.fillStyle = colors.soft;
      // A time that is cut off by the edge reads as another time.
      if (second % 2 === 0 && x(second) > 16 && x(second) < width - 16)
        pen.fillText(`${Math.floor(second / 60)}:${String(second % 60).padStart(2, "0")}`, x(second), height - 5);
    }
  }
}

function band({ pen, x }, steps, y, base, color) {
  pen.beginPath();
  pen.moveTo(x(steps[0].at - STEP), base);
  for (const step of steps) pen.lineTo(x(step.at - STEP / 2), y(step));
  pen.lineTo(x(steps.at(-1).at), base);
  pen.closePath();
  pen.fillStyle = pen.strokeStyle = color;
  pen.globalAlpha = 0.3;
  pen.fill();
  pen.globalAlpha = 0.9;
  pen.lineWidth = 1;
  pen.stroke();
  pen.globalAlpha = 1;
}

function line({ pen, colors, x }, steps, y) {
  pen.beginPath();
  for (const step of steps) pen.lineTo(x(step.at - STEP / 2), y(step));
  pen.strokeStyle = colors.ink;
  pen.lineWidth = 1.25;
  pen.lineJoin = "round";
  pen.globalAlpha = 0.75;
  pen.stroke();
  pen.globalAlpha = 1;
}

function ribbonPart({ pen, colors, x }, { state, start, end }, top) {
  const [color, alpha] = Object.hasOwn(FLOORS, state) ? FLOORS[state] : ["soft", 0.2];
  const [left, right] = [Math.max(0, x(start)), x(end)];
  pen.fillStyle = colors[color];
  pen.globalAlpha = alpha;
  pen.fillRect(left, top, right - left, RIBBON);
  pen.globalAlpha = 1;
  pen.textAlign = "left";
  pen.fillStyle = state === "listening" ? colors.soft : colors.ink;
  if (pen.measureText(state).width + 10 < right - left) pen.fillText(state, left + 5, top + RIBBON / 2 + 0.5);
}

function tick(view, { at, kind, row }, bottom, rows) {
  const { pen, x } = view;
  const top = (row < 0 ? rows : row) * LINE + 1;
  pen.fillStyle = tint(view, kind);
  pen.globalAlpha = 0.5;
  pen.fillRect(Math.round(x(at)), top, 1, bottom - top);
  pen.globalAlpha = 1;
}

/** The words at a tick, on a ground of their own: the ticks of labels further up go through here. */
function label(view, { at, label, kind, row }) {
  if (row < 0) return;
  const { pen, colors, x } = view;
  const [right, middle] = [Math.round(x(at)) - 3, (row + 0.5) * LINE + 1];
  pen.textAlign = "right";
  pen.strokeStyle = colors.glow;
  pen.lineWidth = 3;
  pen.strokeText(label, right, middle);
  pen.fillStyle = tint(view, kind);
  pen.fillText(label, right, middle);
}

const tint = ({ colors }, kind) =>
  /interrupt/.test(kind) ? colors.end : kind === "false alarm" ? colors.warn : colors.ink;

// — on the page —

const KEY = "fastrtc.turn-taking";

/**
 * Shows the turn-taking of a client that was made with `watch`, in a `details` element with a canvas and a list.
 * Nothing is drawn while it is shut; what comes meanwhile is kept.
 */
export function showTurnTaking(client, details) {
  const canvas = details.querySelector("canvas");
  const list = details.querySelector("ol");
  const hint = details.querySelector(".hint");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const history = new History();
  const strip = new Strip(canvas, history);
  let clock = new Clock();
  let end = 0; // the right end of what is drawn
  let running = false;

  const seen = () => details.open && !details.hidden;
  const live = () => seen() && client.state === "connected" && history.newest !== null && !calm.matches;

  function frame(now) {
    running = live();
    if (running) {
      end = Math.min(history.newest, clock.read(now / 1000));
      requestAnimationFrame(frame);
    } else rest();
    if (seen()) strip.draw(end);
  }

  /** Where a strip ends that does not run. */
  function rest() {
    end = history.newest ?? strip.seconds;
    if (calm.matches) end = standing(end, strip.seconds);
  }

  function draw() {
    hint.hidden = history.newest !== null;
    if (running || !seen()) return;
    running = true;
    requestAnimationFrame(frame);
  }

  function begin() {
    history.clear();
    clock = new Clock();
    list.replaceChildren();
    draw();
  }

  function tellTurn(turn) {
    const [name, ...parts] = tell(turn);
    if (!name) return;
    const item = document.createElement("li");
    const head = document.createElement("b");
    item.dataset.number = head.textContent = name;
    item.append(head, ...parts.map((part) => ` · ${part}`));
    [...list.children].find((it) => it.dataset.number === name)?.remove();
    list.prepend(item);
    while (list.children.length > TOLD) list.lastChild.remove();
  }

  client.addEventListener("state", ({ detail: { state } }) => (state === "connecting" ? begin() : draw()));
  client.addEventListener("steps", ({ detail }) => {
    const before = history.newest;
    if (!history.add(detail)) return;
    if (before > history.newest) list.replaceChildren(); // the turns of a line that is gone
    clock.set(history.newest, performance.now() / 1000);
    draw();
  });
  client.addEventListener("decision", ({ detail }) => history.decide(detail));
  client.addEventListener("turn_record", ({ detail }) => tellTurn(detail));

  details.addEventListener("toggle", () => {
    try {
      localStorage.setItem(KEY, details.open ? "open" : "shut");
    } catch {} // a page without storage forgets
    draw();
  });
  try {
    details.open = localStorage.getItem(KEY) === "open";
  } catch {}
  for (const query of [calm, matchMedia("(prefers-color-scheme: dark)")]) query.addEventListener("change", draw);
  new ResizeObserver(draw).observe(canvas);
}
