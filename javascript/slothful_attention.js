// Tells the page when another model may have been loaded: it then shows that model's blocks.

(function() {
    const buttons = ["txt2img", "img2img"].map(
        (tab) => `script_${tab}_slothful_attention_refresh`
    );
    let checkpoint = null;

    function refresh() {
        for (const id of buttons) {
            gradioApp().getElementById(id)?.click();
        }
    }

    onUiLoaded(refresh);
    onOptionsChanged(function() {
        if (opts.sd_model_checkpoint !== checkpoint) {
            checkpoint = opts.sd_model_checkpoint;
            refresh();
        }
    });
})();
