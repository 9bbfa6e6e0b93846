// What gradio's components lack for the keyboard and for screen readers.

(globalThis.slothfulAttention ??= {}).makeAccessible = (function() {
    /** A heading of an accordion is a button that tells whether it is open. */
    function makeButton(heading) {
        if (heading.tagName !== "BUTTON") {
            heading.tabIndex = 0;
            heading.setAttribute("role", "button");
            heading.addEventListener("keydown", (event) => {
                if (event.target === heading && (event.key === "Enter" || event.key === " ")) {
                    event.preventDefault();
                    heading.click();
                }
            });
        }
        const tell = () => {
            const open = String(heading.classList.contains("open"));
            if (heading.getAttribute("aria-expanded") !== open) {
                heading.setAttribute("aria-expanded", open);
            }
        };
        new MutationObserver(tell).observe(heading, {attributeFilter: ["class"]});
        tell();
    }

    /** A slider is two inputs, of which gradio labels none or one. */
    function label(element, words) {
        for (const input of element?.querySelectorAll("input, textarea") ?? []) {
            if (!input.closest("label") || input.type === "number" || input.type === "range") {
                input.setAttribute("aria-label", words);
            }
        }
    }

    return function(accordion, controls) {
        const {text} = slothfulAttention.elements;
        accordion.querySelectorAll(".label-wrap").forEach(makeButton);
        for (const declaration of controls.declarations) {
            label(controls.element(declaration.name), text(declaration.label));
        }
        label(controls.element("preset"), text("Preset"));
    };
})();
