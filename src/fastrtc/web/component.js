/** The face of a call on a Gradio page. */
import { Caller } from "./caller.js";
import { chime } from "./chime.js";
import { isOn, listMicrophones, say, startWord, tell, words } from "./face.js";
import { Wire, WOKEN_MS } from "./wire.js";

const MICROPHONE = `<rect x="9" y="3" width="6" height="11" rx="3" /><path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3" />`;
const HANDSET = `<path d="M6.2 3.5h2.6l1.7 4.4-2 1.6a12 12 0 0 0 6 6l1.6-2 4.4 1.7v2.6a2.2 2.2 0 0 1-2.4 2.2A16.2 16.2 0 0 1 4 5.9a2.2 2.2 0 0 1 2.2-2.4z" />`;
const SLASHED = `${MICROPHONE}<path class="fastrtc-slash" d="M4 4l16 16" />`;
const ARROW = `<path d="M12 19V5M6 11l6-6 6 6" />`;

const svg = (paths) => `<svg viewBox="0 0 24 24" aria-hidden="true">${paths}</svg>`;

const LABEL = `<p class="fastrtc-label"></p>`;
const TURN = `<p class="fastrtc-turn" aria-live="polite"></p>`;
const CLOCK = `<time class="fastrtc-clock" role="timer" aria-label="Length of the call">0:00</time>`;
const CHOICE = `<select class="fastrtc-microphone" aria-label="Microphone"><option value="">Default microphone</option></select>`;

const mute = `<button class="fastrtc-mute" type="button" aria-pressed="false" aria-label="Mute" title="Mute">${svg(SLASHED)}</button>`;
const talk = (...icons) =>
  `<button class="fastrtc-talk" type="button">${icons.map(svg).join("")}<span class="fastrtc-word"></span></button>`;
const level = (side, name) =>
  `<div class="fastrtc-level" data-side="${side}" role="meter" aria-label="${name}" aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"></div>`;
const LEVELS = `<div class="fastrtc-levels">
  <span class="fastrtc-side" data-side="caller"><span>You</span>${level("caller", "Your voice")}</span>
  <span class="fastrtc-side" data-side="reply"><span>Reply</span>${level("reply", "Reply")}</span>
</div>`;
const CANVAS = `<canvas class="fastrtc-wire" aria-hidden="true"></canvas>`;

const WAVE = `${LABEL}
<div class="fastrtc-stage">${CANVAS}</div>
${TURN}
${LEVELS}
<div class="fastrtc-controls">${mute}${talk(HANDSET)}${CLOCK}</div>
${CHOICE}`;

/** The button is the picture, and its word stands where the button would. */
const ICON = `${LABEL}
<div class="fastrtc-stage">${CANVAS}<button class="fastrtc-talk" type="button"><img class="fastrtc-icon" alt="" /></button></div>
${TURN}
${LEVELS}
<div class="fastrtc-controls">${mute}<span class="fastrtc-word" aria-hidden="true"></span>${CLOCK}</div>
${CHOICE}`;

const TEXTBOX = `${LABEL}
<div class="fastrtc-live">${TURN}${CANVAS}${CLOCK}${LEVELS}</div>
<textarea class="fastrtc-text" rows="1" placeholder="Type, or talk" aria-label="Your message"></textarea>
<div class="fastrtc-controls">${CHOICE}${mute}${talk(MICROPHONE, HANDSET)}
<button class="fastrtc-send" type="button" aria-label="Send" title="Send">${svg(ARROW)}</button></div>`;

/** What stands for the turn on a line on which nothing is said. */
const TYPED = {
  connecting: "Sending…",
  reconnecting: "The line dropped. Calling back…",
  thinking: "Let me think.",
  speaking: "Here is my reply.",
};

/** Shows a call in `element`. */
export function mount(element, gradio) {
  const root = element.querySelector(".fastrtc");
  if (root?.isConnected) new Face(root, gradio);
}

class Face {
  #root;
  #settings;
  #caller;
  #wire;
  #answeredAt = null;
  #closing = new AbortController();

  constructor(root, gradio) {
    const settings = gradio.props.settings;
    this.#root = root;
    this.#settings = settings;
    this.#dress();
    const name = () => this.#name(gradio.props.label);
    gradio.watch("label", name);
    name();
    const caller = (this.#caller = new Caller(gradio));
    const [callerLevel, replyLevel] = root.querySelectorAll(".fastrtc-level");
    const meters = { caller: callerLevel, reply: replyLevel };
    const core = settings.variant === "textbox" ? "bare" : settings.icon ? this.#find(".fastrtc-talk") : "mouthpiece";
    this.#wire = new Wire(this.#find(".fastrtc-wire"), caller.client, meters, core);
    this.#wire.onframe = () => this.#answeredAt && tell(this.#find(".fastrtc-clock"), this.#answeredAt);
    caller.onchange = () => this.#show();
    caller.onstopword = () => this.#wake();
    this.#attach();
    this.#list();
    this.#show();
    this.#stayWith();
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #dress() {
    const { variant, icon, mode, full_screen } = this.#settings;
    const root = this.#root;
    root.innerHTML = variant === "textbox" ? TEXTBOX : icon ? ICON : WAVE;
    root.dataset.variant = variant;
    root.dataset.mode = mode;
    root.toggleAttribute("data-full-screen", Boolean(full_screen));
    root.toggleAttribute("data-icon", Boolean(icon) && variant !== "textbox");
    root.setAttribute("role", "group");
    if (this.#find(".fastrtc-icon")) this.#find(".fastrtc-icon").src = icon.url;
    const { icon_button_color, pulse_color, icon_radius, height, width } = this.#settings;
    const styles = {
      "--button": icon_button_color,
      "--pulse": pulse_color,
      "--corner": icon_radius == null ? null : `${icon_radius}%`,
      height: length(height),
      width: length(width),
    };
    for (const [name, value] of Object.entries(styles)) if (value != null) root.style.setProperty(name, value);
    const unused = {
      receive: ['.fastrtc-side[data-side="caller"]', ".fastrtc-mute", ".fastrtc-microphone"],
      send: ['.fastrtc-side[data-side="reply"]'],
    };
    for (const selector of unused[mode] ?? []) this.#find(selector).hidden = true;
    if (mode === "receive") say(this.#find('.fastrtc-side[data-side="reply"] span'), "Sound");
  }

  #name(label) {
    this.#root.setAttribute("aria-label", label || "Call");
    say(this.#find(".fastrtc-label"), (this.#settings.show_label && label) || "");
  }

  #attach() {
    const caller = this.#caller;
    this.#find(".fastrtc-talk").addEventListener("click", () => (caller.calling ? caller.hangUp() : caller.call()));
    this.#find(".fastrtc-mute").addEventListener("click", () => {
      caller.voice.setMuted(!caller.voice.muted);
      this.#show();
    });
    this.#find(".fastrtc-microphone").addEventListener("change", async ({ target }) => {
      await caller.voice.setMicrophone(target.value).catch(() => {});
      this.#list();
    });
    const { signal } = this.#closing;
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.#list(), { signal });
    if (this.#find(".fastrtc-text")) this.#attachText();
  }

  #attachText() {
    const text = this.#find(".fastrtc-text");
    const fit = () => {
      text.style.height = "auto";
      text.style.height = `${text.scrollHeight}px`;
      this.#find(".fastrtc-send").disabled = !text.value.trim();
    };
    const send = async () => {
      if (text.readOnly || !text.value.trim()) return;
      text.readOnly = true;
      if (await this.#caller.submit(text.value)) text.value = "";
      text.readOnly = false;
      fit();
    };
    text.addEventListener("input", fit);
    text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    });
    this.#find(".fastrtc-send").addEventListener("click", send);
    fit();
  }

  #list() {
    if (this.#settings.mode !== "receive") listMicrophones(this.#find(".fastrtc-microphone"), this.#caller.voice);
  }

  #show() {
    const { client, calling, typing } = this.#caller;
    const { state, turn } = client;
    const root = this.#root;
    if (state === "connected") {
      if (this.#answeredAt === null) this.#list();
      this.#answeredAt ??= Date.now();
    } else if (state !== "reconnecting") this.#answeredAt = null;
    root.client = client;
    root.dataset.state = state;
    root.dataset.turn = turn ?? "";
    root.toggleAttribute("data-calling", calling);
    say(this.#find(".fastrtc-turn"), this.#words());
    this.#label(calling, state);
    this.#find(".fastrtc-mute").setAttribute("aria-pressed", this.#caller.voice.muted);
    this.#find(".fastrtc-clock").toggleAttribute("data-shown", this.#answeredAt !== null && !typing);
    this.#wire.client = client;
    this.#wire.mode = typing ? "receive" : this.#settings.mode;
    this.#wire.draw();
  }

  get #start() {
    return this.#settings.button_labels?.start || startWord(this.#settings.mode);
  }

  #label(calling, state) {
    const { stop, waiting } = this.#settings.button_labels ?? {};
    const word = !calling ? this.#start : (state !== "connected" && waiting) || stop || "Hang up";
    say(this.#find(".fastrtc-word"), word);
    this.#find(".fastrtc-talk").setAttribute("aria-label", word);
    this.#find(".fastrtc-talk").title = this.#settings.variant === "textbox" ? word : "";
  }

  #words() {
    const { client, typing } = this.#caller;
    const { mode, variant } = this.#settings;
    if (typing) return TYPED[client.state === "connected" ? client.turn : client.state] ?? "Type, or talk.";
    const rests = client.state === "idle" || (client.state === "closed" && client !== this.#caller.voice);
    if (variant === "textbox" && rests) return `Type, or press ${this.#start} and speak.`;
    return words(client, { mode, woken: this.#wire.woken, start: this.#start });
  }

  #wake() {
    this.#wire.wake();
    chime(this.#caller.client.audioContext);
    this.#show();
    setTimeout(() => this.#show(), WOKEN_MS + 50);
  }

  /** Hangs up once Gradio has taken the component off the page; redraws when it changes its theme. */
  #stayWith() {
    const root = this.#root;
    const gone = new MutationObserver(() => root.isConnected || this.#close());
    for (const tree of new Set([document, root.getRootNode()])) gone.observe(tree, { childList: true, subtree: true });
    const theme = new MutationObserver(() => this.#wire.draw());
    theme.observe(document.body, { attributeFilter: ["class"] });
    this.#closing.signal.addEventListener("abort", () => {
      gone.disconnect();
      theme.disconnect();
    });
  }

  #close() {
    this.#closing.abort();
    this.#caller.close();
    this.#wire.close();
  }
}

/** A CSS length of what Gradio takes for one: a number is of pixels. */
function length(value) {
  return typeof value === "number" ? `${value}px` : value;
}
