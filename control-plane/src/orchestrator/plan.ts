import { AssignmentDesired, type Revision, type Rollout, type Service, UpdatePolicyOrder } from '@gantry/proto';
import { drainUsOf, isGlobal } from '../cluster/container.ts';
import { type Desired, isJob } from './desired.ts';
import { isFinal, isReady, type Replica } from './replica.ts';
import { followRequest, followRestart, followSpec, policyOf, stepRollout } from './rollout.ts';
import { factsOf, isOutdated, planSlot, type SlotContext, type SlotPlan } from './slot.ts';
import { groupBySlot, type SlotGroup } from './slots.ts';
import type { Plan } from './steps.ts';

/** How reasons begin that name what a service waits for. */
export const waitingPrefix = 'waits for ';

/** What should change for a service, given what there is. Pure: `nowUs` is the only clock. */
export function planService(desired: Desired, replicas: readonly Replica[], nowUs: number): Plan {
  const { service } = desired;
  if (service.deletedAt > 0 || !service.spec) return planOrphans(replicas);
  const own = replicas.filter(({ assignment }) => assignment.serviceUid === service.uid);
  const foreign = replicas.filter(({ assignment }) => assignment.serviceUid !== service.uid);
  const works = (revision: number) => own.some((replica) => isReady(replica) && replica.assignment.revision === revision);
  const wishes = { service, request: desired.request, same: sameContainer(desired.revisions), works };
  const followed = followRequest(followSpec(desired.rollout, wishes, nowUs), desired.request, nowUs);
  const draft = contextOf(desired, followed, nowUs);
  const groups = groupBySlot(desired, own, foreign, isGlobal(service.spec.mode));
  const facts = factsOf(draft, groups.wanted);
  // Only the start of the whole service waits for others: one of its containers that fails later is replaced at once.
  const waitsFor = own.length === 0 && groups.wanted.length > 0 ? desired.waitsFor : '';
  const started = noteWaiting(followRestart(followed, facts, nowUs), waitsFor, nowUs);
  if (waitsFor !== '') return { ...planOrphans(foreign), finished: false, waitsFor, rollout: changed(desired.rollout, started) };
  const step = stepRollout(
    started,
    factsOf(contextOf(desired, started, nowUs), groups.wanted),
    policyOf(service.spec, started.state),
    nowUs,
  );
  const context = contextOf(desired, step.record, nowUs);
  const plans = [
    ...planWanted(context, groups.wanted, step.allow),
    ...groups.extra.map((group) => planExtra(group, service)),
    { ...nothing, ...foreignStops(foreign) },
  ];
  return merge(plans, changed(desired.rollout, step.record), Math.min(step.waitUntilUs, ...plans.map((plan) => plan.waitUntilUs)));
}

function contextOf(desired: Desired, rollout: Rollout, nowUs: number): SlotContext {
  const spec = desired.service.spec!;
  return {
    rollout,
    nowUs,
    same: sameContainer(desired.revisions),
    revisions: desired.revisions,
    restartGeneration: desired.request?.restartGeneration ?? 0,
    isJob: isJob(spec.mode),
    isOpen: (node) => node === undefined || desired.nodes.open.has(node),
    stays: desired.bound || isGlobal(spec.mode),
    startFirst: !desired.exclusive && !isJob(spec.mode) && policyOf(spec, rollout.state).order === UpdatePolicyOrder.start_first,
    exclusive: desired.exclusive,
    drainUs: drainUsOf(spec),
  };
}

/** Whether containers of two revisions are alike: equal hashes, or the same number. */
function sameContainer(revisions: ReadonlyMap<number, Revision>): (left: number, right: number) => boolean {
  return (left, right) => {
    if (left === right) return true;
    const [a, b] = [revisions.get(left), revisions.get(right)];
    return a !== undefined && b !== undefined && a.containerHash !== '' && a.containerHash === b.containerHash && sameReservation(a, b);
  };
}

/** A container's reservation is what its node was charged: another one needs another placement. */
function sameReservation({ spec: a }: Revision, { spec: b }: Revision): boolean {
  return (
    a?.reservation?.cpuMillis === b?.reservation?.cpuMillis &&
    a?.reservation?.memoryBytes === b?.reservation?.memoryBytes &&
    a?.reservation?.ioBytesPerSecond === b?.reservation?.ioBytesPerSecond &&
    a?.reservation?.networkBytesPerSecond === b?.reservation?.networkBytesPerSecond
  );
}

/** Plans every wanted slot; of those that only run another revision, the allowed number goes, the sick ones first. */
function planWanted(context: SlotContext, groups: readonly SlotGroup[], allow: number): SlotPlan[] {
  const due = groups.filter((group) => isOutdated(context, group)).sort((a, b) => readiness(a) - readiness(b) || a.number - b.number);
  const going = new Set(due.slice(0, allow));
  return groups.map((group) => planSlot(context, group, going.has(group)));
}

function readiness(group: SlotGroup): number {
  return group.members.some(isReady) ? 1 : 0;
}

/** Containers that nobody wants any more: stopped, and forgotten once they have. */
function planExtra({ members }: SlotGroup, { spec }: Service): SlotPlan {
  const drainUs = spec ? drainUsOf(spec) : 0;
  return { ...nothing, ...dismiss(members, 'no longer wanted', drainUs) };
}

/** Of an earlier service of the same name. */
function foreignStops(foreign: readonly Replica[]): Pick<SlotPlan, 'stop' | 'remove'> {
  return dismiss(foreign, 'its service was removed and made again', 0);
}

/** Stops what runs; what has ended, or was on a node that is gone, is removed. */
function dismiss(members: readonly Replica[], reason: string, drainUs: number): Pick<SlotPlan, 'stop' | 'remove'> {
  const remove = members.filter((replica) => isFinal(replica) || replica.node === 'gone');
  const stop = members.filter((replica) => !remove.includes(replica) && replica.assignment.desired === AssignmentDesired.run);
  return { remove: remove.map(({ assignment }) => assignment), stop: stop.map(({ assignment }) => ({ assignment, reason, drainUs })) };
}

const nothing: SlotPlan = { place: [], stop: [], remove: [], renumber: [], waitUntilUs: Number.POSITIVE_INFINITY };

/** The service goes, or is gone already: all stop. What is on a lost node is forgotten at once, since an agent that returns runs nothing it is not told to. */
export function planOrphans(replicas: readonly Replica[]): Plan {
  const { stop, remove } = dismiss(replicas, 'its service was removed', 0);
  const lost = replicas
    .filter(({ node, assignment }) => node === 'lost' && !remove.includes(assignment))
    .map(({ assignment }) => assignment);
  const removed = new Set([...remove, ...lost]);
  return {
    ...nothing,
    stop: stop.filter(({ assignment }) => !removed.has(assignment)),
    remove: [...removed],
    rollout: undefined,
    waitsFor: '',
    finished: replicas.length === removed.size,
  };
}

function merge(plans: readonly SlotPlan[], rollout: Rollout | undefined, waitUntilUs: number): Plan {
  return {
    place: plans.flatMap((plan) => plan.place),
    stop: plans.flatMap((plan) => plan.stop),
    remove: plans.flatMap((plan) => plan.remove),
    renumber: plans.flatMap((plan) => plan.renumber),
    rollout,
    waitUntilUs,
    waitsFor: '',
    finished: false,
  };
}

/** The rollout says what it waits for, as long as it does; that is no refusal: nothing has been tried. Its time begins when the wait ends. */
function noteWaiting(rollout: Rollout, waitsFor: string, nowUs: number): Rollout {
  if (waitsFor !== '') return { ...rollout, reason: waitsFor };
  if (!rollout.reason.startsWith(waitingPrefix)) return rollout;
  return { ...rollout, reason: '', startedAt: nowUs, updatedAt: nowUs };
}

/** The record to write, if any. */
function changed(before: Rollout | undefined, after: Rollout): Rollout | undefined {
  return sameRecord(before, after) ? undefined : after;
}

function sameRecord(left: Rollout | undefined, right: Rollout): boolean {
  if (!left) return false;
  return (Object.keys(right) as (keyof Rollout)[]).every((field) => field === 'key' || left[field] === right[field]);
}
