/** A clock that is moved by hand, and sockets whose other end is the test. */

export class FakeClock {
  time = 0;
  calls = new Map();
  last = 0;
  now = () => this.time;
  after(milliseconds, call) {
    this.calls.set(++this.last, { at: this.time + milliseconds, call });
    return this.last;
  }
  cancel(timer) {
    this.calls.delete(timer);
  }
  advance(milliseconds) {
    const until = this.time + milliseconds;
    for (;;) {
      const due = [...this.calls].filter(([, { at }]) => at <= until).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.calls.delete(due[0]);
      this.time = due[1].at;
      due[1].call();
    }
    this.time = until;
  }
}

export class FakeSocket {
  sent = [];
  closed = false;
  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
  }
  send = (text) => this.sent.push(JSON.parse(text));
  close = () => (this.closed = true);
  says = (frame) => this.onmessage?.({ data: JSON.stringify(frame) });
  drops = (code, reason = "") => this.onclose?.({ code, reason });
}

/** Let what has been promised happen. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));
