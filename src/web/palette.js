// The palette: `/` or Ctrl-K, from anywhere.
{
  const palette = document.getElementById("palette");
  const input = palette?.querySelector("input");
  const results = palette?.querySelector(".results");
  let asked = 0;
  let wait = null;
  const links = () => [...results.querySelectorAll("a")];
  const choose = (at) => {
    const all = links();
    all.forEach((link, place) => link.classList.toggle("chosen", place === at));
    all[at]?.scrollIntoView({ block: "nearest" });
  };
  const look = async () => {
    const turn = (asked += 1);
    const answer = await fetch(`/search?q=${encodeURIComponent(input.value)}`).catch(() => null);
    if (!answer?.ok || turn !== asked) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    results.replaceChildren(...(page.getElementById("results")?.childNodes ?? []));
    choose(0);
  };
  const open = () => {
    if (palette.open) return;
    palette.showModal();
    input.select();
    look();
  };
  if (palette) {
    input.addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(look, 120);
    });
    palette.addEventListener("keydown", (event) => {
      const at = links().findIndex((link) => link.classList.contains("chosen"));
      if (event.key === "ArrowDown") choose(Math.min(at + 1, links().length - 1));
      else if (event.key === "ArrowUp") choose(Math.max(at - 1, 0));
      else if (event.key === "Enter" && links()[at]) links()[at].click();
      else return;
      event.preventDefault();
    });
    palette.addEventListener("click", (event) => event.target === palette && palette.close());
    document.addEventListener("keydown", (event) => {
      const writing = event.target.closest?.("input, textarea, select");
      const slash = event.key === "/" && !writing;
      const k = event.key === "k" && (event.ctrlKey || event.metaKey);
      if (!slash && !k) return;
      event.preventDefault();
      open();
    });
  }
}
