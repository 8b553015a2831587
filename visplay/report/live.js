"use strict";

// Only in a page that `visplay report --watch` serves: ask for the version, and reload when it is another.
const live = document.getElementById("live");
const follow = document.getElementById("follow");

async function look() {
  try {
    const answer = await fetch("version", { cache: "no-store" });
    const version = await answer.text();
    const busy = zoom.open || (document.activeElement && document.activeElement.matches(".filter input, .filter select"));
    const news = answer.ok && version !== live.dataset.version;
    live.querySelector("output").textContent = !answer.ok ? version : news ? "a new version is available" : "up to date";
    if (news && follow.checked && !busy) {
      remember();
      location.reload();
      return;
    }
  } catch {
    live.querySelector("output").textContent = "visplay report --watch has stopped; this is the last page that it served";
  }
  setTimeout(look, 1000);
}
follow.checked = sessionStorage.getItem("follow") !== "no";
follow.addEventListener("change", () => sessionStorage.setItem("follow", follow.checked ? "yes" : "no"));
look();
