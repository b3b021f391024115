// The page asks its backend, which runs in the sandbox and keeps the notes in /data.
import { ask, on } from "/.pearrt/bridge.js";

const list = document.querySelector("ul");

function show(notes) {
  list.replaceChildren(...notes.map(text => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

document.querySelector("form").addEventListener("submit", async event => {
  event.preventDefault();
  await ask("add", { text: new FormData(event.target).get("text") });
  event.target.reset();
});

on("backend", event => show(event.notes)); // told to every open page when the notes change
show(await ask("list"));
