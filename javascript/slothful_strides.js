// What chart and map both say: how many tokens there are for each key at a block and a step. All of it
// is planned by the server, with what rounding, tiles and weights make of a strength.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Strides = class {
    /** `answer` is what the server said: {sites, plans, passes, nothing}. */
    constructor(answer) {
        this.answer = answer;
    }

    /** The plan of a site at a step, null where it is skipped. */
    plan(pass, step, site) {
        const number = this.answer.passes[pass]?.sites[site]?.[step] ?? -1;
        return this.answer.plans[number] ?? null;
    }

    /** The largest of a side's finest sites at a step; null where they sleep. */
    of(side, pass, step) {
        const finest = this.answer.sites.filter((s) => s.depth === 1 && s.side === side);
        const plans = finest.map((site) => this.plan(pass, step, site.name));
        const awake = plans.filter((plan) => !plan?.asleep);
        return plans.length && !awake.length ? null
            : Math.max(1, ...awake.map((plan) => plan?.stride ?? 1));
    }

    /** The largest of both sides. */
    most(pass, step) {
        return Math.max(this.of("in", pass, step) ?? 1, this.of("out", pass, step) ?? 1);
    }

    /** Whether what shares a key are agents at some block. */
    get agents() {
        return this.answer.plans.some((plan) => plan.agents);
    }

    /** The curves to draw: [{side, words, curve, values: one list for each pass}]. One for both
     *  sides where they are equal, and only those where something is reduced at some step; where
     *  there is none, but steps differ by who sleeps in them, their dots alone. */
    series() {
        const {text} = slothfulAttention.elements;
        const {passes, nothing, sites} = this.answer;
        if (nothing || sites.length === 0 || !passes.some((pass) => pass.acts)) {
            return [];
        }
        const values = (side) => passes.map(({times, acts}, pass) =>
            (acts ? times.map((_, step) => this.of(side, pass, step)) : []));
        const all = [["in", text("input blocks")], ["out", text("output blocks")]].map(
            ([side, words]) => ({side, words, curve: true, values: values(side)}));
        const reduced = all.filter((one) => one.values.some((row) => row.some((v) => v > 1)));
        if (reduced.length === 2 && JSON.stringify(all[0].values) === JSON.stringify(all[1].values)) {
            return [{...all[0], words: text("input and output")}];
        }
        return reduced.length ? reduced : [{...all[0], words: "", curve: false}];
    }
};
