// The teaching view: asks for /queue.json while somebody looks, and puts it into the tables that the
// server has written, and into a drawing of them.

/** Milliseconds between one look and the next, and after one that failed. */
const EVERY = 700, AFTER_FAILURE = 3000;
/** Looks that the line of the past shows; dots, benches and movements that are drawn at most. */
const PAST = 130, DOTS = 60, BENCHES = 32, MOVES = 8;
/** Requests of a burst that are on their way at once. */
const AT_ONCE = 6;
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const depths = [];
let before, timer;

/** Text, and never markup; what has not changed is left alone, for the sake of those who read aloud. */
function put(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

function show(id, text) {
  put($(id), text);
  document.querySelectorAll(`[data-show="${id}"]`).forEach((other) => put(other, text));
}

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const parts = [[Math.floor(s / 86400), "day"], [Math.floor(s / 3600) % 24, "h"], [Math.floor(s / 60) % 60, "m"], [s % 60, "s"]];
  return parts.filter(([n]) => n).slice(0, 2).map(([n, unit]) => `${n}${unit}`).join(" ") || "0s";
}

const asked = (path, options = {}) => {
  const key = localStorage.getItem("ringback-key");
  const headers = key ? { ...options.headers, Authorization: `Bearer ${key}` } : options.headers;
  return fetch(path, { cache: "no-store", ...options, headers });
};

/** Makes or takes away the last children of `parent` until there are `count`. */
function fit(parent, count, make) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(make());
}

function element(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}

function workerRow() {
  const name = element("th");
  name.scope = "row";
  const row = element("tr", name, ...Array.from({ length: 6 }, () => element("td")));
  row.children[4].className = "name";
  return row;
}

const percent = (worker) => (worker.progress === undefined ? "" : `${Math.round(worker.progress * 100)} %`);

function showWorkers({ workers, at }) {
  const rows = $("workers");
  if (rows.querySelector("td[colspan]")) rows.replaceChildren();
  fit(rows, workers.length, workerRow);
  workers.forEach((worker, n) => {
    const { name, state, since, job = "", task = "", attempt = "" } = worker;
    const age = span(new Date(at) - new Date(since));
    [name, state, age, job, task, attempt, percent(worker)].forEach((text, cell) => put(rows.children[n].children[cell], text));
  });
}

function drawWorkers({ workers }) {
  const benches = $("benches");
  fit(benches, Math.min(workers.length, BENCHES), () => {
    const made = element("div", element("i"), element("span"));
    made.className = "bench";
    return made;
  });
  [...benches.children].forEach((bench, n) => {
    const { name, state, task, progress = 0 } = workers[n];
    bench.classList.toggle("working", state === "working");
    bench.firstElementChild.style.width = `${progress * 100}%`;
    put(bench.lastElementChild, state === "working" ? `${name}: ${task}`.slice(0, 60) : name);
  });
}

function drawQueue({ queued, bound }) {
  const dots = $("dots");
  const drawn = Math.min(queued, DOTS);
  dots.querySelector("span")?.remove();
  fit(dots, drawn, () => element("i"));
  if (queued > drawn) dots.append(element("span", `and ${queued - drawn} more`));
  $("fill").style.width = `${(queued / bound) * 100}%`;
  $("drawing").classList.toggle("full", queued >= bound);
  depths.push(queued);
  if (depths.length > PAST) depths.shift();
  const peak = Math.max(...depths);
  const top = Math.min(bound, Math.max(10, peak * 1.25));
  const y = (depth) => 49 - (depth / top) * 48;
  const x = (n) => 240 - (depths.length - 1 - n) * (240 / (PAST - 1));
  $("depth-line").setAttribute("points", depths.map((depth, n) => `${x(n)},${y(depth)}`).join(" "));
  $("bound-line").setAttribute("visibility", top < bound ? "hidden" : "visible");
  put($("peak"), peak);
}

/** Lets `count` dots run along a wire, as many as can be told apart. */
function move(wire, count) {
  if (still.matches || document.hidden) return;
  for (let n = 0; n < Math.min(count, MOVES); n += 1) {
    const dot = element("i");
    dot.style.animationDelay = `${(n * EVERY) / MOVES}ms`;
    dot.addEventListener("animationend", () => dot.remove());
    $(wire).append(dot);
  }
}

function update(now) {
  const { phase, queue, deliveries, rates, totals } = now;
  const next = deliveries.next_attempt_at;
  // What is due and not on its way waits for its host, which has failed too often to be asked now.
  const retry = next ? `in ${span(new Date(next) - new Date(now.at))}` : deliveries.pending > deliveries.in_flight ? "when its host is tried again" : "none";
  const shown = { phase, queued: queue.queued, bound: queue.bound, running: queue.running, waiting: now.waiting, pending: deliveries.pending, "in-flight": deliveries.in_flight, "next-retry": retry };
  Object.entries(shown).forEach(([id, value]) => show(id, value));
  for (const event of ["accepted", "refused", "finished", "delivered"]) {
    show(`${event}-rate`, rates[event]);
    show(`${event}-total`, totals[event]);
  }
  put($("next-drawn"), retry === "none" ? "" : `next retry ${retry}`);
  showWorkers(now);
  drawWorkers(now);
  drawQueue(queue);
  const passed = { "wire-in": totals.accepted, "wire-work": totals.finished + queue.running, "wire-out": totals.finished };
  for (const [wire, count] of Object.entries(before ? passed : {})) move(wire, count - before[wire]);
  before = passed;
  $("drawing").hidden = false;
}

function notice(text) {
  put($("notice"), text);
  $("notice").hidden = !text;
}

async function look() {
  clearTimeout(timer);
  let rest = EVERY;
  try {
    const answer = await asked("/queue.json");
    const body = await answer.json();
    if (answer.ok) update(body);
    notice(answer.ok ? "" : answer.status === 401 ? "The server asks for a key. Enter it on the first page, under “API key”; this one then uses it." : body.detail ?? `The server answers ${answer.status}.`);
    if (!answer.ok) rest = AFTER_FAILURE;
  } catch {
    notice("The server cannot be reached. What you see is how things stood before; the page goes on asking.");
    rest = AFTER_FAILURE;
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, rest);
}

/** Sends jobs as many clients would, and does not come again where they are refused: that is to be seen. */
async function burst() {
  const jobs = $("burst-jobs").valueAsNumber;
  const query = new URLSearchParams({ task: "demo", coalesce: false, seconds: $("burst-seconds").value });
  let sent = 0, accepted = 0, refused = 0, why = "", told = 0;
  const tell = () => {
    told = Date.now();
    put($("burst-said"), `${accepted} accepted, ${refused} refused${why && ` (${why})`}, of ${jobs}.`);
  };
  const client = async () => {
    while (sent < jobs) {
      sent += 1;
      try {
        const answer = await asked(`/jobs?${query}`, { method: "POST", headers: { "Content-Type": "text/plain" }, body: "burst" });
        const { code } = await answer.json();
        if (answer.ok) accepted += 1;
        else [refused, why] = [refused + 1, `${answer.status} ${code}`];
      } catch {
        [refused, why] = [refused + 1, "not answered"];
      }
      // No oftener than it can be read.
      if (Date.now() - told > EVERY) tell();
    }
  };
  $("burst-send").disabled = true;
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  $("burst-send").disabled = false;
  tell();
}

if ($("burst")) {
  $("burst").hidden = false;
  $("burst").addEventListener("submit", (event) => {
    event.preventDefault();
    burst();
  });
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
look();
