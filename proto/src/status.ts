import { Code, type ErrorDetails, GantryError } from '@gantry/common';
import { Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js';

const detailsKey = 'gantry-error-bin';

/** A status that carries the error's details in the trailer `gantry-error-bin` (JSON). */
export function toStatus(thrown: unknown): StatusObject {
  const error = GantryError.from(thrown);
  const metadata = new Metadata();
  metadata.set(detailsKey, Buffer.from(JSON.stringify({ ...error.details, retryable: error.retryable })));
  return { code: error.code, details: error.message, metadata };
}

/** The GantryError behind a failed call; transport faults become `unavailable`. */
export function fromStatus(thrown: unknown): GantryError {
  if (thrown instanceof GantryError) return thrown;
  const error = thrown as Partial<ServiceError>;
  if (typeof error.code !== 'number') return GantryError.from(thrown);
  const { retryable, ...details } = readDetails(error.metadata);
  // resets and broken transports surface as INTERNAL with a stream error: the call may be tried again
  const transport = error.code === Code.internal && /RST_STREAM|stream/i.test(error.details ?? '');
  const code = transport ? Code.unavailable : (error.code as Code);
  return new GantryError(code, error.details ?? 'the call failed', {
    cause: thrown,
    details,
    ...(retryable === undefined ? {} : { retryable }),
  });
}

function readDetails(metadata: Metadata | undefined): ErrorDetails & { retryable?: boolean } {
  const value = metadata?.get(detailsKey)[0];
  if (!Buffer.isBuffer(value)) return {};
  try {
    return JSON.parse(value.toString('utf8')) as ErrorDetails & { retryable?: boolean };
  } catch {
    // details of a peer that is not ours: the message alone must do
    return {};
  }
}
