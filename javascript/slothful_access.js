// What gradio's components lack for the keyboard and for screen readers.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).makeAccessible = (function() {
    /** A heading of an accordion is a button that tells whether it is open. Where it holds a check
     *  box, its arrow is the button: one must not be inside the other. */
    function makeButton(heading) {
        const holds = heading.querySelector("input");
        const button = holds ? heading.lastElementChild : heading;
        if (heading.tagName !== "BUTTON") {
            button.tabIndex = 0;
            button.setAttribute("role", "button");
            button.addEventListener("keydown", (event) => {
                if (event.key === "Enter" || event.key === " ") {
                    event.preventDefault();
                    heading.click();
                }
            });
        }
        for (const unnamed of holds ? [holds, button] : []) {
            unnamed.setAttribute("aria-label", heading.querySelector("span").textContent.trim());
        }
        const tell = () => {
            const open = String(heading.classList.contains("open"));
            if (button.getAttribute("aria-expanded") !== open) {
                button.setAttribute("aria-expanded", open);
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
    };
})();
