import {
  Container,
  ContainerState,
  Node,
  Resources,
  Rollout,
  RolloutState,
  Service,
  ServiceEvent,
  ServiceKey,
  ServiceSpec,
  ServiceView,
  Usage,
} from '@gantry/proto';

/** A container of demo/web that runs on n1. */
export function aContainer(init: Partial<Container> = {}): Container {
  return Container.create({
    id: '0123456789ab',
    name: 'demo/web.1',
    namespace: 'default',
    app: 'demo',
    service: 'web',
    slot: 1,
    revision: 1,
    node: 'n1',
    state: ContainerState.running,
    ready: true,
    image: 'registry.example/web:1',
    usage: Usage.create({ cpuMillis: 498, memoryBytes: 64 * 2 ** 20 }),
    ...init,
  });
}

/** demo/web with as many ready containers as it wants, its rollout completed. */
export function aService(init: Partial<ServiceView> = {}, generation = 1): ServiceView {
  const key = ServiceKey.create({ namespace: 'default', app: 'demo', service: 'web' });
  return ServiceView.create({
    service: Service.create({ key, generation, spec: ServiceSpec.create({ name: 'web', replicas: 2 }) }),
    rollout: Rollout.create({ key, state: RolloutState.completed, toRevision: generation, targetRevision: generation, startedAt: 1 }),
    desired: 2,
    running: 2,
    ready: 2,
    updated: 2,
    containers: 2,
    ...init,
  });
}

export function aNode(init: Partial<Node> = {}): Node {
  return Node.create({ name: 'n1', containers: 2, reserved: Resources.create({ cpuMillis: 100 }), ...init });
}

/** A watch that tells of these views, then of the end of the snapshot, and goes on with what `later` yields. */
export function watching(views: readonly ServiceView[], later: readonly ServiceView[] = [], revision = 10) {
  return async function* (_request: unknown, { signal }: { signal: AbortSignal }): AsyncGenerator<ServiceEvent, void, void> {
    for (const service of views) yield ServiceEvent.create({ service, revision });
    yield ServiceEvent.create({ synced: true, revision });
    for (const service of later) yield ServiceEvent.create({ service, revision: revision + 1 });
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  };
}
