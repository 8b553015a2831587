"use strict";

// The filters of a comparison: its few questions are in the page and are hidden or shown.
const form = document.querySelector(".filter");
if (form) {
  const controls = [...form.querySelectorAll("[data-filter]")];
  const samples = [...document.querySelectorAll(".sample")].map((element) => ({
    element,
    question: element.querySelector(".question"),
    text: (element.textContent + " " + element.dataset.source).toLowerCase(),
  }));

  const filter = () => {
    const wanted = controls.filter((control) => control.value.trim() !== "");
    let seen = 0;
    for (const sample of samples) {
      const fits = wanted.every((control) => control.dataset.filter === "text"
        ? sample.text.includes(control.value.trim().toLowerCase())
        : sample.question.dataset[control.dataset.filter] === control.value);
      sample.element.hidden = !fits;
      seen += fits ? 1 : 0;
    }
    document.getElementById("count").textContent = `${seen} of the ${samples.length} questions shown here`;
    document.getElementById("none").hidden = seen > 0;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter, 0));
  filter();
}
