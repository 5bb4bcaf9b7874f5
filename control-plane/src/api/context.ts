import type { CallContext } from '@gantry/proto';
import type { Identity } from '../security/authn.ts';
import { CallGuard } from './call-guard.ts';
import { ChangeLog } from './change-log.ts';
import type { ApiDeps } from './ports.ts';

/** What all handlers share. */
export interface Api extends ApiDeps {
  readonly changes: ChangeLog;
  readonly guard: CallGuard;
}

/** A call whose caller is known. */
export type Call = CallContext<Identity>;

/** What all handlers share, made once for a server. */
export function createApi(deps: ApiDeps): Api {
  return { ...deps, changes: new ChangeLog(deps.view), guard: new CallGuard(deps.clock) };
}
