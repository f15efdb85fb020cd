/**
 * The sound of a WebSocket line, on the audio thread: what arrives waits here until it is played, and what the
 * microphone gives is cut into frames. Imports nothing, as not every browser lets a worklet do so.
 */

/** Seconds that are gathered before playing begins; nobody waits longer than that for them. */
const START = 0.06;
/** Seconds in which a sound that is cut off dies away. */
const FADE = 0.005;
/** Seconds that are held at most. */
const MOST = 5;
/** Frames in a second of the caller's sound. */
const FRAMES = 50;

const toFloat = (samples) => Float32Array.from(samples, (sample) => sample / 32768);

const toInt16 = (sample) => Math.min(32767, Math.max(-32768, Math.round(sample * 32768)));

/** Changes the sample rate by straight lines between samples; blocks follow each other without a seam. */
export class Resampler {
  #step;
  #at = 0; // where the next sample lies, counted from the start of the next block
  #last = 0; // the sample before that block

  constructor(from, to) {
    this.#step = from / to;
  }

  /** Takes a block and gives what can be made of it. */
  run(samples) {
    if (this.#step === 1 || !samples.length) return samples;
    const made = [];
    for (; this.#at <= samples.length - 1; this.#at += this.#step) {
      const index = Math.floor(this.#at);
      const before = index < 0 ? this.#last : samples[index];
      const part = this.#at - index;
      made.push(part ? before + (samples[index + 1] - before) * part : before);
    }
    this.#at -= samples.length;
    this.#last = samples.at(-1);
    return Float32Array.from(made);
  }
}

/** Cuts the caller's sound into int16 frames of 20 ms. */
export class Framer {
  /** Called with each frame, an `Int16Array`. */
  onframe = () => {};

  #frame;
  #filled = 0;

  constructor(rate) {
    this.#frame = new Int16Array(rate / FRAMES);
  }

  push(samples) {
    for (const sample of samples) {
      this.#frame[this.#filled++] = toInt16(sample);
      if (this.#filled < this.#frame.length) continue;
      const frame = this.#frame;
      this.#frame = new Int16Array(frame.length);
      this.#filled = 0;
      this.onframe(frame);
    }
  }
}

/**
 * The server's sound between its arrival and its playing. It knows how much of it is over, played or dropped, and so
 * when a mark among it is reached. Playing begins with a little in hand, anew each time that nothing is left.
 */
export class Playout {
  /** Called with each mark, in order, once all that came before it is over. */
  onmark = () => {};

  #ring;
  #start;
  #came = 0; // samples, since the line began
  #over = 0;
  #marks = [];
  #playing = false;
  #waited = 0; // samples, since something came to wait for more
  #last = 0; // the sample that was played last
  #end; // what follows a sound that was cut off
  #ended;

  constructor(rate) {
    this.#ring = new Float32Array(MOST * rate);
    this.#start = Math.round(START * rate);
    this.#end = new Float32Array(Math.round(FADE * rate));
    this.#ended = this.#end.length;
  }

  /** Takes sound, of which the oldest is dropped when there is too much. */
  push(samples) {
    for (const sample of samples) this.#ring[this.#came++ % this.#ring.length] = sample;
    this.#over = Math.max(this.#over, this.#came - this.#ring.length);
    this.#tell();
  }

  /** Sets a mark behind all that has come. */
  mark(mark) {
    this.#marks.push({ mark, at: this.#came });
    this.#tell();
  }

  /** Drops what is not played yet. */
  clear() {
    if (this.#playing) this.#cutOff();
    this.#over = this.#came;
    this.#waited = 0;
    this.#tell();
  }

  /** Fills a block with what is to be played now. */
  read(block) {
    this.#begin(block.length);
    for (let index = 0; index < block.length; index++) block[index] = this.#next();
    this.#tell();
  }

  #begin(samples) {
    const held = this.#came - this.#over;
    if (this.#playing || held === 0 || this.#ended < this.#end.length) return;
    this.#playing = held >= this.#start || this.#waited >= this.#start;
    this.#waited = this.#playing ? 0 : this.#waited + samples;
  }

  #next() {
    if (this.#playing && this.#over === this.#came) this.#cutOff();
    if (this.#playing) return this.#take();
    return this.#ended < this.#end.length ? this.#end[this.#ended++] : 0;
  }

  #take() {
    this.#last = this.#ring[this.#over++ % this.#ring.length];
    return this.#last;
  }

  /** Stops playing. What is left dies away, or the last sample does where nothing is: a sudden end is heard as a click. */
  #cutOff() {
    const { length } = this.#end;
    for (let index = 0; index < length; index++) {
      const sample = this.#over < this.#came ? this.#take() : this.#last;
      this.#end[index] = sample * (1 - (index + 1) / (length + 1));
    }
    this.#ended = 0;
    this.#playing = false;
  }

  #tell() {
    while (this.#marks.length && this.#marks[0].at <= this.#over) this.onmark(this.#marks.shift().mark);
  }
}

/** Both ways of one line: its input is the microphone, its output what the server says. */
function makeLine(Processor, contextRate) {
  return class extends Processor {
    #playout = new Playout(contextRate);
    #framer;
    #down;
    #up;
    #sends;
    #open = true;

    /** `rate` of the wire in Hz; `sends` whether the caller is to be heard. */
    constructor({ processorOptions: { rate, sends } }) {
      super();
      this.#framer = new Framer(rate);
      this.#down = new Resampler(rate, contextRate);
      this.#up = new Resampler(contextRate, rate);
      this.#sends = sends;
      this.#playout.onmark = (mark) => this.port.postMessage({ mark });
      this.#framer.onframe = ({ buffer }) => this.port.postMessage({ frame: buffer }, [buffer]);
      this.port.onmessage = ({ data }) => this.#take(data);
    }

    #take({ sound, mark, clear, close }) {
      if (sound) this.#playout.push(this.#down.run(toFloat(sound)));
      if (mark) this.#playout.mark(mark);
      if (clear) this.#playout.clear();
      if (close) this.#open = false;
    }

    process([[heard]], [[played]]) {
      // Without a microphone the caller is silent, but the call goes on.
      if (this.#sends) this.#framer.push(this.#up.run(heard ?? new Float32Array(played.length)));
      this.#playout.read(played);
      return this.#open;
    }
  };
}

// Tests import this file too, and are no audio thread.
if (globalThis.registerProcessor)
  registerProcessor("fastrtc-line", makeLine(globalThis.AudioWorkletProcessor, globalThis.sampleRate));
