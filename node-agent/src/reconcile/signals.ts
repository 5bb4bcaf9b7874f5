import { constants } from 'node:os';
import type { Assignment } from '@gantry/proto';

/** The number of "SIGQUIT", "quit", "3"; SIGTERM for what is no signal. */
function signalNumber(name: string): number {
  const number = /^\d+$/.test(name) ? Number(name) : undefined;
  if (number !== undefined) return number >= 1 && number <= 64 ? number : constants.signals.SIGTERM;
  const upper = name.toUpperCase();
  const full = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  return (constants.signals as Record<string, number>)[full] ?? constants.signals.SIGTERM;
}

/** The signal that asks a container to stop: the service's, else the image's, else SIGTERM. */
export function stopSignalOf(assignment: Assignment | null, imageSignal: string): number {
  return signalNumber(assignment?.spec?.container?.stopSignal || imageSignal || 'SIGTERM');
}
