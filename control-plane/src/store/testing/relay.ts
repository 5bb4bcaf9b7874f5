import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';

/** A TCP relay that a test holds: it cuts, silences and refuses connections on demand. */
export interface Relay {
  /** "127.0.0.1:41235" */
  readonly address: string;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Resets every connection; new ones are accepted. */
  cut(): void;
  /** Cuts, once, in place of passing on what brings the target's bytes to this many more. */
  cutAfter(bytes: number): void;
  /** True: new connections are refused and present ones cut, until false. */
  setDown(down: boolean): void;
  /** True: bytes of both sides are kept back while connections stay open, until false. */
  setSilent(silent: boolean): void;
  close(): Promise<void>;
}

/** Starts a relay on a free port to `target` ("host:port"). */
export async function startRelay(target: string): Promise<Relay> {
  const [host, port] = target.split(':') as [string, string];
  const sockets = new Set<Socket>();
  let accepted = 0;
  let down = false;
  let silent = false;
  let cutAt = Number.POSITIVE_INFINITY;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  /** @param passes whether a chunk may go on. */
  const forward = (from: Socket, to: Socket, passes: (chunk: Buffer) => boolean) => {
    sockets.add(from);
    if (silent) from.pause();
    from.on('data', (chunk: Buffer) => {
      if (passes(chunk)) to.write(chunk);
    });
    from.on('error', () => to.destroy());
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
  };
  const server = createServer((near) => {
    if (down) return near.destroy();
    accepted++;
    const far = createConnection({ host, port: Number(port) });
    forward(near, far, () => true);
    forward(far, near, (chunk) => {
      cutAt -= chunk.length;
      if (cutAt > 0) return true;
      cutAt = Number.POSITIVE_INFINITY;
      cut();
      return false;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('cannot start the relay: no address');
  return {
    address: `127.0.0.1:${address.port}`,
    get accepted() {
      return accepted;
    },
    cut,
    cutAfter: (bytes) => {
      cutAt = bytes;
    },
    setDown: (value) => {
      down = value;
      if (down) cut();
    },
    setSilent: (value) => {
      silent = value;
      for (const socket of sockets) {
        if (silent) socket.pause();
        else socket.resume();
      }
    },
    close: async () => {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
