/** gRPC status codes that Gantry uses, by name. */
export const Code = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;
export type Code = (typeof Code)[keyof typeof Code];

/** What accompanies a message: who or what it is about, where, and what to do next. */
export interface ErrorDetails {
  /** "service/web" or the manifest's "services.web.image". */
  subject?: string;
  file?: string;
  /** Counted from 1. */
  line?: number;
  /** Counted from 1. */
  column?: number;
  /** The next step for the reader. */
  hint?: string;
  /** When to try again, for retryable errors. */
  retryAfterMs?: number;
}

export interface GantryErrorOptions {
  cause?: unknown;
  details?: ErrorDetails;
  /** Whether the same call may succeed later unchanged; default: only `unavailable` and `aborted`. */
  retryable?: boolean;
}

/**
 * The one error class of Gantry. The message has the form
 * `cannot <act> "<value>": <what must hold>, found <x>`.
 */
export class GantryError extends Error {
  override readonly name = 'GantryError';
  readonly code: Code;
  readonly details: ErrorDetails;
  readonly retryable: boolean;

  constructor(code: Code, message: string, options: GantryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
    this.retryable = options.retryable ?? (code === Code.unavailable || code === Code.aborted);
  }

  /** Turns whatever was thrown into a GantryError; one that is one already is returned as it is. */
  static from(thrown: unknown, code: Code = Code.internal): GantryError {
    if (thrown instanceof GantryError) return thrown;
    if (thrown instanceof Error) {
      if (thrown.name === 'AbortError') return new GantryError(Code.cancelled, 'cancelled', { cause: thrown });
      return new GantryError(code, thrown.message, { cause: thrown });
    }
    return new GantryError(code, String(thrown));
  }
}

/** The message with the next step appended, as a log line or a terminal shows it. */
export function errorText(error: GantryError): string {
  const { file, line, column, hint } = error.details;
  const place = file === undefined ? '' : `${file}:${line ?? 1}:${column ?? 1}: `;
  return `${place}${error.message}${hint === undefined ? '' : ` (${hint})`}`;
}
