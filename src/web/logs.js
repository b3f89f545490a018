// Logs: lines with links, a search that hides the others, and following.
for (const log of document.querySelectorAll("details.log")) {
  const pre = log.querySelector("pre");
  const code = log.querySelector("code");
  const search = log.querySelector('input[type="search"]');
  const follow = log.querySelector('input[name="follow"]');
  const count = log.querySelector(".tools span.quiet");
  const prefix = log.dataset.log.endsWith("stderr") ? "E" : "L";
  const LINES_MAX = 5000;
  let next = log.dataset.next;
  let number = 0;
  let rest = "";
  const shown = (line) => !search.value || line.textContent.toLowerCase().includes(search.value.toLowerCase());
  const add = (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const words of lines) {
      number += 1;
      const line = Object.assign(document.createElement("a"), { className: "line", textContent: words || " " });
      line.id = `${prefix}${number}`;
      line.href = `#${line.id}`;
      line.style.color = "inherit";
      line.hidden = !shown(line);
      code.append(line);
    }
    while (code.childElementCount > LINES_MAX) code.firstElementChild.remove();
    if (number) log.querySelector("p.nothing")?.remove();
    tell();
  };
  const tell = () => {
    const hits = search.value ? [...code.children].filter((line) => !line.hidden).length : 0;
    count.textContent = search.value ? `${hits} of ${code.childElementCount} lines` : "";
  };
  const first = code.textContent;
  code.textContent = "";
  add(first.endsWith("\n") || !first ? first : `${first}\n`);
  pre.scrollTop = pre.scrollHeight;
  search.addEventListener("input", () => {
    for (const line of code.children) line.hidden = !shown(line);
    tell();
  });
  const read = async () => {
    if (!next || document.hidden || !log.open || !follow.checked) return;
    try {
      const answer = await fetch(`${log.dataset.log}&after=${encodeURIComponent(next)}`);
      if (!answer.ok) return;
      const piece = await answer.json();
      next = piece.next;
      if (piece.text) {
        add(piece.text);
        pre.scrollTop = pre.scrollHeight;
      }
    } catch {
      // The page itself says that the engine does not answer.
    }
  };
  setInterval(read, 1500);
}
