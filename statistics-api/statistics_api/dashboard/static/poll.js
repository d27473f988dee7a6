// Repeats work: at an interval, not while the page is hidden, and more slowly while it fails.

const PAUSE_SECONDS_MAX = 60;

/**
 * Runs `work(signal)` now and again `seconds` after each end; `onState({failure, since})` is told how it goes: the
 * error or null, and when the last success was.
 */
export class Poll {
  constructor(work, seconds, onState = () => {}) {
    Object.assign(this, { work, seconds, onState });
    this.failures = 0;
    this.since = null;
    this.timer = null;
    this.running = null;
    document.addEventListener("visibilitychange", () => this.#onVisibility());
  }

  /** Run at once, in place of a run that is under way: what it asks for has changed. */
  start() {
    this.running?.abort();
    clearTimeout(this.timer);
    if (!document.hidden) {
      this.#run();
    }
  }

  stop() {
    this.running?.abort();
    this.running = null;
    clearTimeout(this.timer);
  }

  async #run() {
    const controller = new AbortController();
    this.running = controller;
    let pause = this.seconds;
    try {
      await this.work(controller.signal);
      if (this.running !== controller) {
        return;
      }
      this.failures = 0;
      this.since = Date.now();
      this.onState({ failure: null, since: this.since });
    } catch (error) {
      if (this.running !== controller || error.name === "AbortError") {
        return;
      }
      this.failures += 1;
      pause = Math.min(PAUSE_SECONDS_MAX, Math.max(error.retryAfterSeconds ?? 0, this.seconds * 2 ** this.failures));
      this.onState({ failure: error, since: this.since });
    }
    this.timer = setTimeout(() => this.#run(), pause * 1_000);
  }

  #onVisibility() {
    if (document.hidden) {
      this.stop();
    } else {
      this.start();
    }
  }
}
