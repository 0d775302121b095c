/**
 * The page with two phones: reads the demo's events and hands them to its parts. What happens is decided elsewhere;
 * everything shown comes from the events, so a reload shows the same.
 */

import { Drills, lamp } from './drills.js';
import { People } from './people.js';
import { Sums } from './sums.js';
import { Wire } from './wire.js';

/** @typedef {import('./dom.js').Told} Told */

/** From a lost connection to the next try. */
const RECONNECT_MS = 1000;

/** Reads the demo's events, in batches, each once, over lost connections. */
class Stream {
  /** @param {(events: Told[]) => void} take @param {() => void} back called when a lost connection is there again */
  constructor(take, back) {
    this.take = take;
    this.back = back;
    this.lastNumber = 0;
    this.stage = 0;
    /** @type {Told[]} */
    this.waiting = [];
  }

  connect() {
    const source = new EventSource('/demo/events');
    source.addEventListener('message', ({ data }) => this.hear(JSON.parse(data)));
    source.addEventListener('error', () => {
      source.close();
      lamp('service', 'bad', '演示程序没有回应');
      lamp('wecom', 'wait', '不知道');
      setTimeout(() => this.connect(), RECONNECT_MS);
    });
    source.addEventListener('open', () => {
      if (this.stage !== 0) this.back();
    });
  }

  /** @param {Told} event */
  hear(event) {
    if (event.type === 'stage') {
      // Another demo than before: nothing of the old one holds.
      if (this.stage !== 0 && this.stage !== event.at_ms) window.location.reload();
      this.stage = event.at_ms;
    }
    if (event.n <= this.lastNumber) return;
    this.lastNumber = event.n;
    if (this.waiting.push(event) === 1) setTimeout(() => this.take(this.waiting.splice(0)));
  }
}

const people = new People();
const drills = new Drills();
const wire = new Wire();
const sums = new Sums();

/** @param {Told[]} events */
function tell(events) {
  for (const event of events) {
    if (event.type === 'stage') people.begin(String(event.at_ms), event.customers, event.account.name);
    drills.take(event);
    if (event.type === 'said' || event.type === 'heard') people.take(event);
  }
  wire.take(events, sums);
  sums.draw();
}

new Stream(tell, () => drills.light()).connect();
