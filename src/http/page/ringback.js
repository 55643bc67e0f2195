// ringback in the browser, and in Node 20 and later: hand over slow work, get told when it is done.
// No dependencies. The types, and what everything means, are in ringback.d.ts.

/** Why there is no job, or no result: `code` is stable, `detail` says what to do. */
export class RingbackError extends Error {
  constructor({ code, detail, status, retryAfter, job, cause }) {
    super(detail, { cause });
    Object.assign(this, { name: "RingbackError", code, detail, status, retryAfter, job });
  }
}

/** Tries of one submit, and milliseconds of failures in a row after which a result is given up. */
const TRIES = 5, PATIENCE = 600_000;
/** Seconds that a poll waits for the job's end; with somebody to tell of its progress so many at least. */
const UNWATCHED = 25, WATCHED = 1;
/** Milliseconds after its time in which an answer to a poll may still come. */
const OVERDUE = 20_000;
/** The longest rest that a server can ask for, in seconds. */
const REST_MAX = 300;
/** The longest name that a file is sent under, in characters. */
const NAME_MAX = 200;
const UNREACHABLE = "The server cannot be reached. Is it running, and the network up?";

export class Ringback {
  #url; #key;

  constructor({ url = ".", key } = {}) {
    const { href, protocol } = new URL(url, import.meta.url);
    if (!/^https?:$/.test(protocol)) throw new TypeError(`A server has an http or https url, not ${href}`);
    this.#url = href.replace(/\/+$/, "");
    this.#key = key;
  }

  async submit(file, params = {}, { signal, onUpload, onRetry } = {}) {
    const body = new FormData();
    for (const [name, value] of Object.entries(params)) {
      for (const one of [value].flat()) if (one != null) body.append(name, one);
    }
    // The end of a name says more than its beginning, and no server takes a name without end.
    body.append("file", file, (file.name || "file").slice(-NAME_MAX));
    // One key for all tries: a job that was stored, though the answer was lost, is found again.
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const key = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const headers = { "Idempotency-Key": `"${key}"` };
    for (let tried = 1; ; tried += 1) {
      try {
        return jobIn(await this.#ask("POST", "/jobs", { body, headers, signal, onUpload }));
      } catch (error) {
        if (tried === TRIES || !passes(error)) throw error;
        const rest = pause(tried, error);
        onRetry?.(error, rest / 1000);
        await sleep(rest, signal);
      }
    }
  }

  async result(job, { signal, onUpdate, onRetry } = {}) {
    let wait = onUpdate ? WATCHED : UNWATCHED;
    let etag, failures = 0, since, rest;
    for (;;) {
      const asked = Date.now();
      try {
        const headers = etag ? { "If-None-Match": etag } : {};
        const options = { headers, signal, within: wait * 1000 + OVERDUE };
        const answer = await this.#ask("GET", `${path(job)}?wait=${wait}`, options);
        failures = 0;
        if (answer.status !== 304) {
          const shown = jobIn(answer);
          etag = answer.header("ETag");
          onUpdate?.(shown);
          if (shown.state === "succeeded") return shown;
          if (ENDED[shown.state]) throw new RingbackError({ ...ENDED[shown.state](shown), job: shown });
        }
        // A server that has no place for one more who waits answers at once.
        const early = Date.now() - asked < wait * 500;
        rest = early ? 1000 * (onUpdate ? wait : answer.retryAfter ?? wait) : 0;
        // Who is far from the end is told of the way less often.
        if (onUpdate) wait = Math.ceil(Math.min(Math.max(WATCHED, (answer.retryAfter ?? 0) / 30), UNWATCHED));
      } catch (error) {
        since = failures ? since : asked;
        if (!passes(error) || Date.now() - since > PATIENCE) throw error;
        rest = pause((failures += 1), error);
        // Whoever is told of the failure is told of the job again, changed or not.
        etag = undefined;
        onRetry?.(error, rest / 1000);
      }
      await sleep(rest, signal);
    }
  }

  async job(job, options) {
    return jobIn(await this.#ask("GET", path(job), options));
  }

  async list(query = {}, options) {
    const answer = await this.#ask("GET", `/jobs?${new URLSearchParams(query)}`, options);
    return Array.isArray(answer.json?.jobs) ? answer.json.jobs : notRingback(answer);
  }

  async output(job, format, options) {
    const query = format ? `?${new URLSearchParams({ format })}` : "";
    return (await this.#ask("GET", `${path(job)}/result${query}`, { ...options, raw: true })).content;
  }

  async cancel(job, options) {
    await this.#ask("DELETE", path(job), options);
  }

  /** One request and its answer; what is none, or a refusal, is thrown. */
  async #ask(method, path, { body, headers, signal, onUpload, within, raw } = {}) {
    const stop = new AbortController();
    const end = () => stop.abort(signal.reason);
    const timer = within && setTimeout(() => stop.abort(new Error("no answer in time")), within);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", end);
    const request = { method, body, headers: { ...headers }, signal: stop.signal, cache: "no-store" };
    if (this.#key) request.headers.Authorization = `Bearer ${this.#key}`;
    const send = onUpload && globalThis.XMLHttpRequest ? sendTelling : sendPlain;
    let answer;
    try {
      answer = await send(this.#url + path, request, onUpload);
    } catch (cause) {
      signal?.throwIfAborted();
      throw new RingbackError({ code: "unreachable", detail: UNREACHABLE, cause });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
    }
    const { status, header, content } = answer;
    answer.retryAfter = Number.parseInt(header("Retry-After"), 10) || undefined;
    if (raw && status < 300) return answer;
    answer.json = parsed(await content.text());
    if (status < 300 || status === 304) return answer;
    const { code, detail } = answer.json ?? {};
    if (typeof code !== "string" || typeof detail !== "string") notRingback(answer);
    throw new RingbackError({ code, detail, status, retryAfter: answer.retryAfter });
  }
}

async function sendPlain(url, request, onUpload) {
  const answer = await fetch(url, request);
  onUpload?.(1);
  return { status: answer.status, header: (name) => answer.headers.get(name), content: await answer.blob() };
}

/** As `sendPlain`; `fetch` cannot say how much of a body has gone. */
function sendTelling(url, { method, body, headers, signal }, onUpload) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    Object.entries(headers).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.responseType = "blob";
    request.upload.onprogress = ({ loaded, total }) => onUpload(total ? loaded / total : 1);
    const header = (name) => request.getResponseHeader(name);
    request.onload = () => resolve({ status: request.status, header, content: request.response });
    request.onerror = request.onabort = () => reject(new TypeError("the connection was lost"));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

const path = (job) => `/jobs/${encodeURIComponent(job.id ?? job)}`;

/** What is wrong with a job that ended otherwise than it should. */
const ENDED = {
  failed: ({ error }) => ({ code: error?.code ?? "failed", detail: error?.message ?? "The job failed." }),
  canceled: () => ({ code: "canceled", detail: "The job was canceled." }),
};
const STATES = ["queued", "running", "succeeded", ...Object.keys(ENDED)];

function jobIn(answer) {
  const { json } = answer;
  return typeof json?.id === "string" && STATES.includes(json.state) ? json : notRingback(answer);
}

function notRingback({ status, retryAfter }) {
  const detail = `Something that is not ringback answered, with status ${status}. Is this the right address?`;
  throw new RingbackError({ code: "not_ringback", detail, status, retryAfter });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether the same request may succeed later. */
const passes = ({ code, status }) => code === "unreachable" || [408, 429].includes(status) || status >= 500;

/** Milliseconds to rest after failures in a row: twice as long each time, and as the server says at least. */
function pause(failures, { retryAfter = 0 }) {
  const seconds = Math.max(Math.min(retryAfter, REST_MAX), Math.min(2 ** failures / 4, 15));
  // Not all clients at once.
  return 1000 * seconds * (1 + Math.random() / 2);
}

const sleep = (ms, signal) => new Promise((resolve, reject) => {
  signal?.throwIfAborted();
  const stop = () => { clearTimeout(timer); reject(signal.reason); };
  const timer = setTimeout(() => { signal?.removeEventListener("abort", stop); resolve(); }, ms);
  signal?.addEventListener("abort", stop, { once: true });
});
