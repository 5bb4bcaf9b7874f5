import { EventSeverity, type Rollout, RolloutState } from '@gantry/proto';
import type { Notes } from './evaluate.ts';
import type { EmitEvent } from './ports.ts';

const rolloutEvents: Partial<Record<RolloutState, { type: string; severity: EventSeverity }>> = {
  [RolloutState.updating]: { type: 'RolloutStarted', severity: EventSeverity.normal },
  [RolloutState.paused]: { type: 'RolloutPaused', severity: EventSeverity.warning },
  [RolloutState.rolling_back]: { type: 'RolloutRollingBack', severity: EventSeverity.warning },
  [RolloutState.completed]: { type: 'RolloutCompleted', severity: EventSeverity.normal },
  [RolloutState.rolled_back]: { type: 'RolloutRolledBack', severity: EventSeverity.warning },
  [RolloutState.failed]: { type: 'RolloutFailed', severity: EventSeverity.warning },
};

/** Tells users what a committed evaluation did: one event a kind and reason, however many containers it concerns. */
export function announce(emit: EmitEvent, { key, plan, before, placed, evicted = [], refusal }: Notes): void {
  if (!key || !plan) return;
  const about = { namespace: key.namespace, app: key.app, service: key.service, subject: `service/${key.service}` };
  for (const [reason, group] of Map.groupBy(placed, ({ place }) => place.reason)) {
    const nodes = [...new Set(group.map(({ node }) => node))].slice(0, 5).join(', ');
    emit({ ...about, type: 'ContainersPlaced', message: `${count(group.length)} placed on ${nodes}: ${reason}` });
  }
  for (const [reason, group] of Map.groupBy(plan.stop, (stop) => stop.reason)) {
    emit({ ...about, type: 'ContainersStopping', message: `${count(group.length)} told to stop: ${reason}` });
  }
  for (const { id, key: of, node } of evicted) {
    emit({
      namespace: of!.namespace,
      app: of!.app,
      service: of!.service,
      subject: `container/${id}`,
      node,
      type: 'ContainerPreempted',
      severity: EventSeverity.warning,
      message: `${of!.app}/${of!.service} on ${node} makes room for ${key.app}/${key.service}, which has a higher priority`,
    });
  }
  if (refusal !== '') {
    emit({ ...about, type: 'PlacementRefused', severity: EventSeverity.warning, message: refusal });
  }
  if (plan.waitsFor !== '' && plan.waitsFor !== before?.reason) emit({ ...about, type: 'ServiceWaits', message: plan.waitsFor });
  if (plan.rollout && plan.rollout.state !== before?.state) announceRollout(emit, about, plan.rollout);
}

function announceRollout(emit: EmitEvent, about: object, rollout: Rollout): void {
  const event = rolloutEvents[rollout.state];
  if (!event) return;
  const to = `revision ${rollout.targetRevision}`;
  emit({ ...about, ...event, message: rollout.reason === '' ? to : `${to}: ${rollout.reason}` });
}

function count(containers: number): string {
  return containers === 1 ? '1 container' : `${containers} containers`;
}
