// Begins when the page is there: a panel and the presets in both tabs.

(function() {
    const LOOK = 200; // milliseconds
    const panels = [];
    let checkpoint = null;

    /** Another model may have been loaded: the server says which blocks it has. */
    function refresh() {
        for (const panel of panels) {
            panel.controls.element("refresh")?.click();
            panel.refresh();
        }
    }

    /** gradio's headings of accordions are no buttons for the keyboard and screen readers. */
    function makeHeadingsReachable(accordion) {
        for (const heading of accordion.querySelectorAll(".label-wrap")) {
            if (heading.tagName === "BUTTON" || heading.tabIndex >= 0) {
                continue;
            }
            heading.tabIndex = 0;
            heading.setAttribute("role", "button");
            heading.addEventListener("keydown", (event) => {
                if (event.target === heading && (event.key === "Enter" || event.key === " ")) {
                    event.preventDefault();
                    heading.click();
                }
            });
        }
    }

    /** Draw the presets as they are now: in the beginning, and when one has been saved. */
    async function loadPresets() {
        const reply = await fetch("./slothful-attention/presets");
        const presets = await reply.json();
        panels.forEach((panel) => panel.presets.draw(presets));
    }

    function add(tab) {
        const root = gradioApp().querySelector(
            `#script_${tab}_slothful_attention_drawings .slothful-panel`);
        if (!root) {
            return;
        }
        const panel = new slothfulAttention.Panel(tab, root);
        panels.push(panel);
        const accordion = panel.controls.element("enable");
        makeHeadingsReachable(accordion);
        accordion.addEventListener("input", () => panel.changed());
    }

    slothfulAttention.loadPresets = loadPresets;
    onUiLoaded(function() {
        ["txt2img", "img2img"].forEach(add);
        loadPresets();
        refresh();
        setInterval(() => panels.forEach((panel) => panel.look()), LOOK);
    });
    onOptionsChanged(function() {
        if (opts.sd_model_checkpoint !== checkpoint) {
            checkpoint = opts.sd_model_checkpoint;
            refresh();
        }
    });
})();
