// Tiny drawings of settings: how strong they are over time, and what they do to the tokens.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).icons = (function() {
    const FULL = 12; // the strength that reaches the top

    /** Lines of a grid of so many by so many tiles. */
    function grid(count) {
        const places = Array.from({length: count - 1}, (_, index) => (index + 1) * 16 / count);
        return places.map((at) => `M${23 + at} 1V17M23 ${1 + at}H39`).join("") + "M23 1H39V17H23Z";
    }

    /** What a pool makes of a cell: rows, a peak, or an even field. */
    function pool(mode, blend) {
        const part = Math.max(2, Math.round(16 * blend));
        return mode.startsWith("1D") ? "M23 4H39M23 9H39M23 14H39"
            : mode.endsWith("NORM") || mode.endsWith("MAX") ? "M31 1L33 7L39 9L33 11L31 17L29 11L23 9L29 7Z"
            : `M31 ${9 - part / 2}a${part / 2} ${part / 2} 0 1 0 0.01 0Z`;
    }

    /** The steps of a pass, those that are computed as bars. */
    function rhythm(every) {
        const steps = Array.from({length: 9}, (_, index) => index);
        return steps.map((index) => (index % Math.round(every) ? `M${2 + index * 4.5} 14V16`
            : `M${2 + index * 4.5} 3V16`)).join("");
    }

    /** What happens to the tokens, as a path of lines. */
    function sign(controls, settings) {
        if (settings.negative !== "computed") {
            return "M3 9H13M27 9H37M32 4V14";
        }
        if (settings.sleep !== "nothing") {
            return rhythm(settings.sleep_every);
        }
        if (controls.usesGroup("tiling", settings)) {
            return grid(settings.method === "Plain Tiles" ? 2 : 1 + settings.tiling_max_depth);
        }
        if (controls.usesGroup("merging", settings)) {
            return settings.merge_keys_only ? "M24 3L31 9L24 15M24 9H38" : "M24 3L38 9L24 15M24 9H38M38 3V15";
        }
        if (controls.usesGroup("downsampling", settings)) {
            return "M23 3H29V9H23ZM33 3H39V9H33ZM23 13H29M33 13H39";
        }
        const most = Math.max(settings.in_k_blend, settings.in_v_blend,
            settings.out_k_blend, settings.out_v_blend);
        return most > 0 ? pool(settings.out_mode, most) : "M23 3H39V17H23ZM27 6H28";
    }

    /** The curve of strength over time in the left half, none where it follows no schedule. */
    function curve(controls, settings) {
        const {strength, finest, timeRatio} = slothfulAttention.formulas;
        const sides = ["in", "out"].map((side) => (time) =>
            strength(settings, finest(side), time) / FULL);
        const height = controls.used("in_slothful", settings)
            ? (time) => Math.max(...sides.map((side) => side(time)))
            : controls.used("peak_time", settings)
                ? (time) => 0.7 * timeRatio(time, settings.peak_time, settings.time_decay) : null;
        if (height === null) {
            return null;
        }
        const points = Array.from({length: 17}, (_, index) => index / 16).map((time) =>
            `${(1 + time * 18).toFixed(1)},${(17 - 15 * Math.min(height(time), 1)).toFixed(1)}`);
        return `M1,17L${points.join("L")}L19,17Z`;
    }

    /** The drawing of settings. */
    function icon(controls, settings) {
        const {make} = slothfulAttention.elements;
        const asleep = settings.sleep !== "nothing" || settings.negative !== "computed";
        const area = asleep ? null : curve(controls, settings);
        return make("svg", {viewBox: "0 0 40 18", width: 40, height: 18, "aria-hidden": "true"},
            ...(area ? [make("path", {class: "slothful-area", d: area})] : []),
            make("path", {class: "slothful-sign", d: sign(controls, settings)}));
    }

    return {icon};
})();
