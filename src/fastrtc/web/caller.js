/** A caller on a Gradio page: what Gradio is told of the call, and in which order. Draws nothing. */
import { FastRTCClient, FastRTCError } from "./client.js";
import { isOn } from "./face.js";

/** The value by which Python asks for a call. */
const START = "start_webrtc_stream";

/** After which a line on which nothing is said or typed gives its place back, in milliseconds; the next text calls anew. */
const TYPING_MS = 60_000;

/** What is said when the server ends a call and has no more to say; the component shows the end itself. */
const ENDED = [new FastRTCError("stream_ended").message, "The stream has ended", "Stream closed"];

const MARKUP = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** A text as Gradio's toasts want it: they take it for HTML. */
export function escape(text) {
  return String(text).replace(/[&<>"]/g, (character) => MARKUP[character]);
}

/**
 * One caller of one component. Gradio gives `trigger`, `props`, `server` and `watch`.
 *
 * Whoever only types calls without a microphone, on a line of its own.
 */
export class Caller {
  /** Called when there is something new to show. */
  onchange = () => {};
  /** Called when a stop word was heard. */
  onstopword = () => {};

  #gradio;
  #voice;
  #typist;
  #client;
  #told = null; // the id that Python knows
  #fresh = false; // whether a call was begun since: one that comes back after a loss has the same id
  #idle = null; // the timer of a line on which is only typed
  #closed = false;

  constructor(gradio) {
    this.#gradio = gradio;
    this.#voice = this.#client = this.#make();
    this.#typist = this.#make({ mode: "receive" });
    gradio.watch("value", () => {
      const { value } = gradio.props;
      if (value?.webrtc_id === this.#client.id) return;
      this.#tell(""); // or the next update of a call would be that of nobody, and a second start no change
      if (value !== START) return;
      this.hangUp(); // or it would not begin anew
      this.call();
    });
  }

  /** The client of the call that is on, or was last. */
  get client() {
    return this.#client;
  }

  /** The client that has the microphone. */
  get voice() {
    return this.#voice;
  }

  /** Whether a line is there on which nothing is said, only typed. */
  get typing() {
    return this.#client === this.#typist && isOn(this.#client.state);
  }

  /** Whether a call is on, or on its way, that may be hung up. */
  get calling() {
    return this.#client === this.#voice && isOn(this.#client.state);
  }

  /** Begins a call; what goes wrong is shown. */
  async call() {
    this.#use(this.#voice);
    await this.#client.connect().catch(() => {}); // told by the error event
  }

  hangUp() {
    this.#client.disconnect();
  }

  /** Hands a text to Python; false while there is no line for it, which is then shown. */
  async submit(text) {
    if (!isOn(this.#client.state)) this.#use(this.#typist);
    const client = this.#client;
    await client.connect().catch(() => {});
    if (client !== this.#client || client.state !== "connected") return false;
    this.#tell(text);
    this.#trigger("submit");
    this.#stay();
    return true;
  }

  /** Hangs up for good; Gradio is told nothing more. */
  close() {
    this.#closed = true;
    this.hangUp();
  }

  #make(options) {
    const { server } = this.#gradio;
    const client = new FastRTCClient({
      transport: "webrtc",
      signal: (body) => {
        this.#fresh ||= body.type === "offer" && !body.restart;
        return reach(() => server.offer(body));
      },
      settings: () => reach(() => server.settings({})),
      ...options,
    });
    const listeners = {
      state: ({ state }) => this.#follow(state),
      turn: () => this.onchange(),
      message: (message) => this.#receive(message),
      error: (error) => this.#report(error),
      stopword: () => this.onstopword(),
    };
    for (const [type, listen] of Object.entries(listeners))
      client.addEventListener(type, ({ detail }) => listen(detail));
    return client;
  }

  #use(client) {
    if (client === this.#client) return;
    this.#client.disconnect();
    this.#client = client;
  }

  #follow(state) {
    const { id } = this.#client;
    const before = this.#told;
    if (state === "connected" && this.#fresh) {
      this.#fresh = false;
      this.#told = id;
      this.#tell("");
      this.#trigger("fetch"); // what came before there was a way to say so
      if (before === null) this.#trigger("start_recording");
    }
    if (!isOn(state) && before !== null) {
      this.#told = null;
      this.#trigger("fetch"); // what was there before the end
      this.#trigger("stop_recording");
    }
    this.#trigger("state_change", { state, webrtc_id: id });
    this.onchange();
  }

  /** Keeps a line on which is only typed for a while longer. */
  #stay() {
    clearTimeout(this.#idle);
    if (!this.typing) return;
    const busy = ["thinking", "speaking"].includes(this.#client.turn);
    this.#idle = setTimeout(() => (busy ? this.#stay() : this.typing && this.hangUp()), TYPING_MS);
  }

  #receive({ type, data, message }) {
    this.#stay();
    // A message may come before the line is said to be connected.
    if (this.#gradio.props.value?.webrtc_id !== this.#client.id) this.#tell("");
    if (type === "send_input") this.#trigger("tick");
    if (type === "fetch_output") this.#trigger("fetch");
    if (type === "warning") this.#toast("warning", data || message);
  }

  #report({ code, message }) {
    if (code === "stream_ended") {
      if (!ENDED.includes(message)) this.#toast("info", message);
    } else if (code === "autoplay_blocked") {
      this.#toast("info", message);
      globalThis.addEventListener?.("click", () => this.#client.play(), { once: true });
    } else this.#toast("error", message);
  }

  #tell(textbox) {
    if (!this.#closed) this.#gradio.props.value = { webrtc_id: this.#client.id, textbox };
  }

  #toast(kind, text) {
    if (typeof text === "string" && text) this.#trigger(kind, escape(text));
  }

  #trigger(name, data) {
    if (!this.#closed) this.#gradio.trigger(name, data);
  }
}

/** What a function of the server answers: Gradio answers nothing where the server cannot be reached. */
async function reach(ask) {
  let told;
  try {
    told = await ask();
  } catch (cause) {
    if (cause instanceof TypeError) throw new FastRTCError("server_unreachable", { cause }); // as `fetch` has it
    throw cause;
  }
  if (told === undefined) throw new FastRTCError("server_unreachable");
  return told;
}
