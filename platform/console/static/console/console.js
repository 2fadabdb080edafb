/* The console's own behaviour: pausing live updates, saying when nobody answers, sending a form
   once, and showing the host name while the slug is typed. Everything works without it. */
(() => {
    "use strict";
    window.meridianPaused = false;

    document.addEventListener("click", (event) => {
        const button = event.target.closest("[data-mc-pause]");
        if (!button) return;
        window.meridianPaused = !window.meridianPaused;
        button.setAttribute("aria-pressed", String(window.meridianPaused));
        button.querySelector("[data-mc-label]").textContent =
            window.meridianPaused ? "Resume updates" : "Pause updates";
        button.querySelector(".material-symbols-outlined").textContent =
            window.meridianPaused ? "play_arrow" : "pause";
    });

    document.addEventListener("submit", (event) => {
        if (!event.target.matches("[data-mc-once]")) return;
        if (event.target.dataset.mcSent) { event.preventDefault(); return; }
        event.target.dataset.mcSent = "yes";
    });
    window.addEventListener("pageshow", () => {
        document.querySelectorAll("[data-mc-sent]").forEach((form) => delete form.dataset.mcSent);
    });

    document.addEventListener("input", (event) => {
        const preview = document.querySelector("[data-mc-slug]");
        if (preview && event.target.name === "slug") preview.textContent = event.target.value || "acme";
    });

    const offline = (is) => {
        const notice = document.querySelector("[data-mc-offline]");
        if (notice) notice.hidden = !is;
    };
    document.addEventListener("htmx:sendError", () => offline(true));
    document.addEventListener("htmx:responseError", () => offline(true));
    document.addEventListener("htmx:beforeOnLoad", (event) => {
        if (event.detail.xhr.status < 400) offline(false);
        if (event.detail.xhr.responseURL.includes("/login/")) window.location.reload();
    });
})();
