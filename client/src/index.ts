export { type ApplyOptions, type ApplyResult, applyAndWait, persist } from './apply.ts';
export { examineCompose, type ReadComposeOptions, type ReadComposeResult, readCompose, type Variables } from './compose/index.ts';
export { type Context, type FindContextOptions, findContext, readContext } from './context.ts';
export { type Followed, type FollowOptions, follow, type Goal, isSettled, Outcome } from './follow.ts';
export { allPages, clientOver, type GantryClient, openClient, openContext } from './gantry-client.ts';
export { version } from './version.ts';
