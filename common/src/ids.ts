import { randomBytes } from 'node:crypto';
import { uuidv7 } from 'uuidv7';

/** A time-ordered unique id, for requests, events and operations. */
export function newId(): string {
  return uuidv7();
}

/** A short id for a container: 12 hex digits from 48 random bits. */
export function newContainerId(): string {
  return randomBytes(6).toString('hex');
}

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Whether a name may be a DNS label: lower case, digits, inner hyphens, at most 63 characters. */
export function isName(text: string): boolean {
  return label.test(text);
}
