import type { Clock, Logger } from '@gantry/common';
import type { Assignments, Command, Connection, EndpointMap, Goodbye, Hello, Inventory, NetworkMap, Report, Welcome } from '@gantry/proto';
import type { Link } from './link.ts';
import type { Outbox } from './outbox.ts';

/** What the session hands on, and where it gets what it sends. */
export interface SessionPorts {
  clock: Clock;
  log: Logger;
  /** 0..1. */
  random: () => number;
  /** "host:port", tried in turn. */
  addresses: readonly string[];
  /** Prepares a connection with the node's present certificate. */
  connect: (address: string) => Connection;
  hello: () => Hello;
  outbox: Outbox;
  link: Link;
  report: () => Report;
  onWelcome: (welcome: Welcome) => Promise<void>;
  onAssignments: (assignments: Assignments) => void;
  onNetwork: (map: NetworkMap) => Promise<void>;
  onEndpoints: (map: EndpointMap) => Promise<void>;
  /** Streams that the command asks for run on the connection and end with the signal. */
  onCommand: (command: Command, session: CommandContext) => void;
  onGoodbye: (goodbye: Goodbye) => void;
  /** Told at every end of a session or attempt, for the log and for readiness. */
  onState?: (kind: string) => void;
}

/** What a command needs of the session that brought it. */
export interface CommandContext {
  connection: Connection;
  signal: AbortSignal;
  /** Answers an inventory command. */
  inventory: (inventory: Inventory) => void;
  /** Sends a report now and each second for ten seconds. */
  reportNow: () => void;
}
