// Narrows the providers while a name is typed; arrows move, Enter opens the marked one.
(() => {
  const input = document.querySelector("[data-pick]");
  const state = document.querySelector("[data-pick-state]");
  const rows = [...document.querySelectorAll("[data-words]")];
  let best = null;

  function rank(row, wanted) {
    if (row.dataset.words.startsWith(wanted)) return 0;
    return ` ${row.dataset.words}`.includes(` ${wanted}`) ? 1 : 2;
  }

  function mark(row) {
    if (best) best.querySelector("a").classList.remove("pa-pick--best");
    best = row;
    if (best) best.querySelector("a").classList.add("pa-pick--best");
  }

  function narrow() {
    const wanted = input.value.trim().toLowerCase();
    const found = rows.filter((row) => row.dataset.words.includes(wanted));
    for (const row of rows) row.hidden = !found.includes(row) && Boolean(row.closest("[data-pick-group]"));
    for (const group of document.querySelectorAll("[data-pick-group]")) group.hidden = !group.querySelector("li:not([hidden])");
    const [first] = wanted ? [...found].sort((a, b) => rank(a, wanted) - rank(b, wanted)) : [];
    mark(first || null);
    if (!wanted) state.textContent = "";
    else if (first) state.textContent = `${found.length} found. Enter opens ${first.querySelector("strong").textContent}.`;
    else state.textContent = "No provider of this name. Choose one of the general ways below.";
  }

  function step(event) {
    const links = [input, ...rows.filter((row) => !row.hidden).map((row) => row.querySelector("a"))];
    const here = links.indexOf(document.activeElement);
    if (here < 0) return;
    // From the field, down goes to the marked one: it need not be the first.
    const down = here === 0 && best ? links.indexOf(best.querySelector("a")) : here + 1;
    const next = links[event.key === "ArrowDown" || event.key === "ArrowRight" ? down : here - 1];
    if (!next || (here === 0 && event.key !== "ArrowDown")) return;
    event.preventDefault();
    next.focus();
  }

  input.addEventListener("input", narrow);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && best) best.querySelector("a").click();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow")) step(event);
  });
  narrow(); // a browser that goes back keeps what was typed
})();
