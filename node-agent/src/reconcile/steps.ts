import type { StopGoal } from './container.ts';

/** What is done to one container. */
export type Step =
  | { kind: 'kill'; id: string; reason: string }
  | { kind: 'abandon'; id: string; reason: string }
  | { kind: 'stop'; id: string; reason: string; goal: StopGoal; graceMs: number }
  | { kind: 'update'; id: string; reason: string }
  | { kind: 'remove'; id: string; reason: string }
  | { kind: 'forget'; id: string; reason: string }
  | { kind: 'drop'; id: string; reason: string }
  | { kind: 'start'; id: string; reason: string };
export type StepKind = Step['kind'];
export type StepOf<K extends StepKind> = Extract<Step, { kind: K }>;

/** The order in which kinds are carried out: what frees the node goes before what fills it. */
export const stepOrder: Readonly<Record<StepKind, number>> = {
  kill: 0,
  abandon: 0,
  stop: 1,
  update: 2,
  remove: 3,
  forget: 4,
  drop: 5,
  start: 6,
};
