import { connect, type Socket } from 'node:net';

/** A failed probe rejects with an Error whose message is the reason. */
export interface Connector {
  /** Resolves once the port has accepted. */
  tcp(address: string, port: number, signal: AbortSignal): Promise<void>;
  /** Resolves on a status of 200 to 399. */
  http(address: string, port: number, path: string, signal: AbortSignal): Promise<void>;
}

/** A status line is shorter; whoever sends more without one is no HTTP server. */
const maxHead = 1024;
/** What is read of an answer after its status, so that the server sees an orderly end. */
const maxDrained = 64 * 1024;

/** Probes over sockets of this process: no child process, no kept connection. */
export function createConnector(): Connector {
  return {
    tcp: (address, port, signal) =>
      open(address, port, signal, (socket, done) => {
        socket.once('connect', () => {
          socket.end();
          done();
        });
      }),
    http: (address, port, path, signal) =>
      open(address, port, signal, (socket, done) => {
        socket.once('connect', () => socket.write(requestText(address, port, path)));
        readStatus(socket, done);
      }),
  };
}

type Done = (failure?: Error) => void;

function open(address: string, port: number, signal: AbortSignal, talk: (socket: Socket, done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const socket = connect({ host: address, port, noDelay: true });
    const onAbort = () => socket.destroy(signal.reason as Error);
    const done: Done = (failure) => {
      signal.removeEventListener('abort', onAbort);
      if (failure) {
        socket.destroy();
        reject(failure);
      } else {
        resolve();
      }
    };
    signal.addEventListener('abort', onAbort, { once: true });
    // Stays for the socket's life: what comes after the result does not matter, but must not be unhandled.
    socket.on('error', (error) => done(error));
    socket.once('close', () => done(new Error('connection closed without an answer')));
    talk(socket, done);
  });
}

function requestText(address: string, port: number, path: string): string {
  const whole = path.startsWith('/') ? path : `/${path}`;
  // Blanks and control characters would end the request line.
  const target = whole.replace(/[^!-~\u0080-\uffff]/g, (character) => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return `GET ${target} HTTP/1.1\r\nHost: ${address}:${port}\r\nUser-Agent: gantry-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n`;
}

function readStatus(socket: Socket, done: Done): void {
  let head = '';
  let drained = 0;
  let answered = false;
  socket.on('data', (chunk) => {
    if (answered) {
      drained += chunk.length;
      if (drained > maxDrained) socket.destroy();
      return;
    }
    head += chunk.toString('latin1').slice(0, maxHead);
    if (!head.includes('\n') && head.length < maxHead) return;
    answered = true;
    socket.setTimeout(1000, () => socket.destroy());
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) done(new Error('answer is not HTTP'));
    else if (status >= 200 && status < 400) done();
    else done(new Error(`status ${status}`));
  });
}
