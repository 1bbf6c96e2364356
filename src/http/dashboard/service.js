// Talking to the service: requests, with the token if it wants one, and the stream of its events.

const KEPT_TOKEN = "xbr-seller token";
/** Without a sign of life for so long a stream counts as dead; the service sends one every 15 s. */
const SILENCE_MS = 40_000;
const SHORT_PAUSE_MS = 100;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;

/** The service does not know the token, or there is none. */
export class Unauthorized extends Error {}

/** The service says no; the message says why. */
export class Refused extends Error {}

/** Whether a token was given to this page. */
export function hasToken() {
  return sessionStorage.getItem(KEPT_TOKEN) !== null;
}

/** Keeps a token until the tab is closed, or forgets it. */
export function setToken(token) {
  if (token) sessionStorage.setItem(KEPT_TOKEN, token);
  else sessionStorage.removeItem(KEPT_TOKEN);
}

/** What ends the stream of events, while there is one. */
let following = null;

async function send(path, { headers = {}, ...options } = {}) {
  const token = sessionStorage.getItem(KEPT_TOKEN);
  const authorization = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, {
    cache: "no-store",
    credentials: "omit",
    headers: { ...headers, ...authorization },
    ...options,
  });
  if (answer.status === 401) {
    // The token was replaced: a stream from before goes on, and would not hear of it.
    following?.abort();
    throw new Unauthorized("the token is missing or wrong");
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(problem.detail ?? `status ${answer.status}`);
  }
  return answer;
}

/** What a path answers, which is JSON. */
export async function read(path) {
  return (await send(path)).json();
}

/** Tells the service to do something. */
export async function order(path) {
  await send(path, { method: "POST" });
}

/** Saves what a path answers as a file. */
export async function download(path, name) {
  save(await (await send(path)).blob(), name);
}

/** Saves a blob as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Follows the events for ever. `happened(kind, data)` hears each of them; `alive(is)` hears of each sign of life, and of
 * each failure to get one. When the service wants another token this ends with `Unauthorized`.
 */
export async function follow({ happened, alive }) {
  let lastId = null;
  let pause = FIRST_PAUSE_MS;
  const heard = (event) => {
    lastId = event.id;
    happened(event.kind, JSON.parse(event.data));
  };
  const lives = () => {
    pause = FIRST_PAUSE_MS;
    alive(true);
  };
  for (;;) {
    try {
      await stream(lastId, heard, lives);
      // The service has ended it, perhaps because this page was too slow: what it missed comes now.
      await sleep(SHORT_PAUSE_MS);
      continue;
    } catch (error) {
      if (error instanceof Unauthorized) throw error;
    }
    alive(false);
    await sleep(pause * (0.75 + Math.random() / 2));
    pause = Math.min(LONGEST_PAUSE_MS, pause * 2);
  }
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One connection, until it ends. */
async function stream(lastId, heard, lives) {
  const abort = new AbortController();
  following = abort;
  let silence = setTimeout(() => abort.abort(), SILENCE_MS);
  try {
    const headers = lastId === null ? {} : { "last-event-id": lastId };
    const answer = await send("/v1/events", { headers, signal: abort.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    lives();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      lives();
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach((block) => parse(block, heard));
    }
  } finally {
    following = null;
    clearTimeout(silence);
  }
}

/** An event, or a comment, of which nobody hears. */
function parse(block, heard) {
  const event = { data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (field === "id") event.id = value;
    else if (field === "event") event.kind = value;
    else if (field === "data") event.data += value;
  }
  if (event.kind) heard(event);
}
