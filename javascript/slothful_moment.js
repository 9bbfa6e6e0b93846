// The moment that is looked at: a step of a pass, chosen in the chart or with a slider.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).MomentChoice = class {
    /** `changed` is called when another one is chosen. */
    constructor(changed) {
        const {make, text} = slothfulAttention.elements;
        this.changed = changed;
        this.passes = [];
        this.chosen = null; // none: the strongest step
        this.range = make("input", {type: "range", min: 0, step: 1,
            "aria-label": text("Moment"), input: () => this._moved()});
        this.words = make("output");
        this.root = make("label", {class: "slothful-scrub"}, this.words, this.range);
    }

    /** The {pass, step} to show of `passes`: the chosen one, else the strongest of all.
     *  `most(pass, step)` is the strength of a step. */
    find(passes, most, peakTime) {
        this.passes = passes;
        if (this.chosen && this.chosen.step < passes[this.chosen.pass]?.times.length) {
            return this.chosen;
        }
        // many steps round to the same stride, but one is the nearest to the peak
        const away = ({pass, step}) => Math.abs(passes[pass].times[step] - peakTime);
        const steps = this._steps();
        return steps.reduce((best, one) => {
            const more = most(one.pass, one.step) - most(best.pass, best.step);
            return more > 0 || (more === 0 && away(one) < away(best)) ? one : best;
        }, steps[0] ?? {pass: 0, step: 0});
    }

    /** Choose the step of a pass that is nearest to a time. */
    choose(pass, time) {
        const away = (this.passes[pass]?.times ?? []).map((one) => Math.abs(one - time));
        this._take({pass, step: Math.max(away.indexOf(Math.min(...away)), 0)});
    }

    _take(moment) {
        this.chosen = moment;
        this.changed();
    }

    _steps() {
        return this.passes.flatMap(({times}, pass) => times.map((_, step) => ({pass, step})));
    }

    _moved() {
        this._take(this._steps()[this.range.value] ?? {pass: 0, step: 0});
    }

    /** Show which one it is. `negative`: what becomes of the negative side. */
    draw({pass, step}, negative) {
        const {change, write, text, number} = slothfulAttention.elements;
        const steps = this._steps();
        const index = steps.findIndex((one) => one.pass === pass && one.step === step);
        change(this.range, {max: Math.max(steps.length - 1, 0), disabled: steps.length === 0});
        this.range.value = Math.max(index, 0);
        const shown = this.passes[pass];
        const values = index < 0 ? {} : {
            pass: text(shown.name), step: shown.steps[step] + 1, steps: shown.step_count,
            noise: number(100 * (1 - shown.noise[step]), 0)};
        const words = index < 0 ? ""
            : !shown.one_sided[step] ? text("{pass}, step {step} of {steps}, noise {noise} %", values)
            : negative === "in the attention"
                ? text("{pass}, step {step} of {steps}, noise {noise} %, negative prompt in the attention", values)
                : text("{pass}, step {step} of {steps}, noise {noise} %, negative side asleep", values);
        change(this.range, {"aria-valuetext": words});
        write(this.words, words);
    }
};
