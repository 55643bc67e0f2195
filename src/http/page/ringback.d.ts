/** The client of a ringback server, for browsers and for Node 20 and later. */

/** Why there is no job, or no result. */
export class RingbackError extends Error {
  readonly name: "RingbackError";
  /**
   * A stable word: the `code` of the server's problem (`queue_full`, `body_too_large`, `unknown_job` …)
   * or of the failed job, `canceled`, or of this client: `unreachable` (there was no answer),
   * `not_ringback` (there was one that is not understood).
   */
  readonly code: string;
  /** What happened and what to do, for a person; also the `message`. */
  readonly detail: string;
  /** The status of the answer; undefined where there was none, and for a job that failed. */
  readonly status?: number;
  /** Seconds after which the server says to come again. */
  readonly retryAfter?: number;
  /** The job that failed or was canceled. */
  readonly job?: Job;
}

export type State = "queued" | "running" | "succeeded" | "failed" | "canceled";

/** A job as the server shows it. What does not apply is left out. Times are RFC 3339, in UTC. */
export interface Job<Data = unknown> {
  id: string;
  task: string;
  state: State;
  /** Its place in the queue, counted from 1. */
  position?: number;
  /** Seconds until it will have ended, as an estimate. */
  eta_s?: number;
  /** From 0 to 1. */
  progress?: number;
  /** Which attempt it is in, counted from 1; 0 before the first. */
  attempt: number;
  created_at: string;
  started_at?: string;
  finished_at?: string;
  /** When the server forgets it. */
  expires_at?: string;
  parameters?: Record<string, string[]>;
  input: { name?: string; type?: string; bytes: number; sha256: string; duration_s?: number };
  /** What it gave: of `transcribe` the text. */
  data?: Data;
  error?: { code: string; message: string };
  /** How the result falls short of the file; left out where it does not. */
  warnings?: Warning[];
  callback?: {
    url: string;
    state: "pending" | "delivered" | "dead";
    attempts: number;
    next_attempt_at?: string;
    last_error?: string;
  };
}

export interface Warning {
  /** A stable word, such as `undecodable_part` or `repeated_text`. */
  code: string;
  /** One sentence for a person. */
  message: string;
  /** The position in the file, in seconds. */
  at_s?: number;
}

export interface Options {
  /** Ends the waiting; the promise is rejected with the signal's reason. The job goes on. */
  signal?: AbortSignal;
}

export interface Persistence extends Options {
  /** Told why a try failed, and in how many seconds the next one begins. */
  onRetry?: (error: RingbackError, seconds: number) => void;
}

/** Parameters of the task, and `task`, `callback`, `coalesce`. A list is sent as several fields. */
export type Params = Record<string, string | number | boolean | readonly (string | number | boolean)[]>;

export class Ringback {
  /**
   * Without a `url` it is the server that this module came from. The `key` is needed where the
   * server asks for one.
   */
  constructor(options?: { url?: string | URL; key?: string });

  /**
   * Hands over a file; the promise is kept when the server has stored it. A lost connection and a
   * server that is full for now are tried again, five times in all, under one Idempotency-Key: one
   * submit is one job at most.
   */
  submit(
    file: Blob,
    params?: Params,
    options?: Persistence & {
      /** Told how much has been sent, from 0 to 1. In Node at the end alone. */
      onUpload?: (part: number) => void;
    },
  ): Promise<Job>;

  /**
   * Waits for a job's end, through lost connections and restarts of the server; after ten minutes of
   * failures it gives up. Rejected with a RingbackError when the job failed, was canceled or is not
   * known (any more). Works as well in another page load, with the id alone.
   */
  result<Data = unknown>(
    job: Job | string,
    options?: Persistence & {
      /** Told of the job as it stands, where that has changed: every second near its end, else less often. */
      onUpdate?: (job: Job<Data>) => void;
    },
  ): Promise<Job<Data>>;

  /** A job as it stands. */
  job(job: Job | string, options?: Options): Promise<Job>;

  /** Jobs, newest first, 20 or up to 100. */
  list(query?: { state?: State; limit?: number; after?: string }, options?: Options): Promise<Job[]>;

  /** What a succeeded job gave, as it is, or in another of the task's formats: `srt`, `vtt` … */
  output(job: Job | string, format?: string, options?: Options): Promise<Blob>;

  /** Cancels a job that has not ended; forgets one that has. */
  cancel(job: Job | string, options?: Options): Promise<void>;
}
