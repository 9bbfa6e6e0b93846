// Begins when the page is there: a panel and the presets in both tabs.

(function() {
    const LOOK = 200; // milliseconds
    const panels = [];
    let checkpoint = null;
    if (slothfulAttention.started) { // by another copy of the extension
        return;
    }
    slothfulAttention.started = true;

    /** Draw the presets as they are now: in the beginning, and when one has been saved or deleted. */
    async function loadPresets() {
        const reply = await fetch("./slothful-attention/presets");
        if (!reply.ok) { // not logged in any more
            return;
        }
        const presets = await reply.json();
        panels.forEach((panel) => panel.presets.draw(presets));
    }

    function add(tab) {
        const root = gradioApp().getElementById(`script_${tab}_slothful_attention_drawings`);
        if (!root) {
            return;
        }
        const panel = new slothfulAttention.Panel(tab, root);
        panels.push(panel);
        const accordion = panel.controls.element("enable");
        accordion.addEventListener("input", () => panel.changed());
        slothfulAttention.makeAccessible(accordion, panel.controls);
    }

    slothfulAttention.loadPresets = loadPresets;
    onUiLoaded(function() {
        ["txt2img", "img2img"].forEach(add);
        loadPresets();
        setInterval(() => {
            panels.forEach((panel) => panel.look());
            slothfulAttention.messages.look();
        }, LOOK);
    });
    onOptionsChanged(function() {
        if (opts.sd_model_checkpoint !== checkpoint) {
            checkpoint = opts.sd_model_checkpoint;
            panels.forEach((panel) => panel.refresh());
        }
    });
})();
