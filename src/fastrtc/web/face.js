/** What everything that shows a call has in common: the words for what goes on, the clock, the choice of microphones. */
import { FastRTCClient } from "./client.js";

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

/** Whether a call is under way, be it only on its way. */
export function isOn(state) {
  return ["connecting", "connected", "reconnecting"].includes(state);
}

/** The word on the button that begins a call. */
export function startWord(mode) {
  return mode === "receive" ? "Listen" : "Talk";
}

/**
 * What is going on, in a sentence.
 *
 * `start` is the word on the button; `woken` says that a stop word was heard just now.
 */
export function words({ state, turn }, { mode, woken = false, start = startWord(mode) }) {
  if (WITHOUT_TURN[state]) return WITHOUT_TURN[state];
  if (state === "connected" && mode === "receive") return "You are listening in.";
  if (turn) return TURNS[woken && ["asleep", "hearing"].includes(turn) ? "listening" : turn];
  return `Press ${start} ${mode === "receive" ? "to hear the stream" : "and say hello"}.`;
}

/** Touches a text only when it changes, so that a screen reader does not say it twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows how long a call has lasted that was answered at `since`, in milliseconds. */
export function tell(clock, since) {
  const seconds = Math.floor((Date.now() - since) / 1000);
  say(clock, `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
}

/** Lists the microphones in a `select`, as far as the browser tells their names. */
export async function listMicrophones(select, client) {
  const found = (await FastRTCClient.microphones()).filter(({ label }) => label);
  if (!found.length) return;
  const chosen = client.microphone ?? select.value;
  select.replaceChildren(...found.map(({ deviceId, label }) => new Option(label, deviceId)));
  if (found.some(({ deviceId }) => deviceId === chosen)) select.value = chosen;
}
