/** The sound of having heard a stop word: two soft tones, a fifth apart, in a fifth of a second. */

/** Each tone: its pitch in Hz, and the seconds after which it comes. */
const TONES = [
  [659.26, 0],
  [987.77, 0.07],
];
/** Seconds of one tone: it swells so that it does not click, and dies away. */
const SWELL = 0.012;
const LENGTH = 0.15;
/** Amplitude of one tone, of 1: -26 dBFS. */
const LOUD = 0.05;

/** Rings in an audio graph, straight to the speaker. One that stands still, or none, rings nothing. */
export function chime(context) {
  if (context?.state !== "running") return; // or all that it missed would ring at once later
  for (const [pitch, after] of TONES) {
    const start = context.currentTime + after;
    const tone = context.createOscillator();
    const volume = context.createGain();
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(LOUD, start + SWELL);
    volume.gain.linearRampToValueAtTime(0, start + LENGTH);
    tone.connect(volume).connect(context.destination);
    tone.start(start);
    tone.stop(start + LENGTH);
  }
}
