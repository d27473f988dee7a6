// Loaded before the first paint, so that a dark page does not flash in light. "system" follows the browser.
(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be forbidden
    }
  };
  // A page that embeds another one says in its address which theme fits.
  const asked = new URLSearchParams(location.search).get("theme");
  root.dataset.theme = [asked, stored()].find((each) => themes.includes(each)) ?? "system";
  root.toggleAttribute("data-embedded", window.top !== window);
  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    if (!select) {
      return;
    }
    select.value = root.dataset.theme;
    select.addEventListener("change", () => {
      root.dataset.theme = select.value;
      try {
        localStorage.setItem("theme", select.value);
      } catch {
        // it lasts as long as the page
      }
      document.dispatchEvent(new Event("themechange"));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
