// The editor of a prompt: paths of the sample event, put in by a click or while typing {{.
(() => {
  const area = document.querySelector("[data-prompt]");
  const list = document.getElementById("path-choices");
  if (!area || !list) return;
  let marked = -1;
  let dismissed = false;

  const getPaths = () => [...document.querySelectorAll("[data-path]")].map((button) => button.dataset.path);

  // What stands between {{ and the caret, where that is still open.
  function getOpen() {
    const before = area.value.slice(0, area.selectionStart);
    const start = before.lastIndexOf("{{");
    const typed = start < 0 ? "" : before.slice(start + 2);
    return start < 0 || typed.includes("}}") || typed.includes("\n") ? null : { start, typed: typed.trim().toLowerCase() };
  }

  function insert(path) {
    const open = getOpen();
    const start = open ? open.start : area.selectionStart;
    const rest = area.value.slice(area.selectionEnd);
    const closing = open ? rest.match(/^[^\n{}]*\}\}/) : null;
    area.setRangeText(`{{ ${path} }}`, start, area.selectionEnd + (closing ? closing[0].length : 0), "end");
    area.focus();
    hide();
    dismissed = true; // what was just put in asks for nothing more
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function hide() {
    list.hidden = true;
    marked = -1;
    area.removeAttribute("aria-activedescendant");
  }

  function mark(index) {
    const items = [...list.children];
    marked = (index + items.length) % items.length;
    items.forEach((item, at) => item.setAttribute("aria-selected", String(at === marked)));
    items[marked].scrollIntoView({ block: "nearest" });
    area.setAttribute("aria-activedescendant", items[marked].id);
  }

  function offer() {
    const open = getOpen();
    if (!open) dismissed = false;
    const found = open && !dismissed ? getPaths().filter((path) => path.toLowerCase().includes(open.typed)).slice(0, 12) : [];
    if (!found.length) return hide();
    list.replaceChildren(...found.map((path, at) => {
      const item = document.createElement("li");
      item.id = `path-choice-${at}`;
      item.setAttribute("role", "option");
      item.textContent = path;
      return item;
    }));
    list.hidden = false;
    mark(0);
  }

  area.addEventListener("input", offer);
  area.addEventListener("click", offer);
  area.addEventListener("blur", hide);
  area.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") mark(marked + (event.key === "ArrowDown" ? 1 : -1));
    else if (event.key === "Enter" || event.key === "Tab") insert(list.children[marked].textContent);
    else if (event.key === "Escape") { hide(); dismissed = true; }
    else return;
    event.preventDefault();
  });
  // Before the field loses the caret.
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
    if (event.target.matches("li")) insert(event.target.textContent);
  });
  document.addEventListener("click", (event) => {
    const path = event.target.closest("[data-path]");
    if (path) insert(path.dataset.path);
    const line = event.target.closest("[data-line]");
    if (line) goTo(document.getElementById(line.dataset.lineOf), Number(line.dataset.line));
  });

  function goTo(field, number) {
    const lines = field.value.split("\n");
    const start = lines.slice(0, number - 1).reduce((sum, text) => sum + text.length + 1, 0);
    field.focus();
    field.setSelectionRange(start, start + (lines[number - 1] || "").length);
    field.scrollTop = (field.scrollHeight / lines.length) * Math.max(0, number - 4);
  }
  for (const button of document.querySelectorAll("[data-no-script]")) button.hidden = true;
})();
