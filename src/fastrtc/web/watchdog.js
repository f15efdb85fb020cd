/** Tells that nothing comes from the server any more, seconds before the browser does. */

/** How often is looked, in milliseconds. */
const LOOK_MS = 200;
/** After how long a server is missed, in milliseconds, and in how many of the times that it promised to be heard. */
const SILENT_MS = 1_500;
const MISSED = 4;
/** Looks in a row without news: a page whose timers rested sees first what has come meanwhile. */
const LOOKS = 3;

/** How often the server promises to send something, be it sound or not, in milliseconds. */
const PROMISE = /^a=x-alive:(\d{1,5})\r?$/m;

/** Not every browser has every count; any will do, the answers to ICE's own checks too. */
const REPORTS = ["transport", "candidate-pair", "inbound-rtp"];
const COUNTS = ["bytesReceived", "packetsReceived", "requestsReceived", "responsesReceived"];

/**
 * Watches what arrives at a peer connection. A server that makes no promise is not watched, and none is missed before
 * it was heard. Time is that of the browser's reports, as timers of a page in the background go slowly.
 */
export class Watchdog {
  #pc;
  #onchange;
  #timer = null;
  #watching = false;
  #limit = SILENT_MS;
  #seen = new Map(); // counts by report
  #heardAt = null;
  #quiet = 0;
  #silent = false;

  /** Calls `onchange` whenever `silent` has another value. */
  constructor(pc, onchange) {
    this.#pc = pc;
    this.#onchange = onchange;
  }

  /** Whether nothing comes, though it should. */
  get silent() {
    return this.#silent;
  }

  /** Watches a server that promises in its answer to be heard. */
  watch(sdp) {
    const promise = PROMISE.exec(sdp);
    if (!promise || this.#watching) return;
    this.#watching = true;
    this.#limit = Math.max(SILENT_MS, MISSED * Number(promise[1]));
    this.#wait();
  }

  close() {
    this.#watching = false;
    clearTimeout(this.#timer);
  }

  #wait() {
    this.#timer = setTimeout(async () => {
      // A connection that has been closed has none.
      const stats = await this.#pc.getStats().catch(() => null);
      if (!this.#watching) return;
      if (stats) this.#look([...stats.values()].filter(({ type }) => REPORTS.includes(type)));
      this.#wait();
    }, LOOK_MS);
  }

  #look(reports) {
    const now = Math.max(...reports.map(({ timestamp }) => timestamp));
    if (this.#hasNews(reports)) {
      this.#heardAt = now;
      this.#quiet = 0;
    } else this.#quiet++;
    const late = this.#heardAt !== null && now - this.#heardAt >= this.#limit;
    const silent = late && this.#quiet >= LOOKS;
    if (silent === this.#silent) return;
    this.#silent = silent;
    this.#onchange();
  }

  #hasNews(reports) {
    let news = false;
    for (const report of reports) {
      const count = COUNTS.reduce((sum, name) => sum + (report[name] ?? 0), 0);
      // A way that is given up takes its counts with it: less is no news.
      if (count > (this.#seen.get(report.id) ?? 0)) news = true;
      this.#seen.set(report.id, count);
    }
    return news;
  }
}
