import { Code, createLogger, errorText, GantryError, optionsHelp, readOptions, systemClock } from '@gantry/common';
import { optionTable, variablePrefix } from './config.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';

/** Longest that a clean end may take; what is left then is cut off. */
const stopMs = 4500;

async function run(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--help')) {
    console.log(`gantry-control-plane: the brain of a Gantry cluster\n\n${optionsHelp(optionTable, variablePrefix)}`);
    return;
  }
  const config = readOptions({ table: optionTable, prefix: variablePrefix, args, env: process.env });
  const log = createLogger({ name: 'gantry-control-plane', level: config.logLevel });
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'unexpected failure');
    process.exit(1);
  });
  const stopped = new AbortController();
  const starting = startControlPlane(config, { log, clock: systemClock, random: Math.random, signal: stopped.signal });
  const stop = (signal: string) => {
    if (stopped.signal.aborted) return;
    log.info({ signal }, 'stopping');
    setTimeout(() => process.exit(0), stopMs).unref();
    void starting
      .then((controlPlane: ControlPlane) => controlPlane.stop())
      .catch(() => undefined)
      .finally(() => process.exit(0));
    stopped.abort(new GantryError(Code.cancelled, `stopped by ${signal}`));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  try {
    const { address, ready } = await starting;
    await ready;
    log.info({ address }, 'ready');
  } catch (error) {
    // one that is told to stop before it has started just ends
    if (!stopped.signal.aborted) throw error;
  }
}

try {
  await run();
} catch (error) {
  console.error(`gantry-control-plane: ${errorText(GantryError.from(error))}`);
  process.exit(1);
}
