"use strict";

// A picture enlarges in a dialog when its button is pressed. The browser closes the dialog on Esc.
const zoom = document.getElementById("zoom");
const caption = zoom.querySelector("p");
const enlarged = document.createElement("img");

document.addEventListener("click", (event) => {
  const button = event.target.closest(".zoom");
  if (button) {
    const image = button.querySelector("img");
    enlarged.src = image.src;
    enlarged.alt = image.alt;
    enlarged.classList.toggle("drawn", image.naturalWidth * image.naturalHeight <= 128 * 128);
    caption.textContent = image.alt;
    caption.before(enlarged);
    zoom.showModal();
  } else if (event.target === zoom) {
    zoom.close();  // beside the picture
  }
});
