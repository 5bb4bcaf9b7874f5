import { Code, GantryError } from '@gantry/common';
import type { AgentsService, CallContext, Handlers } from '@gantry/proto';
import type { Identity } from '../security/authn.ts';
import { readBoundFile } from './files.ts';
import type { Gateway } from './gateway.ts';
import type { GatewayOptions } from './ports.ts';

/** Handlers of the service that agents call; the node is always the certificate's. */
export function createAgentsHandlers(gateway: Gateway, options: GatewayOptions): Handlers<typeof AgentsService, Identity> {
  return {
    enroll: (request, context) => gateway.enroll(request, context.signal),
    renew: (request, context) => options.enrolment.renew(nodeOf(context), request),
    session: (requests, context) => gateway.sessions.open(nodeOf(context), requests, context.signal),
    getFile: (request, context) => readBoundFile(options, nodeOf(context), request),
    logStream: (requests, context) => gateway.broker.acceptLogs(nodeOf(context), requests, context.signal),
    execStream: (requests, context) => gateway.broker.acceptExec(nodeOf(context), requests, context.signal),
    pullStream: (requests, context) => gateway.broker.acceptPull(nodeOf(context), requests, context.signal),
  };
}

function nodeOf(context: CallContext<Identity>): string {
  if (context.identity.kind === 'node') return context.identity.name;
  throw new GantryError(Code.permissionDenied, `cannot call ${context.path}: only a node may`);
}
