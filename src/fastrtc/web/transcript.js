/**
 * The conversation in words, as far as the outputs of a call tell it.
 * `Conversation` knows neither the page nor the client.
 */

/** Lines that are kept. */
export const LINES = 200;
/** Pixels from its end within which a list still counts as read to the end. */
const NEAR = 32;

const NAMES = { user: "You", assistant: "Reply" };

const isTold = (value) => typeof value?.role === "string";

/** A line of the conversation; undefined for what is none. */
function read(value) {
  if (typeof value === "string") return { role: "", text: value.trim(), partial: false };
  if (!isTold(value) || !Object.hasOwn(NAMES, value.role) || typeof value.content !== "string") return;
  return { role: value.role, text: value.content.trim(), partial: value.partial === true };
}

/**
 * What was said: lines of `{role, text, partial}`, with the role `user`, `assistant` or none. A line that stays is
 * the same object for as long as it does.
 */
export class Conversation {
  lines = [];

  /** Takes the values of one output. Whatever makes no sense is passed over. */
  add(values) {
    if (!Array.isArray(values)) return;
    for (const value of values)
      if (Array.isArray(value)) this.#replace(value);
      else this.#tell(read(value));
    this.lines = this.lines.slice(-LINES);
  }

  #tell(line) {
    if (!line) return;
    const { role, text } = line;
    const index = this.lines.findLastIndex((it) => it.partial && it.role === role);
    if (index < 0) {
      if (text) this.lines.push(line);
    } else if (text) Object.assign(this.lines[index], line);
    else this.lines.splice(index, 1); // it was nothing after all
  }

  /** Puts a whole conversation in the place of what was told; a list of anything else is none. */
  #replace(values) {
    if (!values.every(isTold)) return;
    const before = [...this.lines];
    this.lines = values
      .slice(-LINES)
      .map(read)
      .filter((line) => line?.text)
      .map((line) => {
        const index = before.findIndex(({ role, text }) => role === line.role && text === line.text);
        return index < 0 ? line : Object.assign(before.splice(0, index + 1).at(-1), line);
      });
  }
}

/** Shows the conversation of a client's call in a `section` of the page, once there is one. */
export function showTranscript(client, section) {
  const log = section.querySelector("[role=log]");
  const items = new Map(); // elements by their lines
  let conversation = new Conversation();
  let source = null;
  let asked = null; // the id of the line that `source` reads: a fresh one has another

  function draw() {
    section.hidden = conversation.lines.length === 0;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    const here = new Set(conversation.lines);
    for (const [line, item] of items) if (!here.has(line)) (item.remove(), items.delete(line));
    // What stays is not moved, lest a screen reader say it again.
    let next = log.firstChild;
    for (const line of conversation.lines) {
      if (!items.has(line)) items.set(line, makeItem(line));
      const item = items.get(line);
      write(item, line);
      if (item === next) next = next.nextSibling;
      else log.insertBefore(item, next);
    }
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  /** Asks for the outputs of the call: only once there are some, as the first to ask takes what has gathered. */
  function open() {
    if (asked === client.id && source.readyState !== EventSource.CLOSED) return;
    close();
    asked = client.id;
    source = new EventSource(`outputs?webrtc_id=${encodeURIComponent(asked)}`);
    source.onmessage = ({ data }) => {
      conversation.add(parse(data));
      draw();
    };
  }

  function close() {
    source?.close();
    source = asked = null;
  }

  client.addEventListener("message", ({ detail: { type } }) => type === "fetch_output" && open());
  client.addEventListener("state", ({ detail: { state } }) => {
    // Over a line that comes back it reads on.
    if (state === "connected" || state === "reconnecting") return;
    close();
    if (state !== "connecting") return;
    conversation = new Conversation();
    draw();
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function makeItem({ role }) {
  const item = document.createElement("p");
  const words = document.createElement("span");
  item.dataset.role = role;
  if (role) {
    const name = document.createElement("b");
    name.textContent = NAMES[role];
    item.append(name, " ");
  }
  item.append(words);
  return item;
}

function write(item, { text, partial }) {
  const words = item.lastChild;
  if (words.textContent !== text) words.textContent = text;
  // A screen reader says a line once, and not with each word that comes.
  item.setAttribute("aria-hidden", partial);
}
