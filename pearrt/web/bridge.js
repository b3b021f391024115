// The page's way to its app's backend and to the runtime. Load it as a module: /.pearrt/bridge.js
//
//   import { ask, call, on } from "/.pearrt/bridge.js";
//   await ask("add", { text: "hello" });        the backend's answer
//   await call("app.info");                     the runtime's; the same methods as the app's own channel has
//   on("update-ready", event => …);             told by the runtime; on("backend", …) is told by the backend
//
// An answer that is an error is thrown, with `code` and `hint`.

async function send(path, method, params = {}) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ method, params }),
    credentials: "same-origin",
    redirect: "error",
  });
  const { result, error } = await answer.json();
  if (error) throw Object.assign(new Error(error.message), { code: error.code, hint: error.hint });
  return result;
}

export const ask = (method, params) => send("/.pearrt/ask", method, params);
export const call = (method, params) => send("/.pearrt/call", method, params);

const listeners = new Map();
let stream = null;

export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, new Set());
  listeners.get(name).add(listener);
  if (!stream) {
    stream = new EventSource("/.pearrt/events");
    stream.onmessage = message => {
      const { from, event } = JSON.parse(message.data);
      for (const heard of listeners.get(from === "backend" ? "backend" : event.event) ?? []) heard(event);
    };
  }
  return () => listeners.get(name).delete(listener);
}
