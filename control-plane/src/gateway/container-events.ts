import { type Assignment, ContainerHealth, ContainerState, type ContainerStatus, type Event, EventSeverity } from '@gantry/proto';
import { containerName } from '../cluster/container.ts';

type Told = Pick<Event, 'type' | 'message' | 'severity'>;

/** What users are told of a container whose agent has said something new; nothing for the steps on the way. */
export function containerEvents(
  assignment: Assignment,
  before: ContainerStatus | undefined,
  after: ContainerStatus,
): (Told & Partial<Event>)[] {
  const name = containerName(assignment);
  const about = {
    namespace: assignment.key?.namespace ?? '',
    app: assignment.key?.app ?? '',
    service: assignment.key?.service ?? '',
    subject: `container/${assignment.id}`,
    node: assignment.node,
  };
  return [...stateEvents(name, before, after), ...healthEvents(name, before, after)].map((told) => ({ ...about, ...told }));
}

function stateEvents(name: string, before: ContainerStatus | undefined, after: ContainerStatus): Told[] {
  if (after.state === ContainerState.running && after.restarts > (before?.restarts ?? 0)) {
    return [warning('ContainerRestarted', `${name} runs again after ${after.lastReason || 'it ended'}, restart ${after.restarts}`)];
  }
  if (before?.state === after.state) return [];
  switch (after.state) {
    case ContainerState.running:
      return [normal('ContainerStarted', `${name} runs`)];
    case ContainerState.complete:
      return [normal('ContainerEnded', `${name} has ended${after.reason === '' ? '' : `: ${after.reason}`}`)];
    case ContainerState.failed:
      return [
        warning(
          'ContainerFailed',
          `${name} failed: ${after.reason || `exit code ${after.exitCode}`}${after.oomKilled ? ' (out of memory)' : ''}`,
        ),
      ];
    case ContainerState.rejected:
      return [warning('ContainerRejected', `${name} cannot run there: ${after.reason}`)];
    default:
      return [];
  }
}

function healthEvents(name: string, before: ContainerStatus | undefined, after: ContainerStatus): Told[] {
  if (before?.health === after.health) return [];
  if (after.health === ContainerHealth.unhealthy) return [warning('ContainerUnhealthy', `${name} fails its health check`)];
  if (after.health === ContainerHealth.healthy && before?.health === ContainerHealth.unhealthy) {
    return [normal('ContainerHealthy', `${name} passes its health check again`)];
  }
  return [];
}

function normal(type: string, message: string): Told {
  return { type, message, severity: EventSeverity.normal };
}

function warning(type: string, message: string): Told {
  return { type, message, severity: EventSeverity.warning };
}
