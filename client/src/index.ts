export { type ApplyOptions, ApplyOutcome, type ApplyResult, applyAndWait, isSettled } from './apply.ts';
export { type Context, type FindContextOptions, findContext, readContext } from './context.ts';
export { allPages, clientOver, type GantryClient, openClient } from './gantry-client.ts';
export { version } from './version.ts';
