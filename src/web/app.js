"use strict";
// What pages do beyond what the server says: the reader's zone and theme, stars without a load, parts that stay up to date,
// charts that tell what is pointed at. Pages are whole without it.
const cookie = (name, value) => {
  document.cookie = `${name}=${encodeURIComponent(value)}; Path=/; Max-Age=31536000; SameSite=Strict`;
};
const cookieOf = (name) => {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
};

// The server writes times in the zone that this cookie names.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const zoneIsNew = cookieOf("loadline_zone") !== zone;
if (zoneIsNew) cookie("loadline_zone", zone);

for (const element of document.querySelectorAll(".script")) element.hidden = false;

// Where rooms stand in a row that scrolls, the one that this is in is in sight.
const room = document.querySelector("nav a[aria-current]");
if (room) room.parentElement.scrollLeft = room.offsetLeft - (room.parentElement.clientWidth - room.offsetWidth) / 2;

const theme = document.querySelector("button.theme");
if (theme) {
  theme.addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    cookie("loadline_theme", dark ? "light" : "dark");
  });
}

// A star is sent without leaving the page.
document.addEventListener("submit", async (event) => {
  const star = event.submitter;
  if (event.target.id !== "stars" || !star?.name) return;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(event.target));
  fields.delete(star.name);
  fields.append(star.name, star.value);
  const answer = await fetch(event.target.action, { method: "POST", body: fields, redirect: "manual" }).catch(() => null);
  // What is refused shows as it was; the page says when the engine does not answer.
  if (answer?.type !== "opaqueredirect") return;
  const on = star.name === "star";
  star.name = on ? "unstar" : "star";
  star.setAttribute("aria-pressed", String(on));
  star.textContent = on ? "★" : "☆";
});

for (const all of document.querySelectorAll("input[data-all]")) {
  all.addEventListener("change", () => {
    for (const one of all.form.querySelectorAll(`input[name="${all.dataset.all}"]`)) one.checked = all.checked;
  });
}

// An address that names a folded form opens it.
const unfold = () => {
  const named = location.hash && document.querySelector(`details[id="${CSS.escape(location.hash.slice(1))}"]`);
  if (!named) return;
  named.open = true;
  named.scrollIntoView({ block: "center" });
  named.querySelector("input:not([type=hidden]), select, textarea")?.focus();
};
addEventListener("hashchange", unfold);
unfold();

// A form is sent once, however often it is pressed.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.id === "stars") return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "1";
  // Later: a button that is disabled now would not say its name with the form.
  setTimeout(() => { for (const button of form.querySelectorAll("button")) button.disabled = true; });
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button")) button.disabled = false;
  }
});

// Parts marked as live are brought up to date in place: what is equal stays untouched, so that nothing moves.
const morph = (old, fresh) => {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh.cloneNode(true));
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) return;
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) {
    const ours = name === "open" || (name === "hidden" && fresh.classList.contains("script"));
    if (!fresh.hasAttribute(name) && !ours) old.removeAttribute(name);
  }
  if (old.classList.contains("script")) old.hidden = false;
  const [olds, freshes] = [[...old.childNodes], [...fresh.childNodes]];
  // Rows with a name stay with it, whatever their order: what is chosen stays chosen.
  if (freshes.some((node) => node.dataset?.key)) {
    const named = new Map(olds.filter((node) => node.dataset?.key).map((node) => [node.dataset.key, node]));
    const next = freshes.map((node) => {
      const kept = named.get(node.dataset?.key);
      if (!kept) return node.cloneNode(true);
      morph(kept, node);
      return kept;
    });
    if (next.length !== olds.length || next.some((node, at) => node !== olds[at])) old.replaceChildren(...next);
    return;
  }
  freshes.forEach((node, at) => (at < olds.length ? morph(olds[at], node) : old.append(node.cloneNode(true))));
  for (const node of olds.slice(freshes.length)) node.remove();
};

const live = (() => {
  if (!document.body.hasAttribute("data-live-page")) return null;
  const SPACING = 5000;
  const STALE = 15000;
  const BUSY = 2000;
  const about = document.body.dataset.about;
  const freshness = document.getElementById("freshness");
  let source = null;
  let last = Date.now();
  let timer = null;
  let busy = false;
  const busyHere = () => document.querySelector("[data-live] form :focus, [data-live] .tip");
  const refresh = async () => {
    timer = null;
    if (busy || document.hidden) return;
    if (busyHere()) return plan(SPACING);
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      last = Date.now();
      if (answer.redirected) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const found = fresh.getElementById(part.id);
        if (found) morph(part, found);
      }
      freshness.textContent = "";
      document.dispatchEvent(new Event("refreshed"));
    } catch {
      freshness.textContent = "The engine does not answer: what is shown may be old.";
    } finally {
      busy = false;
    }
  };
  const plan = (spacing) => {
    if (timer === null) timer = setTimeout(refresh, Math.max(0, last + spacing - Date.now()));
  };
  // One stream a page, and none while nobody looks: browsers open few connections to one host.
  const listen = () => {
    if (document.hidden || source) return;
    source = new EventSource("/v1/events/stream");
    source.addEventListener("change", (event) => {
      if (about && JSON.parse(event.data).workload !== about) return;
      plan(SPACING);
    });
  };
  addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else {
      listen();
      plan(SPACING);
    }
  });
  addEventListener("pagehide", () => source?.close());
  listen();
  // Something that is under way is looked at more often.
  const stale = () => (document.querySelector("[data-busy]") ? BUSY : STALE);
  setInterval(() => Date.now() - last > stale() - 100 && plan(0), BUSY);
  if (zoneIsNew) plan(-Infinity);
  return { refresh };
})();

// Charts: a line under the pointer, and what was there.
document.addEventListener("pointermove", (event) => {
  const plot = event.target.closest?.(".plot");
  for (const tip of document.querySelectorAll(".plot .tip, .plot .cursor")) {
    if (!plot || tip.parentElement !== plot) tip.remove();
  }
  if (!plot) return;
  const frame = [...plot.children].find((each) => each.dataset.frame && each.offsetWidth > 0);
  if (!frame) return;
  const [width] = frame.dataset.frame.split(" ").map(Number);
  const [left, right] = plot.dataset.margins.split(" ").map(Number);
  const area = frame.getBoundingClientRect();
  const scale = area.width / width;
  const x = (event.clientX - area.x) / scale;
  const figures = JSON.parse(plot.dataset.figures);
  const span = figures.to - figures.from;
  const share = (x - left) / (width - left - right);
  if (share < 0 || share > 1) return;
  const at = figures.from + share * span;
  const near = (points) => points.reduce((best, each) => (!best || Math.abs(each[0] - at) < Math.abs(best[0] - at) ? each : best), null);
  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const words = [clock.format(at * 1000)];
  for (const line of figures.lines) {
    const point = near(line.points);
    // Nothing is told from afar; a level line has its ends only.
    if (point && (line.points.length === 2 || Math.abs(point[0] - at) < span / 40)) words.push(`${line.name}: ${point[1]}`);
  }
  for (const [moment, said] of figures.moments) if (Math.abs(moment - at) < span / 120) words.push(`· ${said}`);
  const piece = (name) => plot.querySelector(`.${name}`) || plot.appendChild(Object.assign(document.createElement("div"), { className: name }));
  const cursor = piece("cursor");
  const tip = piece("tip");
  tip.textContent = words.join("\n");
  const place = event.clientX - area.x;
  cursor.style.left = `${place}px`;
  cursor.style.top = "0";
  cursor.style.height = `${area.height}px`;
  tip.style.top = "0.5rem";
  tip.style.left = `${place + 12 + tip.offsetWidth < area.width ? place + 12 : Math.max(0, place - 12 - tip.offsetWidth)}px`;
});
