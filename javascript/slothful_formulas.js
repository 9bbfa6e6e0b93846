// The few formulas that a drawing needs while something is dragged. They are slothful/schedule.py's
// and slothful/plan.py's; a test compares the two. All other numbers come from the server.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).formulas = (function() {
    /** Share of the full effect at a time, in (0, 1]. */
    function timeRatio(time, peakTime, timeDecay) {
        return Math.exp(-(((time - peakTime) * timeDecay) ** 2));
    }

    /** Share of the full effect at a depth (1, 2, 4, 8), in (0, 1]. */
    function depthRatio(depth, depthDecay) {
        return depth ** -depthDecay;
    }

    /** Tokens a key at a site ({name, side, depth}) and a time in [0, 1], for the values of the
     *  controls by name. A site's weight is the control of its own name, 1 if there is none. */
    function strength(values, site, time) {
        const side = site.side === "out" ? "out" : "in";
        return values[`${side}_slothful`]
            * timeRatio(time, values.peak_time, values.time_decay)
            * depthRatio(site.depth, values[`${side}_depth_decay`])
            * (values[site.name] ?? 1);
    }

    /** The finest site of a side, as far as a curve needs it: no weight of its own. */
    function finest(side) {
        return {name: "", side: side, depth: 1};
    }

    /** The nearest value that a control with these limits can have. */
    function onStep(value, {minimum, maximum, step}) {
        const rounded = minimum + Math.round((value - minimum) / step) * step;
        return Math.min(Math.max(Number(rounded.toFixed(6)), minimum), maximum);
    }

    return {timeRatio, depthRatio, strength, finest, onStep};
})();
