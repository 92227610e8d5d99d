// A button with data-copy="<id>" copies the text of that element.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const label = button.querySelector(".pa-copy__text");
  try {
    await navigator.clipboard.writeText(source.textContent);
    label.textContent = "Copied";
  } catch {
    // Without TLS a browser keeps its clipboard shut: select it, so that Ctrl-C copies.
    getSelection().selectAllChildren(source);
    label.textContent = "Press Ctrl-C";
  }
  setTimeout(() => { label.textContent = "Copy"; }, 2000);
});
