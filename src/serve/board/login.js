// Asks who is there when the API wants to know. What is given stays in this tab's session storage.

import { isLoggedIn, logInWithPassword, logInWithToken, logOut, watchRefusals } from "./api.js";
import { fill, h } from "./dom.js";

/** The dialog and the button that forgets the credentials. `again` is called after each change. */
export function login(button, again) {
  const token = h("input", { type: "password", name: "token", required: true, autocomplete: "off", spellcheck: "false" });
  const user = h("input", { type: "text", name: "user", required: true, autocomplete: "username" });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password" });
  const problem = h("p", { class: "problem", role: "alert" });
  const form = (keep, ...fields) => h("form", {
    onsubmit: (event) => {
      event.preventDefault();
      keep();
      token.value = password.value = "";
      dialog.close();
      draw();
      again();
    },
  }, fields);
  const dialog = h("dialog", { class: "login", "aria-labelledby": "login-title" },
    h("h2", { id: "login-title" }, "Log in"),
    h("p", { class: "hint" }, "This polymeter answers only who it knows. What you give stays in this tab and is forgotten with it."),
    problem,
    form(() => logInWithToken(token.value.trim()), h("label", {}, "Token", token), h("button", { class: "primary" }, "Use token")),
    h("p", { class: "or" }, "or"),
    form(() => logInWithPassword(user.value, password.value),
      h("label", {}, "Name", user), h("label", {}, "Password", password), h("button", { class: "primary" }, "Log in")));
  document.body.append(dialog);

  const draw = () => { button.hidden = !isLoggedIn(); };
  button.addEventListener("click", () => { logOut(); draw(); again(); });
  watchRefusals((refused) => {
    // Others that were asked with the same credentials are refused too.
    if (dialog.open) return;
    fill(problem, isLoggedIn() ? `${refused.message}.` : "");
    logOut();
    draw();
    dialog.showModal();
  });
  draw();
}
