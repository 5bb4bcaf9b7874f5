import { ServiceChangeKind as Kind } from '@gantry/proto';
import type { ServiceStep } from './app-plan.ts';
import type { ApiDeps } from './ports.ts';

const types: Readonly<Record<number, string>> = {
  [Kind.created]: 'ServiceCreated',
  [Kind.updated]: 'ServiceUpdated',
  [Kind.scaled]: 'ServiceScaled',
  [Kind.removed]: 'ServiceRemoved',
};

/** One event for each service that a user's call changed. */
export function emitChanges({ emit }: Pick<ApiDeps, 'emit'>, steps: readonly ServiceStep[], by: string): void {
  for (const { change, before, after } of steps) {
    const type = types[change.kind];
    if (type === undefined) continue;
    const { namespace = '', app = '', service = '' } = after?.key ?? {};
    const replicas = change.kind === Kind.scaled ? ` from ${before?.spec?.replicas ?? 0} to ${after?.spec?.replicas ?? 0}` : '';
    const what = type.slice('Service'.length).toLowerCase();
    emit({
      type,
      namespace,
      app,
      service,
      subject: `service/${service}`,
      message: `service ${app}/${service} ${what}${replicas} by ${by}`,
    });
  }
}
