import {
  AssignmentDesired,
  NodeSettingsAvailability as Availability,
  NodeSettings,
  Operation,
  OperationState,
  OperationStep,
} from '@gantry/proto';

/** A container that is still on the node. */
export interface DrainContainer {
  /** "app/service.slot" */
  readonly name: string;
  readonly desired: AssignmentDesired;
  /** Why its service cannot place another one now; empty when it can. */
  readonly obstacle: string;
}

/** What a drain looks at. */
export interface DrainInput {
  readonly operation: Operation;
  /** The node's settings; undefined when there is no such node. */
  readonly settings: NodeSettings | undefined;
  readonly containers: readonly DrainContainer[];
  /** Microseconds since the epoch. */
  readonly now: number;
}

/** What is to be written: the operation as it stands now, and the node's settings when they change. */
export interface DrainPlan {
  readonly operation: Operation;
  readonly settings: NodeSettings | undefined;
}

/** When a drain is given up, microseconds since the epoch; infinite when it may take for ever. */
export function drainDeadline({ parameters, createdAt }: Operation): number {
  const durationUs = Number(parameters.deadlineUs ?? 0);
  return durationUs > 0 ? createdAt + durationUs : Number.POSITIVE_INFINITY;
}

/**
 * Where a drain stands and what it does next: it closes the node, the orchestrator replaces its containers one by one (the
 * new one first, where two may run), and it is done when nothing is left there.
 */
export function planDrain({ operation, settings, containers, now }: DrainInput): DrainPlan {
  const end = (state: OperationState, message: string): DrainPlan => ({
    operation: Operation.create({
      ...operation,
      state,
      message,
      updatedAt: now,
      finishedAt: now,
      steps: closeSteps(operation.steps, state, now),
    }),
    // the node takes nothing new, but what is still there stays
    settings: settings?.availability === Availability.draining ? withAvailability(settings, Availability.cordoned) : undefined,
  });
  if (!settings || settings.removed) return end(OperationState.failed, 'the node has been removed');
  if (operation.cancelRequested)
    return end(OperationState.cancelled, `cancelled; the node stays cordoned: gantry node uncordon ${settings.name}`);
  const isClosed = operation.steps.length > 0;
  if (!isClosed) return begin(operation, settings, containers, now);
  if (settings.availability !== Availability.draining) return end(OperationState.cancelled, 'the node was opened again meanwhile');
  if (containers.length === 0) {
    const steps = [...closeSteps(operation.steps, OperationState.succeeded, now)];
    const message = operation.total === 0 ? 'nothing ran there' : `all ${operation.total} containers have gone`;
    const done = { state: OperationState.succeeded, message, done: operation.total, finishedAt: now, updatedAt: now, steps };
    return { operation: Operation.create({ ...operation, ...done }), settings: undefined };
  }
  if (now >= drainDeadline(operation)) {
    return end(
      OperationState.failed,
      `out of time with ${containers.length} containers left: ${listed(containers)}; the node stays cordoned`,
    );
  }
  return { operation: progressed(operation, containers, now), settings: undefined };
}

function begin(operation: Operation, settings: NodeSettings, containers: readonly DrainContainer[], now: number): DrainPlan {
  const step = (name: string, state: OperationState, detail: string) => OperationStep.create({ name, state, detail, at: now });
  const started = Operation.create({
    ...operation,
    state: OperationState.running,
    total: containers.length,
    updatedAt: now,
    steps: [
      step('cordon', OperationState.succeeded, `${settings.name} takes no new containers`),
      step('replace', OperationState.running, ''),
      step('stop', OperationState.pending, ''),
    ],
  });
  return {
    operation: progressed(started, containers, now),
    settings: settings.availability === Availability.draining ? undefined : withAvailability(settings, Availability.draining),
  };
}

function progressed(operation: Operation, containers: readonly DrainContainer[], now: number): Operation {
  // a container that was on its way when the node was closed may have come since
  const total = Math.max(operation.total, containers.length);
  const waiting = containers.filter((container) => container.desired === AssignmentDesired.run);
  const stopped = total - containers.length;
  const stuck = waiting.filter((container) => container.obstacle !== '');
  const obstacle = stuck[0] ? `; ${stuck[0].name} has no other place: ${stuck[0].obstacle}` : '';
  const replaced = OperationStep.create({
    name: 'replace',
    state: waiting.length === 0 ? OperationState.succeeded : OperationState.running,
    detail: `${total - waiting.length} of ${total} have another place${obstacle}`,
  });
  const stop = OperationStep.create({
    name: 'stop',
    state: stopped > 0 || waiting.length < containers.length ? OperationState.running : OperationState.pending,
    detail: `${stopped} of ${total} have gone`,
  });
  const steps = operation.steps.map((before) => {
    const next = [replaced, stop].find((step) => step.name === before.name);
    if (!next) return before;
    const isSame = next.state === before.state && next.detail === before.detail;
    return isSame ? before : { ...next, at: now };
  });
  const message = `${stopped} of ${total} containers have gone${obstacle}`;
  const isSame = message === operation.message && steps.every((step, index) => step === operation.steps[index]);
  return isSame ? operation : Operation.create({ ...operation, total, done: stopped, message, steps, updatedAt: now });
}

function closeSteps(steps: readonly OperationStep[], state: OperationState, now: number): OperationStep[] {
  return steps.map((step) => (step.state === OperationState.succeeded ? step : { ...step, state, at: now }));
}

function withAvailability(settings: NodeSettings, availability: Availability): NodeSettings {
  return NodeSettings.create({ ...settings, availability });
}

function listed(containers: readonly DrainContainer[]): string {
  const names = containers.slice(0, 3).map((container) => container.name);
  return containers.length > names.length ? `${names.join(', ')}, …` : names.join(', ');
}
