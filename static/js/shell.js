// What Unfold's shell leaves out for keyboard and screen reader.
document.addEventListener("DOMContentLoaded", () => {
  for (const icon of document.querySelectorAll(".material-symbols-outlined")) {
    const glyph = icon.textContent.trim();
    const owner = icon.closest("a, button");
    if (owner && !owner.ariaLabel && owner.textContent.trim() === glyph) {
      // A control with nothing but an icon: the glyph's name is the best there is.
      owner.ariaLabel = owner.getAttribute("href") === "/" ? "Live page" : glyph.replaceAll("_", " ");
    }
    icon.setAttribute("aria-hidden", "true"); // its text is the name of a glyph
  }
  const current = document.querySelector("#nav-sidebar-apps a.active");
  if (current) current.setAttribute("aria-current", "page");
  const main = document.getElementById("main");
  if (main && document.querySelector("#nav-sidebar-apps")) {
    const skip = document.createElement("a");
    skip.className = "pa-skip";
    skip.href = "#main";
    skip.textContent = "Skip the navigation";
    skip.addEventListener("click", (event) => {
      event.preventDefault(); // Unfold takes what stands behind # for a tab
      main.tabIndex = -1;
      main.focus();
    });
    document.body.prepend(skip);
  }
  // Chromium sometimes leaves it out on a page that was reached by keyboard.
  const first = document.querySelector("[autofocus]");
  if (first && document.activeElement === document.body) first.focus();
});
