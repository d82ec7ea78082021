// A little convenience; every form works without it.
"use strict";

// Lists reorder as soon as another order is chosen.
for (const form of document.querySelectorAll("form[data-sends-itself]")) {
  form.addEventListener("change", () => form.requestSubmit());
}

// Number fields get a button on each side.
for (const field of document.querySelectorAll("input[type=number]")) {
  const label = field.labels[0] ? field.labels[0].textContent.trim() : field.name;
  const box = document.createElement("span");
  box.className = "stepper";
  field.before(box);
  for (const [text, name, change] of [["−", "Less", -1], ["+", "More", 1]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "step";
    button.textContent = text;
    button.setAttribute("aria-label", `${name}: ${label}`);
    button.addEventListener("click", () => {
      field.value = Math.max(0, (parseInt(field.value, 10) || 0) + change);
    });
    box.append(button);
  }
  box.firstChild.after(field);
}

// What cannot be undone takes a second press.
for (const button of document.querySelectorAll("button[data-sure]")) {
  button.addEventListener("click", (event) => {
    if (button.dataset.sure) {
      event.preventDefault();
      button.textContent = button.dataset.sure;
      button.dataset.sure = "";
    }
  });
}

// After a form came back with messages, the first of them is where to go on.
const wrong = document.querySelector("[aria-invalid=true]");
if (wrong) {
  wrong.focus();
}
