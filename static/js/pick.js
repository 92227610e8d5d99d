// Narrows the list of schemes while a name is typed.
const pick = document.querySelector("[data-pick]");
pick.addEventListener("input", () => {
  const wanted = pick.value.trim().toLowerCase();
  for (const row of document.querySelectorAll(".pa-picks [data-name]")) row.hidden = !row.dataset.name.includes(wanted);
});
