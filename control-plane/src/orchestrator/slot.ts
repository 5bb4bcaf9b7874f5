import { type Assignment, AssignmentDesired, type Revision, type Rollout } from '@gantry/proto';
import { failureOf, isComplete, isFinal, isLive, isReady, isStopping, type Replica } from './replica.ts';
import { replacementOf } from './restart.ts';
import { isHeld, type RolloutFacts } from './rollout.ts';
import type { SlotGroup } from './slots.ts';
import type { Place, Renumber, Stop } from './steps.ts';

/** What slots are planned against. */
export interface SlotContext {
  readonly rollout: Rollout;
  readonly nowUs: number;
  /** Whether two revisions give the same container. */
  readonly same: (left: number, right: number) => boolean;
  readonly revisions: ReadonlyMap<number, Revision>;
  /** Containers made for an earlier one are outdated. */
  readonly restartGeneration: number;
  readonly isJob: boolean;
  /** Whether a new container may go to the node of a global service's slot. */
  readonly isOpen: (node: string | undefined) => boolean;
  /** Bound to their nodes by data or by kind: they wait for a lost node, and a drained one stops them without another first. */
  readonly stays: boolean;
  /** A new container runs before the old one stops. */
  readonly startFirst: boolean;
  readonly exclusive: boolean;
  readonly drainUs: number;
}

/** What to change for one slot. */
export interface SlotPlan {
  readonly place: readonly Place[];
  readonly stop: readonly Stop[];
  readonly remove: readonly Assignment[];
  readonly renumber: readonly Renumber[];
  readonly waitUntilUs: number;
}

/** The containers of a slot, sorted by what can be done with them. */
interface SlotView {
  /** Run, or are to, as the target wants. */
  readonly current: Replica[];
  /** Run another revision, or were made before a restart that was asked for. */
  readonly outdated: Replica[];
  /** Should run, on a node that is lost or gone. */
  readonly lost: Replica[];
  /** Should run, and have ended for good. */
  readonly ended: Replica[];
  /** Are stopping where that can be waited for. */
  readonly stopping: Replica[];
  /** Were stopped and are no more. */
  readonly dead: Replica[];
}

class SlotPlanner {
  readonly place: Place[] = [];
  readonly stop: Stop[] = [];
  readonly remove: Assignment[] = [];
  readonly renumber: Renumber[] = [];
  waitUntilUs = Number.POSITIVE_INFINITY;
}

function isUpToDate(context: SlotContext, { assignment }: Replica): boolean {
  return context.same(assignment.revision, context.rollout.targetRevision) && assignment.restartGeneration >= context.restartGeneration;
}

function viewOf(context: SlotContext, members: readonly Replica[]): SlotView {
  const view: SlotView = { current: [], outdated: [], lost: [], ended: [], stopping: [], dead: [] };
  for (const replica of members) {
    const keeps = replica.node !== 'gone' || (context.isJob && isComplete(replica));
    if (replica.assignment.desired === AssignmentDesired.stop) {
      if (isFinal(replica) || replica.node === 'gone') view.dead.push(replica);
      else if (isStopping(replica)) view.stopping.push(replica);
    } else if (isFinal(replica) && keeps) view.ended.push(replica);
    else if (replica.node === 'gone' || (replica.node === 'lost' && !context.stays)) view.lost.push(replica);
    else if (isUpToDate(context, replica)) view.current.push(replica);
    else view.outdated.push(replica);
  }
  return view;
}

/** Whether the slot runs only what is to be replaced, on a node that can be reached. */
export function isOutdated(context: SlotContext, { members }: SlotGroup): boolean {
  const { current, outdated } = viewOf(context, members);
  return current.length === 0 && outdated.some(({ node }) => node !== 'lost');
}

/** Counts the slots against the target. Slots that only a lost node has are left out: nothing can be done about them. */
export function factsOf(context: SlotContext, groups: readonly SlotGroup[]): RolloutFacts {
  const facts = { total: 0, outdated: 0, ready: 0, failed: 0, failure: '' };
  for (const { members } of groups) {
    const { current, outdated, ended } = viewOf(context, members);
    const live = [...current, ...outdated];
    if (live.length > 0 && live.every(({ node }) => node === 'lost')) continue;
    facts.total++;
    const done = ended.some((replica) => isComplete(replica) && isUpToDate(context, replica));
    if (current.some(isReady) || done) facts.ready++;
    else if (current.length === 0 && outdated.length > 0) facts.outdated++;
    const failure = [...current, ...ended].filter((replica) => isUpToDate(context, replica) && isNew(context, replica)).map(failureOf);
    const reason = failure.find((text) => text !== '');
    if (reason === undefined) continue;
    facts.failed++;
    facts.failure ||= reason;
  }
  return facts;
}

function isNew({ rollout }: SlotContext, { assignment }: Replica): boolean {
  return assignment.createdAt >= rollout.startedAt;
}

/** What to change for one wanted slot. `go`: the rollout lets it be replaced now. */
export function planSlot(context: SlotContext, group: SlotGroup, go: boolean): SlotPlan {
  const plan = new SlotPlanner();
  const view = viewOf(context, group.members);
  plan.remove.push(...view.dead.map(({ assignment }) => assignment));
  for (const { assignment, node } of view.lost) {
    if (node === 'gone') plan.remove.push(assignment);
    else plan.stop.push({ assignment, reason: `node ${assignment.node} is lost`, drainUs: 0 });
  }
  if (view.current.length + view.outdated.length === 0) {
    planEmpty(context, group, view, plan);
  } else {
    plan.remove.push(...view.ended.map(({ assignment }) => assignment));
    if (view.current.length > 0) planCurrent(context, group, view, plan);
    else planOutdated(context, group, view, plan, go);
  }
  return plan;
}

/** Nothing runs: place, unless something is still stopping there, or the one that ended is to be the last or not yet replaced. */
function planEmpty(context: SlotContext, group: SlotGroup, view: SlotView, plan: SlotPlanner): void {
  const predecessors = group.predecessors.some(
    (replica) => isStopping(replica) || (isLive(replica) && replica.node !== 'lost' && replica.node !== 'gone'),
  );
  if (view.stopping.length > 0 || predecessors) return;
  const held = isHeld(context.rollout);
  const ended = view.ended.toSorted((a, b) => b.assignment.createdAt - a.assignment.createdAt);
  const last = ended[0];
  plan.remove.push(...ended.slice(1).map(({ assignment }) => assignment));
  if (!last) {
    const lost = view.lost[0]?.assignment;
    placeOne(context, group, plan, {
      before: lost,
      reason: lost ? `node ${lost.node} was lost` : `wanted by revision ${context.rollout.targetRevision}`,
      failures: lost?.failures ?? 0,
    });
    return;
  }
  if (!isUpToDate(context, last) && !held) {
    plan.remove.push(last.assignment);
    placeOne(context, group, plan, {
      before: last.assignment,
      reason: `update to revision ${context.rollout.targetRevision}`,
      failures: 0,
    });
    return;
  }
  const replacement = replacementOf(last, context.isJob);
  if (replacement.kind === 'never') return;
  if (context.nowUs < replacement.atUs) {
    plan.waitUntilUs = replacement.atUs;
    return;
  }
  plan.remove.push(last.assignment);
  const why = last.status?.reason || 'failed';
  placeOne(context, group, plan, {
    before: last.assignment,
    reason: `replaces ${last.assignment.id}: ${why}`,
    failures: replacement.failures,
  });
}

/** Something runs as it should: what else is in the slot goes once it is ready. */
function planCurrent(context: SlotContext, group: SlotGroup, view: SlotView, plan: SlotPlanner): void {
  const staying = view.current.filter(({ node }) => node !== 'leaving' || context.stays);
  const leaving = view.current.filter((replica) => !staying.includes(replica));
  const best = staying.toSorted(byWorth)[0];
  if (!best) {
    planLeaving(context, group, view, leaving, plan);
    return;
  }
  if (best.node === 'leaving') {
    stopAll(context, [best], `node ${best.assignment.node} is drained`, plan);
    return;
  }
  renumber(context, best, plan);
  stopAll(
    context,
    staying.filter((replica) => replica !== best),
    `${best.assignment.id} has its slot`,
    plan,
  );
  if (isReady(best)) stopAll(context, [...leaving, ...view.outdated], `replaced by ${best.assignment.id}`, plan);
}

/** All that is as it should be is on nodes to be left: of two in the slot the lesser goes before a third one comes. */
function planLeaving(context: SlotContext, group: SlotGroup, view: SlotView, leaving: readonly Replica[], plan: SlotPlanner): void {
  const [first, ...rest] = [...leaving, ...view.outdated].toSorted(byWorth) as [Replica, ...Replica[]];
  if (rest.length === 0) leave(context, group, [first], plan);
  else stopAll(context, rest, `${first.assignment.id} has its slot`, plan);
}

/** Only what another revision made runs. */
function planOutdated(context: SlotContext, group: SlotGroup, view: SlotView, plan: SlotPlanner, go: boolean): void {
  const sorted = view.outdated.toSorted(byWorth);
  const best = sorted[0]!;
  stopAll(context, sorted.slice(1), `${best.assignment.id} has its slot`, plan);
  if (best.node === 'leaving') {
    leave(context, group, [best], plan);
    return;
  }
  if (!go) return;
  const reason = `update to revision ${context.rollout.targetRevision}`;
  if (context.startFirst) placeOne(context, group, plan, { before: best.assignment, reason, failures: 0 });
  else stopAll(context, [best], reason, plan);
}

/** Its node is to be left: another one first where two may run at once, and a place can be found elsewhere. */
function leave(context: SlotContext, group: SlotGroup, leaving: readonly Replica[], plan: SlotPlanner): void {
  const first = leaving[0]!;
  const reason = `node ${first.assignment.node} is drained`;
  if (context.stays || context.exclusive || context.isJob) stopAll(context, leaving, reason, plan);
  else placeOne(context, group, plan, { before: first.assignment, reason, failures: 0 });
}

function byWorth(left: Replica, right: Replica): number {
  return (
    Number(isReady(right)) - Number(isReady(left)) ||
    left.assignment.createdAt - right.assignment.createdAt ||
    (left.assignment.id < right.assignment.id ? -1 : 1)
  );
}

function stopAll(context: SlotContext, replicas: readonly Replica[], reason: string, plan: SlotPlanner): void {
  for (const { assignment } of replicas) plan.stop.push({ assignment, reason, drainUs: context.drainUs });
}

interface NewOne {
  readonly before: Assignment | undefined;
  readonly reason: string;
  readonly failures: number;
}

function placeOne(context: SlotContext, group: SlotGroup, plan: SlotPlanner, { before, reason, failures }: NewOne): void {
  if (!context.isOpen(group.node)) return;
  // A rollout that waits for a user brings no further containers of its revision where the one before is known.
  const keeps = before && isHeld(context.rollout) && context.revisions.has(before.revision);
  const revision = keeps ? before.revision : context.rollout.targetRevision;
  plan.place.push({ slot: group.number, node: group.node, revision, reason, replaces: before?.id ?? '', failures });
}

/** The target is the same container under another number: its record follows, nothing is restarted. */
function renumber({ rollout, revisions }: SlotContext, { assignment, node }: Replica, plan: SlotPlanner): void {
  if (assignment.revision === rollout.targetRevision || node === 'lost' || !revisions.has(rollout.targetRevision)) return;
  plan.renumber.push({ assignment, revision: rollout.targetRevision });
}
