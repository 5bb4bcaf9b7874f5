import { posix } from 'node:path';
import { isDigest } from './digest.ts';
import type { ImageConfig } from './images.ts';
import { parseObject, refusal } from './manifest.ts';

/** A config document: what containers are made with, and what its layers unpack to. */
export interface ParsedConfig {
  config: ImageConfig;
  /** Digests of the uncompressed layers, bottom first. */
  diffIds: readonly string[];
}

const maxItems = 4096;
const maxText = 128 * 1024;

class Reader {
  readonly #subject: string;
  readonly #fields: Record<string, unknown>;

  constructor(subject: string, fields: unknown) {
    this.#subject = subject;
    this.#fields = (typeof fields === 'object' && fields !== null ? fields : {}) as Record<string, unknown>;
  }

  #checked(key: string, value: unknown): string {
    if (typeof value !== 'string') throw refusal(this.#subject, `${key} of its config must be text`);
    if (value.includes('\0') || value.length > maxText) throw refusal(this.#subject, `${key} of its config must be plain text`);
    return value;
  }

  text(key: string): string {
    const value = this.#fields[key];
    return value === undefined || value === null ? '' : this.#checked(key, value);
  }

  texts(key: string): string[] {
    const value = this.#fields[key];
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value) || value.length > maxItems) throw refusal(this.#subject, `${key} of its config must be a list`);
    return value.map((item) => this.#checked(key, item));
  }

  #object(key: string): Record<string, unknown> {
    const value = this.#fields[key];
    if (value === undefined || value === null) return {};
    if (typeof value !== 'object' || Array.isArray(value) || Object.keys(value).length > maxItems) {
      throw refusal(this.#subject, `${key} of its config must be an object`);
    }
    return value as Record<string, unknown>;
  }

  keys(key: string): string[] {
    return Object.keys(this.#object(key)).map((name) => this.#checked(key, name));
  }

  map(key: string): Record<string, string> {
    const entries = Object.entries(this.#object(key)).map(([name, value]) => [name, this.#checked(key, value)] as const);
    return Object.fromEntries(entries);
  }
}

function workingDir(text: string): string {
  return text === '' ? '' : posix.normalize(`/${text}`);
}

/**
 * Reads an image's config.
 * @throws GantryError failedPrecondition when it is malformed.
 */
export function parseConfig(subject: string, bytes: Uint8Array): ParsedConfig {
  const fields = parseObject(subject, bytes);
  const top = new Reader(subject, fields);
  const inner = new Reader(subject, fields.config);
  const diffIds = new Reader(subject, fields.rootfs).texts('diff_ids');
  if (!diffIds.every(isDigest)) throw refusal(subject, 'each diff id must be sha256: and 64 hex digits');
  return {
    diffIds,
    config: {
      entrypoint: inner.texts('Entrypoint'),
      cmd: inner.texts('Cmd'),
      env: inner.texts('Env'),
      workingDir: workingDir(inner.text('WorkingDir')),
      user: inner.text('User'),
      stopSignal: inner.text('StopSignal'),
      labels: inner.map('Labels'),
      exposedPorts: inner.keys('ExposedPorts'),
      volumes: inner.keys('Volumes'),
      architecture: top.text('architecture'),
      os: top.text('os'),
    },
  };
}
