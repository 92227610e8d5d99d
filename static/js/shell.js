// What Unfold's shell leaves out for keyboard and screen reader.
document.addEventListener("DOMContentLoaded", () => {
  for (const icon of document.querySelectorAll(".material-symbols-outlined")) {
    icon.setAttribute("aria-hidden", "true"); // its text is the name of a glyph
  }
  const current = document.querySelector("#nav-sidebar-apps a.active");
  if (current) current.setAttribute("aria-current", "page");
});
