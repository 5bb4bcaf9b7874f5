import { GantryError, sleep } from '@gantry/common';
import { NodeSettings, Operation } from '@gantry/proto';
import { containerName } from '../cluster/container.ts';
import { type Change, serviceId } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import type { Comparison, Write } from '../store/store.ts';
import { type DrainContainer, drainDeadline, planDrain } from './drain-plan.ts';
import type { OperationPorts } from './ports.ts';
import { isUnfinished } from './records.ts';

/** A drain is looked at again at least this often. */
const lookMs = 5000;

/** Empties a node: operation "drain" of "node/<name>", parameter deadlineUs. */
export async function drain(id: string, ports: OperationPorts, signal: AbortSignal): Promise<void> {
  const { view, clock } = ports;
  while (!signal.aborted) {
    const entry = view.operations.get(id);
    if (!entry || !isUnfinished(entry.value)) return;
    const news = nextNews(ports, nodeOf(entry.value), id, signal);
    try {
      if (!(await step(ports, id))) continue;
      const leftMs = (drainDeadline(entry.value) - clock.nowUs()) / 1000;
      await Promise.race([news.happened, sleep(clock, Math.max(1, Math.min(lookMs, leftMs)), news.signal).catch(() => undefined)]);
    } finally {
      news.stop();
    }
  }
}

function nodeOf(operation: Operation): string {
  return operation.subject.replace(/^node\//, '');
}

/** One look and one write. @returns whether to wait for news before the next. */
async function step(ports: OperationPorts, id: string): Promise<boolean> {
  const { view, store, clock, fence, emit, log } = ports;
  const entry = view.operations.get(id);
  if (!entry || !isUnfinished(entry.value)) return false;
  const node = nodeOf(entry.value);
  const settings = view.nodes.get(node);
  const plan = planDrain({ operation: entry.value, settings: settings?.value, containers: containersOn(ports, node), now: clock.nowUs() });
  if (plan.operation === entry.value && !plan.settings) return true;
  const compare: Comparison[] = [fence, { kind: 'modRevision', key: keys.operation(id), equals: entry.modRevision }];
  const writes: Write[] = [{ kind: 'put', key: keys.operation(id), value: Operation.encode(plan.operation) }];
  if (plan.settings) {
    compare.push({ kind: 'modRevision', key: keys.node(node), equals: settings?.modRevision ?? 0 });
    writes.push({ kind: 'put', key: keys.node(node), value: NodeSettings.encode(plan.settings) });
  }
  const result = await store.transact({ compare, writes });
  await view.atLeast(result.revision, AbortSignal.timeout(lookMs));
  // somebody else wrote, or this control plane does not lead any more: the next look shows which
  if (!result.succeeded) return true;
  if (entry.value.steps.length === 0 || !isUnfinished(plan.operation)) {
    const type = isUnfinished(plan.operation) ? 'DrainStarted' : 'DrainEnded';
    log.info({ operation: id, node, message: plan.operation.message }, type === 'DrainStarted' ? 'drain has begun' : 'drain has ended');
    emit({ type, message: `drain of ${node}: ${plan.operation.message}`, subject: `node/${node}`, node });
  }
  return true;
}

function containersOn({ view }: OperationPorts, node: string): DrainContainer[] {
  return [...view.assignmentsOn(node).values()].map(({ value }) => ({
    name: containerName(value),
    desired: value.desired,
    obstacle: (value.key && view.refusals.get(serviceId(value.key))?.value.refusal?.message) ?? '',
  }));
}

interface News {
  readonly happened: Promise<void>;
  /** Aborted with the news, or when nobody waits any more. */
  readonly signal: AbortSignal;
  stop(): void;
}

/** Resolves at the first change of the view that the drain of the node must see; listens from now on. */
function nextNews({ view }: OperationPorts, node: string, id: string, outer: AbortSignal): News {
  const ended = new AbortController();
  const concerns = (change: Change) => {
    switch (change.collection) {
      case 'operations':
        return change.id === id;
      case 'nodes':
        return change.id === node;
      case 'assignments':
        return change.value?.node === node || change.previous?.node === node;
      case 'refusals':
        return true;
      default:
        return false;
    }
  };
  let settle = () => {};
  const happened = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const stopListening = view.onChange((changes) => {
    if (changes.some(concerns)) stop();
  });
  const stop = () => {
    stopListening();
    outer.removeEventListener('abort', stop);
    ended.abort(new GantryError(1, 'cancelled'));
    settle();
  };
  outer.addEventListener('abort', stop, { once: true });
  if (outer.aborted) stop();
  return { happened, signal: ended.signal, stop };
}
