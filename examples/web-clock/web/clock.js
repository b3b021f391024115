// A page without a backend: it shows the time, and asks the runtime what app it is.
import { call } from "/.pearrt/bridge.js";

const time = document.querySelector("#time");
const tick = () => { time.textContent = new Date().toLocaleTimeString(); };
tick();
setInterval(tick, 500);

const about = await call("app.info");
document.querySelector("#about").textContent = `${about.name} ${about.version}`;
