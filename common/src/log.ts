import pino from 'pino';

/** A structured logger: message last, fields first, as pino has it. */
export type Logger = pino.Logger;

export interface LogOptions {
  /** Name of the program. */
  name: string;
  /** "trace" .. "fatal" or "silent"; default "info". */
  level?: string;
}

/** JSON lines on standard error, written synchronously so that nothing is lost at exit. */
export function createLogger(options: LogOptions): Logger {
  return pino(
    { name: options.name, level: options.level ?? 'info', base: { name: options.name } },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** A logger that says nothing, for tests. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
