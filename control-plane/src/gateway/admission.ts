import { Code, GantryError } from '@gantry/common';
import { type Hello, Machine } from '@gantry/proto';

/** What is known when an agent says hello. */
export interface AdmissionInput {
  hello: Hello;
  /** The node's stored record, if it has one. */
  machine: Machine | undefined;
  /** The node's session on this gateway, if there is one. */
  present: { epoch: number; heardMs: number } | undefined;
  /** Monotonic. */
  nowMs: number;
  /** Microseconds since the epoch. */
  nowUs: number;
  /** A session that was heard within this time is alive. */
  aliveMs: number;
  /** This gateway. */
  gateway: string;
  /** The node's subnet, when it has none yet. */
  newSubnet: () => string;
}

/**
 * The node's record as it is to be while this session holds it.
 * An agent with an older epoch than the node has shown is a copy of its identity, and so is one with the same epoch beside
 * a session that is alive.
 * @throws GantryError failedPrecondition for such a copy.
 */
export function admit(input: AdmissionInput): Machine {
  const { hello, machine, present } = input;
  if (machine && hello.epoch < machine.epoch) {
    throw copy(hello, `epoch ${machine.epoch} or later must be shown, found ${hello.epoch}`);
  }
  if (present && present.epoch === hello.epoch && input.nowMs - present.heardMs < input.aliveMs) {
    throw copy(hello, 'its session is alive on this gateway');
  }
  const said = hello.machine ?? Machine.create();
  return Machine.create({
    ...said,
    name: hello.node,
    agentVersion: hello.agentVersion,
    epoch: hello.epoch,
    subnet: machine !== undefined && machine.subnet !== '' ? machine.subnet : input.newSubnet(),
    gateway: input.gateway,
    session: (machine?.session ?? 0) + 1,
    connectedAt: input.nowUs,
    lostAt: 0,
  });
}

function copy(hello: Hello, why: string): GantryError {
  return new GantryError(Code.failedPrecondition, `cannot open a session for node "${hello.node}": ${why}`, {
    details: { hint: 'an identity may be used by one agent only; enroll the other one under a name of its own' },
    retryable: true,
  });
}

/** Slows down nodes whose sessions are refused or replaced again and again. */
export class AdmissionThrottle {
  readonly #failures = new Map<string, { count: number; untilMs: number }>();
  readonly #limit: number;

  /** @param limit most nodes that it remembers. */
  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  /** @throws GantryError resourceExhausted with the time to wait while the node must. */
  check(node: string, nowMs: number): void {
    const entry = this.#failures.get(node);
    if (!entry || nowMs >= entry.untilMs) return;
    const retryAfterMs = Math.ceil(entry.untilMs - nowMs);
    throw new GantryError(
      Code.resourceExhausted,
      `cannot open a session for node "${node}": refused ${entry.count} times, try in ${retryAfterMs} ms`,
      {
        details: { retryAfterMs },
        retryable: true,
      },
    );
  }

  /** Counts a refusal: the next try may come after 0.25 s, doubled each time up to 30 s. */
  refused(node: string, nowMs: number): void {
    const entry = this.#failures.get(node) ?? { count: 0, untilMs: 0 };
    const delayMs = Math.min(30_000, 250 * 2 ** Math.min(entry.count, 10));
    this.#failures.delete(node);
    this.#failures.set(node, { count: entry.count + 1, untilMs: nowMs + delayMs });
    if (this.#failures.size > this.#limit) this.#failures.delete(this.#failures.keys().next().value!);
  }

  /** The node has had a session of some length: it starts afresh. */
  forgive(node: string): void {
    this.#failures.delete(node);
  }
}
