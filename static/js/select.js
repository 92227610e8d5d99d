// Ticked rows: says how many, and lets the buttons work only when there is one.
(() => {
  function refresh() {
    for (const form of document.querySelectorAll("form[data-selection]")) {
      const boxes = [...form.querySelectorAll("[data-select]")];
      const ticked = boxes.filter((box) => box.checked).length;
      const text = form.querySelector("[data-selected-text]");
      const all = form.querySelector("[data-select-all]");
      if (text) text.textContent = ticked ? `${ticked} selected` : "None selected";
      if (all) {
        all.checked = ticked > 0 && ticked === boxes.length;
        all.indeterminate = ticked > 0 && ticked < boxes.length;
      }
      for (const button of form.querySelectorAll("[data-needs-selection]")) button.disabled = ticked === 0;
    }
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-select-all]")) {
      const boxes = event.target.closest("form").querySelectorAll("[data-select]");
      for (const box of boxes) box.checked = event.target.checked;
    }
    if (event.target.matches("[data-select], [data-select-all]")) refresh();
  });
  // A fresh table would forget the ticks: leave it alone while there are some.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const table = event.target.closest("[data-keeps-selection]");
    if (table && table.querySelector("[data-select]:checked")) event.preventDefault();
  });
  document.addEventListener("htmx:load", refresh);
  window.addEventListener("pageshow", refresh);
  refresh();
})();
