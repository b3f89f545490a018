// Logs: lines with links, a search that hides the others, and following. Several logs of one page share one
// search and one switch.
for (const log of document.querySelectorAll("details.log")) {
  const pre = log.querySelector("pre");
  const code = log.querySelector("code");
  const tools = log.querySelector(".tools") ?? document.querySelector(".tools.together");
  const search = tools.querySelector('input[type="search"]');
  const follow = tools.querySelector('input[name="follow"]');
  const count = log.querySelector(".tools span.quiet");
  const LINES_MAX = 5000;
  let next = log.dataset.next;
  // The last line may go on in the next piece.
  let open = log.hasAttribute("data-open");
  const shown = (line) => !search.value || line.textContent.toLowerCase().includes(search.value.toLowerCase());
  const tell = () => {
    if (!count) return;
    const hits = search.value ? [...code.children].filter((line) => !line.hidden).length : 0;
    count.textContent = search.value ? `${hits} of ${code.childElementCount} lines` : "";
  };
  const add = (piece) => {
    const texts = piece.text.split("\n");
    const ends = texts.at(-1) === "";
    if (ends) texts.pop();
    texts.forEach((words, at) => {
      if (at === 0 && open && code.lastElementChild) {
        code.lastElementChild.append(words);
        return;
      }
      const place = piece.places?.[at] ?? "";
      const line = Object.assign(document.createElement("a"), { className: "line", textContent: words || " " });
      if (place) {
        line.id = `${log.dataset.mark}${place}`;
        line.href = `${log.dataset.page}&from=${place}#${log.dataset.anchor}${place}`;
      }
      code.append(line);
    });
    open = !ends;
    for (const line of code.children) line.hidden = !shown(line);
    while (code.childElementCount > LINES_MAX) code.firstElementChild.remove();
    log.querySelector("p.nothing")?.remove();
    tell();
  };
  if (!location.hash || !log.querySelector(":target")) pre.scrollTop = pre.scrollHeight;
  search.addEventListener("input", () => {
    for (const line of code.children) line.hidden = !shown(line);
    tell();
  });
  const read = async () => {
    if (!next || document.hidden || !log.open || !follow.checked) return;
    try {
      const answer = await fetch(`${log.dataset.log}&places=true&after=${encodeURIComponent(next)}`);
      if (!answer.ok) return;
      const piece = await answer.json();
      next = piece.next;
      if (piece.text) {
        add(piece);
        pre.scrollTop = pre.scrollHeight;
      }
    } catch {
      // The page itself says that the engine does not answer.
    }
  };
  setInterval(read, 1500);
}
