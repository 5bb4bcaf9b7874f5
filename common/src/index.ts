export { type WriteOptions, writeFileAtomic } from './atomic-file.ts';
export { type BackoffOptions, backoffMs } from './backoff.ts';
export { type Clock, ManualClock, sleep, systemClock } from './clock.ts';
export { Code, type ErrorDetails, errorText, GantryError, type GantryErrorOptions } from './errors.ts';
export { isName, newContainerId, newId } from './ids.ts';
export { createLogger, type Logger, type LogOptions, silentLogger } from './log.ts';
export { type Loop, type LoopOptions, startLoop } from './loop.ts';
export {
  flagOf,
  type OptionSpec,
  type OptionTable,
  type OptionValues,
  option,
  optionsHelp,
  type ReadOptionsInput,
  readOptions,
  variableOf,
} from './options.ts';
export { formatBytes, formatCpu, formatDuration, formatRate, parseBytes, parseCpu, parseDuration, parseRate } from './quantity.ts';
export { AsyncQueue } from './queue.ts';
