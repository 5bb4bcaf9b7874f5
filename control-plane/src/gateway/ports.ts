import type { Clock, Logger } from '@gantry/common';
import type { EnrollRequest, EnrollResponse, Event, RenewRequest } from '@gantry/proto';
import type { ClusterView } from '../cluster/view.ts';
import type { Store } from '../store/store.ts';
import type { LivenessRules } from './liveness-plan.ts';

/** Tells users what happened. */
export type EmitEvent = (event: Partial<Event> & Pick<Event, 'type' | 'message'>) => void;

/** How nodes come to certificates. */
interface NodeEnrolment {
  enroll(request: EnrollRequest): Promise<{ response: EnrollResponse; revision: number }>;
  renew(node: string, request: RenewRequest): Promise<EnrollResponse>;
}

/** Everything that the gateway acts through. */
export interface GatewayOptions {
  /** Unique among the control planes of the cluster. */
  id: string;
  /** Where users and agents reach this control plane, "10.0.0.1:7400". */
  address: string;
  store: Store;
  /** Must be synced before the gateway starts. */
  view: ClusterView;
  clock: Clock;
  log: Logger;
  /** Between 0 and 1. */
  random: () => number;
  emit: EmitEvent;
  enrolment: NodeEnrolment;
  /** Opens a sealed secret; the context is the record's key. */
  openSecret: (sealed: Uint8Array, context: string) => Uint8Array;
  /** "10.64.0.0/12" */
  clusterCidr: string;
  /** "gantry.internal" */
  clusterDomain: string;
  rules?: LivenessRules;
  /** Time between two usage reports of an agent; default 5000. */
  reportMs?: number;
}
