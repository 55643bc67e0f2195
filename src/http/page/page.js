import { Ringback, RingbackError } from "./ringback.js";

/** What this browser has sent is remembered under these names; so many jobs at most. */
const JOBS = "ringback-jobs", KEY = "ringback-key", REMEMBERED = 20;
/** The longest name that is shown, in characters, and the most segments that get a button each. */
const SHOWN_MAX = 160, SEGMENTS_MAX = 2000;
/** Files that are sent at once; further ones wait for their turn. */
const UPLOADS = 3;

const $ = (id) => document.getElementById(id);
const listed = $("jobs");
const cards = new Set();
let rb = new Ringback();

/** An element. What strangers named comes in as text, never as markup. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A button that says what it does, and to whom it is read out also of what. */
function button(text, what, onclick) {
  const made = make("button", { type: "button", onclick }, text);
  made.setAttribute("aria-label", `${text}: ${what}`);
  return made;
}

function clock(seconds) {
  const whole = Math.floor(seconds), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function roughly(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function size(bytes) {
  const units = ["B", "KB", "MB", "GB"];
  const unit = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 3);
  const number = bytes / 1000 ** unit;
  return `${number.toFixed(unit && number < 10 ? 1 : 0)} ${units[unit]}`;
}

/** What this browser keeps. It may refuse to; then the page works for as long as it is open. */
const kept = {
  get(name) {
    try {
      return localStorage.getItem(name) ?? "";
    } catch {
      return "";
    }
  },
  set(name, text) {
    try {
      localStorage.setItem(name, text);
    } catch {
      // Private windows and full disks: nothing is kept.
    }
  },
  jobs() {
    try {
      return JSON.parse(kept.get(JOBS)).filter((job) => typeof job.id === "string");
    } catch {
      return [];
    }
  },
  /** Puts these jobs before the others, and leaves `id` out of those. */
  place(id, ...first) {
    const others = kept.jobs().filter((job) => job.id !== id);
    kept.set(JOBS, JSON.stringify([...first, ...others].slice(0, REMEMBERED)));
  },
  remember: (id, name) => kept.place(id, { id, name }),
  forget: (id) => kept.place(id),
};

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

/** Says it to those who do not see the page. */
function speak(text) {
  $("spoken").textContent = text;
}

/** What happened, and what can be done about it, in the words of somebody who looks at a page. */
function told(error) {
  if (!(error instanceof RingbackError)) return `${error.message ?? error} Reload the page, and try again.`;
  const limit = /\d+(?= bytes)/.exec(error.detail);
  switch (error.code) {
    case "unknown_job":
      return "The server does not have this job any more: its time is over, or it was removed. "
        + "Send the file again if you need it.";
    case "body_too_large":
      return `The file is too large${limit ? `: this server takes ${size(Number(limit[0]))} at most` : ""}. `
        + "Send a shorter or more compressed one.";
    case "queue_full":
      return "The queue is full: the server has as much waiting as it takes.";
    case "share_taken":
      return "As many of your jobs wait as may.";
    case "too_many_requests":
      return "Too much is asked of the server from here.";
    case "unauthorized":
      return "The server asks for a key, and was not shown one that it knows. Enter it above, under “API key”.";
    case "canceled":
      return "Canceled.";
    default:
      return error.detail.charAt(0).toUpperCase() + error.detail.slice(1);
  }
}

/** A name without what cannot be seen, such as marks by which `exe.wav` is made to look like `vaw.exe`. */
function shown(name) {
  const visible = name.replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, "").trim() || "file";
  return visible.length > SHOWN_MAX ? `${visible.slice(0, SHOWN_MAX)}…` : visible;
}

/** One job on the page, from its upload to its result. */
class Card {
  constructor(name, file) {
    this.name = shown(name);
    this.file = file;
    this.stop = new AbortController();
    this.title = make("h3", { tabIndex: -1 }, make("bdi", {}, this.name));
    this.state = make("p", { className: "state" });
    this.bar = make("progress", { max: 1 });
    this.bar.setAttribute("aria-label", `Progress: ${this.name}`);
    this.result = make("div");
    this.actions = make("div", { className: "actions" });
    this.element = make("li", {}, this.title, this.state, this.bar, this.result, this.actions);
    cards.add(this);
    $("empty").hidden = true;
  }

  say(text, state = "") {
    this.state.className = `state ${state}`;
    if (this.state.textContent !== text) this.state.textContent = text;
  }

  /** Puts other buttons there. Whoever stood on one of the old is left beside them, not nowhere. */
  offer(...buttons) {
    const held = this.actions.contains(document.activeElement);
    this.actions.replaceChildren(...buttons);
    if (held) this.title.focus();
  }

  /** Sends the file to the server, then follows its job. */
  async send(params) {
    this.params = params;
    this.retry = () => this.send(params);
    // The job it may have been before is done with.
    if (this.id) kept.forget(this.id);
    this.id = undefined;
    this.begin();
    this.say("Waits for the files before it");
    this.offer(button("Cancel", this.name, () => this.remove()));
    try {
      const job = await turn(() => rb.submit(this.file, params, {
        signal: this.stop.signal,
        onUpload: (part) => this.uploaded(part),
        onRetry: (error, seconds) => this.pause(error, seconds),
      }), this.stop.signal);
      kept.remember(job.id, this.name);
      speak(`${this.name}: sent`);
      await this.follow(job.id);
    } catch (error) {
      this.fail(error);
    }
  }

  uploaded(part) {
    this.bar.value = part;
    const all = size(this.file.size);
    this.say(part < 1 ? `Uploading: ${Math.floor(part * 100)} % of ${all}` : `Uploaded ${all}; the server stores it`);
  }

  async follow(id) {
    this.id = id;
    this.retry = () => this.follow(id);
    this.begin();
    this.offer(button("Cancel", this.name, () => this.cancel()));
    try {
      const done = await rb.result(id, {
        signal: this.stop.signal,
        onUpdate: (job) => this.update(job),
        onRetry: (error, seconds) => this.pause(error, seconds),
      });
      await this.finish(done);
    } catch (error) {
      this.fail(error);
    }
  }

  begin() {
    this.failure = undefined;
    this.bar.hidden = false;
    this.bar.removeAttribute("value");
  }

  update(job) {
    const left = job.eta_s === undefined ? "" : `, about ${roughly(job.eta_s)} left`;
    const progress = job.state === "running" && job.progress;
    if (progress) this.bar.value = progress;
    else this.bar.removeAttribute("value");
    if (job.state === "queued") this.say(`Waiting: place ${job.position ?? "?"} in the queue${left}`);
    if (job.state === "running") this.say(`Working${progress ? `: ${Math.floor(progress * 100)} %` : ""}${left}`);
  }

  pause(error, seconds) {
    this.bar.removeAttribute("value");
    this.say(`${told(error)} Trying again in ${roughly(seconds)}.`, "failed");
  }

  async cancel() {
    try {
      await rb.cancel(this.id);
    } catch (error) {
      this.say(`It could not be canceled. ${told(error)}`, "failed");
    }
  }

  /** Ends with a reason, and with what can be done about it. */
  fail(error) {
    if (this.stop.signal.aborted) return;
    this.failure = error;
    this.bar.hidden = true;
    const { code, job, status } = error;
    const text = told(error) + (status === 429 || status >= 500 ? " Try again in a while." : "");
    this.say(text, code === "canceled" ? "" : "failed");
    speak(`${this.name}: ${text}`);
    if (code === "unknown_job") kept.forget(this.id);
    if (code === "unauthorized") askForKey();
    const offered = [];
    if (!job && code !== "unknown_job") offered.push(button("Try again", this.name, () => this.retry()));
    else if (this.file) offered.push(button("Send again", this.name, () => this.send(this.params)));
    this.offer(...offered, this.away());
  }

  async finish(job) {
    this.bar.hidden = true;
    const took = (new Date(job.finished_at) - new Date(job.created_at)) / 1000;
    const length = job.input?.duration_s;
    const of = length ? `${clock(length)} of sound` : size(job.input?.bytes ?? 0);
    this.say(`Done: ${of}${took >= 0 ? `, ${roughly(took)} after it was sent` : ""}`, "succeeded");
    speak(`${this.name}: done${job.warnings?.length ? ", with warnings" : ""}`);
    const formats = await this.show(job);
    const saves = formats.map(([format, extension]) => {
      return button(`Save as ${extension}`, this.name, () => this.save(format, extension));
    });
    const offered = this.text !== undefined && navigator.clipboard
      ? [button("Copy", this.name, (event) => this.copy(event.currentTarget))] : [];
    if (this.result.querySelector("span.time")) offered.push(this.listen(job));
    this.offer(...offered, ...saves, this.away());
  }

  away() {
    const made = button("Remove", this.name, () => this.remove());
    made.className = "away";
    return made;
  }

  /** After a reload the recording is with whoever sent it alone, who can choose it again. */
  listen(job) {
    const input = make("input", { type: "file" });
    input.addEventListener("change", () => {
      [this.file] = input.files;
      this.finish(job);
    });
    return button("Listen along", `choose the recording ${this.name}`, () => input.click());
  }

  async copy(pressed) {
    try {
      await navigator.clipboard.writeText(this.text);
      pressed.firstChild.data = "Copied";
      speak("Copied");
      setTimeout(() => { pressed.firstChild.data = "Copy"; }, 2000);
    } catch (error) {
      notice(`It could not be copied (${error.message}). Mark the text, and copy it as any other.`);
    }
  }

  async save(format, extension) {
    try {
      const url = URL.createObjectURL(await rb.output(this.id, format));
      make("a", { href: url, download: `${this.name.replace(/\.[^.]*$/, "")}.${extension}` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      notice(`${this.name} could not be saved. ${told(error)}`);
    }
  }

  /** Shows what the job gave; returns what it can be saved as. */
  async show(job) {
    const { data } = job;
    this.result.replaceChildren(...this.warnings(job));
    if (typeof data !== "string") {
      const isFile = typeof data?.bytes === "number" && typeof data.name === "string";
      if (isFile) return [[undefined, data.name.split(".").pop() || "file"]];
      this.put(make("div", { className: "output code" }, JSON.stringify(data, null, 2) ?? ""));
      return [[undefined, "json"]];
    }
    const segments = job.task === "transcribe" ? await this.segments() : undefined;
    const output = make("div", { className: "output", dir: "auto" });
    if (segments?.length && segments.length <= SEGMENTS_MAX) this.timed(output, segments);
    else output.textContent = data || "Nothing was heard.";
    this.text = data;
    this.put(output);
    return [[undefined, "txt"], ...(segments ? [["srt", "srt"], ["vtt", "vtt"]] : [])];
  }

  /** How the result falls short of the file, as a list that stands before it. */
  warnings({ warnings }) {
    if (!Array.isArray(warnings) || !warnings.length) return [];
    const lines = warnings.map(({ message, at_s: at }) => {
      const time = at >= 0 ? [make("span", { className: "at" }, clock(at)), " "] : [];
      return make("li", {}, ...time, make("bdi", {}, String(message)));
    });
    const list = make("ul", { className: "warnings" }, ...lines);
    list.setAttribute("aria-label", `Warnings: ${this.name}`);
    return [list];
  }

  /** What was said when, as far as the server tells. */
  async segments() {
    try {
      const { segments } = JSON.parse(await (await rb.output(this.id, "verbose_json")).text());
      const isOne = ({ start, end, text }) => start >= 0 && end >= start && typeof text === "string";
      return segments.every(isOne) ? segments : undefined;
    } catch {
      // The text alone is worth showing.
      return undefined;
    }
  }

  put(output) {
    output.tabIndex = 0;
    output.setAttribute("role", "region");
    output.setAttribute("aria-label", `Result: ${this.name}`);
    this.result.append(output);
  }

  /** A line for each segment; where the recording is at hand its time leads there. */
  timed(output, segments) {
    const audio = this.file && this.player();
    const lines = segments.map(({ start, text }) => {
      const play = () => {
        audio.currentTime = start;
        // Where the browser cannot play it the player says so.
        audio.play().catch(() => {});
      };
      const time = audio ? button(clock(start), "play from here", play) : make("span", {}, clock(start));
      time.classList.add("time");
      return make("p", {}, time, make("span", { dir: "auto" }, text.trim()));
    });
    output.append(...lines);
    audio?.addEventListener("timeupdate", () => {
      const now = segments.findLastIndex(({ start }) => audio.currentTime >= start);
      lines.forEach((line, n) => line.classList.toggle("now", n === now && !audio.ended));
    });
  }

  player() {
    this.recording = URL.createObjectURL(this.file);
    const audio = make("audio", { controls: true, src: this.recording });
    audio.setAttribute("aria-label", `Recording: ${this.name}`);
    this.result.append(audio);
    return audio;
  }

  remove() {
    this.stop.abort();
    if (this.id) kept.forget(this.id);
    if (this.recording) URL.revokeObjectURL(this.recording);
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling;
    this.element.remove();
    cards.delete(this);
    $("empty").hidden = cards.size > 0;
    (next?.querySelector("h3") ?? $("file")).focus();
    speak(`${this.name}: removed`);
  }
}

/** Runs `upload` when fewer than `UPLOADS` others run; they begin in the order in which they came. */
async function turn(upload, signal) {
  while (turn.running >= UPLOADS) await new Promise((resolve) => turn.waiting.push(resolve));
  turn.running += 1;
  try {
    signal.throwIfAborted();
    return await upload();
  } finally {
    turn.running -= 1;
    turn.waiting.shift()?.();
  }
}
turn.running = 0;
turn.waiting = [];

function submit(files) {
  notice("");
  const task = $("task").value;
  const language = $("language-row").hidden ? "" : $("language").value.trim();
  for (const file of files) {
    const card = new Card(file.name || "recording", file);
    listed.prepend(card.element);
    card.send({ task: task || undefined, language: language || undefined });
  }
}

function listenForFiles() {
  const drop = $("drop");
  $("form").addEventListener("submit", (event) => event.preventDefault());
  $("file").addEventListener("change", () => {
    submit([...$("file").files]);
    // So that the same file can be chosen again.
    $("file").value = "";
  });
  for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    // Dropped beside the place for it, a file must not take the page's own place.
    addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over && event.dataTransfer.types.includes("Files"));
    });
  }
  addEventListener("drop", (event) => submit([...event.dataTransfer.files]));
}

/** What the server has goes on without the page; what it has not yet is asked about. */
function guardUploads() {
  addEventListener("beforeunload", (event) => {
    if ([...cards].some(({ id, failure }) => !id && !failure)) event.preventDefault();
  });
}

function askForKey() {
  $("key-row").open = true;
  // Whoever types elsewhere is not interrupted.
  if (document.activeElement?.tagName !== "INPUT" || document.activeElement === $("file")) $("key").focus();
}

function listenForKey() {
  const input = $("key");
  const use = (key) => { rb = new Ringback({ key: key || undefined }); };
  input.value = kept.get(KEY);
  use(input.value);
  input.addEventListener("change", () => {
    const key = input.value.trim();
    if (/[^!-~]/.test(key)) {
      notice("That is not a key: keys are letters, digits and signs of ASCII, without spaces.");
      return;
    }
    notice("");
    kept.set(KEY, key);
    use(key);
    for (const card of cards) if (card.failure?.code === "unauthorized") card.retry();
  });
}

/** Offers the microphone where the browser has one to give (on https and localhost). */
function offerRecording() {
  const record = $("record");
  if (!navigator.mediaDevices?.getUserMedia || !globalThis.MediaRecorder) return;
  record.hidden = false;
  let recorder, ticking;
  const show = (since) => {
    const seconds = since && (Date.now() - since) / 1000;
    $("record-text").textContent = since ? `Stop and send (${clock(seconds)})` : "Record";
    record.setAttribute("aria-pressed", since !== undefined);
  };
  const start = (stream) => {
    const pieces = [], since = Date.now();
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = ({ data }) => pieces.push(data);
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      clearInterval(ticking);
      const [type] = recorder.mimeType.split(";");
      recorder = undefined;
      show();
      const time = new Date(since).toTimeString().slice(0, 8).replaceAll(":", "-");
      submit([new File(pieces, `recording ${time}.${type.split("/").pop()}`, { type })]);
    };
    recorder.start(1000);
    show(since);
    ticking = setInterval(show, 1000, since);
  };
  show();
  record.addEventListener("click", async () => {
    if (recorder) {
      if (recorder.state === "recording") recorder.stop();
      return;
    }
    notice("");
    record.disabled = true;
    try {
      start(await navigator.mediaDevices.getUserMedia({ audio: true }));
    } catch (error) {
      recorder = undefined;
      notice(`The microphone cannot be used (${error.message}). Allow it for this page, or choose a file.`);
    } finally {
      record.disabled = false;
      record.focus();
    }
  });
}

function offerTasks() {
  const update = () => {
    $("language-row").hidden = $("task").value !== "transcribe";
  };
  $("task-row").hidden = $("task").options.length < 2;
  $("task").addEventListener("change", update);
  update();
}

function resume() {
  for (const { id, name } of kept.jobs()) {
    const card = new Card(String(name));
    listed.append(card.element);
    card.follow(id);
  }
}

listenForKey();
listenForFiles();
guardUploads();
offerTasks();
offerRecording();
resume();
