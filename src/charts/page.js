"use strict";
// Legends switch curves; the point nearest to the pointer tells its figures.
for (const figure of document.querySelectorAll("figure")) {
  const tip = document.getElementById("tip");
  const points = [...figure.querySelectorAll("g.tt")].map((group) => {
    const title = group.querySelector("title");
    const words = title.textContent;
    // The browser's own hint would come on top of ours.
    title.remove();
    group.setAttribute("aria-label", words);
    return { group, words };
  });
  for (const box of figure.querySelectorAll("input[data-series]")) {
    const colour = `var(--s${box.dataset.series})`;
    const parts = figure.querySelectorAll(`[stroke="${colour}"], [fill="${colour}"]`);
    box.addEventListener("change", () => {
      for (const part of parts) {
        (part.closest("g.tt") || part).classList.toggle("off", !box.checked);
      }
    });
  }
  let near = null;
  const leave = () => {
    if (near) near.group.classList.remove("near");
    near = null;
    tip.hidden = true;
  };
  const move = (event) => {
    let best = null;
    let least = 28;
    for (const point of points) {
      const area = point.group.getBoundingClientRect();
      if (area.width === 0) continue;
      const away = Math.hypot(area.x + area.width / 2 - event.clientX, area.y + area.height / 2 - event.clientY);
      if (away < least) {
        least = away;
        best = { ...point, area };
      }
    }
    if (!best) return leave();
    if (!near || near.group !== best.group) {
      leave();
      near = best;
      near.group.classList.add("near");
      tip.textContent = best.words;
      tip.hidden = false;
    }
    const right = document.documentElement.clientWidth - tip.offsetWidth - 4;
    const x = Math.max(4, Math.min(best.area.x + best.area.width + 8, right));
    const above = best.area.y - tip.offsetHeight - 6;
    const y = above > 4 ? above : best.area.y + best.area.height + 6;
    tip.style.left = `${x + window.scrollX}px`;
    tip.style.top = `${y + window.scrollY}px`;
  };
  figure.addEventListener("pointermove", move);
  figure.addEventListener("pointerdown", move);
  figure.addEventListener("pointerleave", leave);
}
