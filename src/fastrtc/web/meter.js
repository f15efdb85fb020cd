/** The loudness of a stream, read when asked for. */
export class Meter {
  // Quiet room to loud voice, in dBFS: the span over which a level goes from 0 to 1.
  static QUIET = -60;
  static LOUD = -12;

  #source;
  #analyser;
  #samples;

  constructor(context, stream) {
    this.#source = context.createMediaStreamSource(stream);
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#samples = new Float32Array(1024);
    this.#source.connect(this.#analyser);
  }

  get level() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, x) => sum + x * x, 0) / this.#samples.length;
    const level = (10 * Math.log10(power) - Meter.QUIET) / (Meter.LOUD - Meter.QUIET);
    return Math.min(1, Math.max(0, level));
  }

  close() {
    this.#source.disconnect();
  }
}
