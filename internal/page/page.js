"use strict";
// Each line to copy gets its button. Without this script it can be copied by hand.
const said = document.getElementById("said");
for (const line of document.querySelectorAll(".line")) {
  const text = line.querySelector("code"), button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy: " + text.textContent);
  button.addEventListener("click", async () => {
    let ok = false;
    try {
      await navigator.clipboard.writeText(text.textContent);
      ok = true;
    } catch { // not on a page by plain HTTP from another host
      getSelection().selectAllChildren(text);
      ok = document.execCommand("copy");
    }
    button.textContent = ok ? "Copied" : "Press Ctrl+C";
    said.textContent = button.textContent;
    setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 3000);
  });
  line.append(button);
}
