/* furo.js - in place of the theme's script, which Debian's package loads in a way that browsers
 * refuse. The button goes from the system's colours to the other ones, and back over the rest. */
document.documentElement.classList.remove("no-js");
for (const button of document.querySelectorAll(".theme-toggle")) {
  button.addEventListener("click", () => {
    const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    const order = dark ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
    const now = order.indexOf(document.body.dataset.theme);
    document.body.dataset.theme = order[(now + 1) % 3];
    localStorage.setItem("theme", document.body.dataset.theme);
  });
}
