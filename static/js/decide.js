// The page of one answer: the button says what it will do, and single keys do it.
(() => {
  const form = document.getElementById("decide");
  const answer = document.getElementById("answer");
  const approve = document.getElementById("approve");
  const isTyping = (element) => element.matches("input, textarea, select, [contenteditable]");

  if (answer) {
    const name = () => {
      approve.textContent = answer.value === answer.defaultValue ? approve.dataset.approve : approve.dataset.edit;
    };
    answer.addEventListener("input", name);
    answer.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(approve);
      if (event.key === "Escape") answer.blur();
    });
    name();
  }

  const KEYS = {
    a: () => approve && approve.focus(),
    e: () => answer && answer.focus(),
    r: () => document.getElementById("reject")?.click(),
    n: () => document.getElementById("next")?.click(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || !KEYS[event.key]) return;
    if (document.querySelector("[popover]:popover-open")) return;
    event.preventDefault();
    KEYS[event.key]();
  });
})();
