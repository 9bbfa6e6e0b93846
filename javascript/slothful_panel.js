// The panel of each tab: looks at the controls, asks the server, and lets the parts draw.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Panel = class {
    constructor(tab, root) {
        const {make, text} = slothfulAttention.elements;
        const {Controls, TimeChart, UnetMap, TileGrid, Summary, Comparison, PresetButtons,
            ControlNotes, Choices, MachineCosts, Lazy} = slothfulAttention;
        this.root = root;
        this.controls = new Controls(tab, JSON.parse(root.dataset.controls));
        slothfulAttention.messages.learn(this.controls.declarations);
        this.name = `${tab}-${Math.random().toString(36).slice(2)}`;
        this.answer = {passes: [], sites: [], plans: []};
        this.moment = null; // none chosen: the strongest step
        this.site = null;
        this.chart = new TimeChart(
            (time) => this.controls.set("peak_time",
                slothfulAttention.formulas.onStep(time, this.controls.byName.peak_time)),
            (pass, time) => this._choose(pass, this._nearest(pass, time)));
        this.map = new UnetMap((site) => {
            this.site = site;
            this.changed();
        }, (name, value) => this.controls.set(name, value));
        this.tiles = new TileGrid();
        this.summary = new Summary();
        this.costs = new MachineCosts(() => this.refresh());
        this.comparison = new Comparison(tab, this.controls);
        this.presets = new PresetButtons(this.controls);
        this.lazy = new Lazy(this.controls);
        this.notes = new ControlNotes(this.controls);
        this.choices = new Choices(this.controls);
        this.scrub = make("input", {type: "range", min: 0, step: 1,
            "aria-label": text("Moment"), input: () => this._scrubbed()});
        this.when = make("output");
        const legend = [["in", text("input blocks")], ["out", text("output blocks")]].map(
            ([side, words]) => make("span", {class: `slothful-key slothful-key-${side}`}, words));
        root.replaceChildren(
            make("div", {class: "slothful-head"},
                make("span", {}, text("Strength over time")), ...legend, this.comparison.button),
            this.comparison.note, this.summary.notes,
            this.chart.svg,
            make("label", {class: "slothful-scrub"}, text("Moment"), this.scrub, this.when),
            make("div", {class: "slothful-parts"}, this.map.root, this.tiles.root),
            this.summary.root, this.costs.root,
            this.comparison.root);
        root.addEventListener("input", () => this.changed());
    }

    /** Whether somebody can see it. */
    get visible() {
        return this.root.offsetParent !== null;
    }

    /** Draw anew in the next frame, once however often it is called. */
    changed() {
        this.frame = this.frame || requestAnimationFrame(() => {
            this.frame = null;
            if (this.visible) {
                performance.mark("slothful-begin");
                this._draw();
                performance.measure("slothful-draw", "slothful-begin");
            }
        });
    }

    /** Draw if anything is different from the last time. Cheap: it runs several times a second,
     *  because gradio tells a page's script nothing of what the server changes. */
    look() {
        this.comparison.look();
        this.presets.look();
        if (!this.visible) {
            return;
        }
        this.choices.look();
        this.lazy.look();
        if (!this.seen) { // what was asked while the page was being built may have been lost
            this.seen = true;
            this.refresh();
        } else if (this._state().key !== this.drawn) {
            this.changed();
        }
    }

    /** Another model may be loaded: ask the server which blocks it has and what to draw. */
    refresh() {
        this.controls.element("refresh").click();
        this.asked = null;
        this.changed();
    }

    _state() {
        const [values, fields] = [this.controls.values(), this.controls.fields()];
        const list = this.controls.declarations.map(({name}) => values[name]);
        const body = JSON.stringify({values: list, fields: fields});
        const image = this.controls.image();
        return {values, body, image, key: [body, image?.src, this.root.clientWidth].join()};
    }

    /** One request at a time, always of the latest values. */
    async _ask(body) {
        if (this.asking || body === this.asked) {
            return;
        }
        this.asking = true;
        this.asked = body;
        try {
            const options = {method: "POST", headers: {"Content-Type": "application/json"}};
            // a newer drawing of a panel ends its older one
            const address = `./slothful-attention/drawing?page=${this.name}`;
            const reply = await fetch(address, {...options, body: body});
            if (!reply.ok) { // not logged in, or the server has too much to do
                throw new Error(reply.status);
            }
            const answer = await reply.json();
            this.answer = answer.error
                ? {...this.answer, error: answer.error, nothing: null} : answer;
            if (answer.model === "none") { // it is still being loaded
                this._later();
            }
        } catch (error) { // or the server restarts: keep what is drawn
            this._later();
        } finally {
            this.asking = false;
        }
        this.changed();
    }

    _later() {
        setTimeout(() => this.refresh(), 3000);
    }

    _plan(pass, step, site) {
        const number = this.answer.passes[pass]?.sites[site]?.[step] ?? -1;
        return this.answer.plans[number] ?? null;
    }

    /** Tokens a key of the finest sites at a step, the largest of them. */
    _stride(pass, step) {
        const finest = this.answer.sites.filter((site) => site.depth === 1);
        return Math.max(1, ...finest.map((s) => this._plan(pass, step, s.name)?.stride ?? 1));
    }

    _draw() {
        const {values, body, image, key} = this._state();
        this.drawn = key;
        this._ask(body);
        const {passes, sites} = this.answer;
        const curves = this.controls.used("in_slothful", values);
        const moment = this._moment(values);
        const shown = passes[moment.pass];
        const plan = (name) => this._plan(moment.pass, moment.step, name);
        this.chart.draw({
            width: Math.max(this.root.clientWidth, 200), values, curves, moment,
            passes: passes.length ? passes : [{name: "base", times: [], acts: true,
                width: "", height: ""}],
            peak: this.controls.used("peak_time", values) ? this.controls.byName.peak_time : null,
            stride: (pass, step) => this._stride(pass, step),
        });
        this.root.classList.toggle("slothful-no-curves", !curves);
        this.root.classList.toggle("slothful-stale", Boolean(this.answer.error));
        this._drawScrub(moment);
        this.map.root.hidden = this.tiles.root.hidden = sites.length === 0;
        const finest = sites.filter((s) => s.depth === 1);
        const site = sites.find((s) => s.name === this.site) || finest[finest.length - 1];
        if (site && shown) {
            this.map.draw({sites, values, plan, selected: site.name,
                nothing: Boolean(this.answer.nothing),
                weights: (name) => this.controls.byName[name]});
            this.tiles.draw({site: site.name, plan: plan(site.name), image,
                width: shown.width, height: shown.height});
        }
        this.summary.draw(this.answer);
        this.costs.draw(this.answer);
        this.notes.draw(this.answer, values);
    }

    /** {pass, step} of the moment to show: the chosen one, else the strongest step of all. */
    _moment(values) {
        const {passes} = this.answer;
        if (this.moment && this.moment.step < passes[this.moment.pass]?.times.length) {
            return this.moment;
        }
        // many steps round to the same stride, but one is the nearest to the peak
        const away = ({pass, step}) => Math.abs(passes[pass].times[step] - values.peak_time);
        const steps = this._steps();
        return steps.reduce((best, one) => {
            const more = this._stride(one.pass, one.step) - this._stride(best.pass, best.step);
            return more > 0 || (more === 0 && away(one) < away(best)) ? one : best;
        }, steps[0] ?? {pass: 0, step: 0});
    }

    _steps() {
        return this.answer.passes.flatMap(
            ({times}, pass) => times.map((_, step) => ({pass, step})));
    }

    _nearest(pass, time) {
        const times = this.answer.passes[pass]?.times ?? [];
        const away = times.map((one) => Math.abs(one - time));
        return Math.max(away.indexOf(Math.min(...away)), 0);
    }

    _choose(pass, step) {
        this.moment = {pass, step};
        this.changed();
    }

    _scrubbed() {
        const {pass, step} = this._steps()[this.scrub.value] ?? {pass: 0, step: 0};
        this._choose(pass, step);
    }

    _drawScrub({pass, step}) {
        const {change, write, text, number} = slothfulAttention.elements;
        const steps = this._steps();
        const index = steps.findIndex((one) => one.pass === pass && one.step === step);
        change(this.scrub, {max: Math.max(steps.length - 1, 0), disabled: steps.length === 0});
        this.scrub.value = Math.max(index, 0);
        const shown = this.answer.passes[pass];
        const values = index < 0 ? {} : {
            pass: text(shown.name), step: shown.steps[step] + 1, steps: shown.step_count,
            noise: number(100 * (1 - shown.noise[step]), 0)};
        const words = index < 0 ? ""
            : !shown.one_sided[step] ? text("{pass}, step {step} of {steps}, noise {noise} %", values)
            : this.answer.negative === "in the attention"
                ? text("{pass}, step {step} of {steps}, noise {noise} %, negative prompt in the attention", values)
                : text("{pass}, step {step} of {steps}, noise {noise} %, negative side asleep", values);
        change(this.scrub, {"aria-valuetext": words});
        write(this.when, words);
    }
};
