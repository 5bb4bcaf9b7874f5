import type { Resources as OciResources } from './oci.ts';

/** Where one container's files lie; made by `containerPaths`. */
export interface ContainerPaths {
  readonly id: string;
  /** The OCI bundle, config.json with the /etc files and the agent's record; gone after a reboot. */
  readonly bundle: string;
  /** What is on disk: upper/, work/, state/. */
  readonly data: string;
  /** An empty folder that all containers share: each mounts its root there, where only it sees it. */
  readonly rootfs: string;
  /** Folder of the container's monitor: log files, exit record, socket. It outlives the container for its logs. */
  readonly state: string;
}

/** A main process that was started. */
export interface Run {
  pid: number;
  /** Field 22 of /proc/PID/stat: with the pid it names the process for ever. */
  startTime: string;
  startedAtUs: number;
}

/** How a main process ended. */
export interface Exit {
  /** 128 + signal when a signal ended it; 255 when nobody knows. */
  exitCode: number;
  signal: number;
  oomKilled: boolean;
  startedAtUs: number;
  exitedAtUs: number;
  /** The monitor vanished, so that the end was found, not seen. */
  lost: boolean;
}

/** A container that runs; `exited` resolves once, also for a container that was adopted. */
export interface Running {
  run: Run;
  exited: Promise<Exit>;
}

/** What is left of a container that an earlier process started. */
export type Found = { kind: 'running'; running: Running } | { kind: 'exited'; exit: Exit } | { kind: 'nothing' };

export interface StartOptions {
  /** Size at which a log file is rotated, bytes; 0 is the monitor's default. */
  logMaxBytes: number;
  /** Log files kept; 0 is the monitor's default. */
  logMaxFiles: number;
}

export interface ExecRequest {
  args: readonly string[];
  /** Added to the container's own environment. */
  environment: Readonly<Record<string, string>>;
  /** As in a Compose file, "uid:gid" or names of the image; empty for the container's own user. */
  user: string;
  /** Empty for the container's own. */
  workingDir: string;
  tty: boolean;
  /** Whether bytes will be written to its standard input. */
  stdin: boolean;
  rows: number;
  columns: number;
}

export interface ExecChunk {
  stream: 'stdout' | 'stderr';
  data: Uint8Array;
}

/** One more process in a container; leaving it (`close`) hangs it up. */
export interface ExecSession {
  readonly pid: number;
  /** What it writes, in order; one reader, at the reader's pace. Ends with the process. */
  readonly output: AsyncIterable<ExecChunk>;
  /** Its exit code; rejects with `unavailable` when the connection broke before the end. */
  readonly exitCode: Promise<number>;
  /** Resolves when the bytes were taken over. */
  write(data: Uint8Array): Promise<void>;
  closeInput(): void;
  resize(rows: number, columns: number): void;
  signal(signal: number): void;
  close(): void;
}

/** Runs containers; everything it starts outlives this process. */
export interface Runtime {
  /** Starts what the bundle describes. Either it runs or nothing of it is left. */
  start(paths: ContainerPaths, options: StartOptions): Promise<Running>;
  /** Finds again what was started before, alive or ended. */
  find(paths: ContainerPaths): Promise<Found>;
  /** Signals the main process; a container that has ended is not an error. */
  signal(paths: ContainerPaths, signal: number): Promise<void>;
  /** Kills every process of the container; one that has ended is not an error. */
  kill(paths: ContainerPaths): Promise<void>;
  /** Ends a container whose monitor does not do its work any more, monitor included; its exit counts as lost. */
  abandon(paths: ContainerPaths): Promise<void>;
  /** @throws GantryError notFound when the container does not run. */
  exec(paths: ContainerPaths, request: ExecRequest): Promise<ExecSession>;
  /** Changes limits in place. */
  update(paths: ContainerPaths, resources: OciResources): Promise<void>;
  /** Removes processes, cgroups and runtime state, whatever is left of them; files of the bundle stay. */
  delete(paths: ContainerPaths): Promise<void>;
  /** Lets go of all connections; containers go on. */
  close(): void;
}
