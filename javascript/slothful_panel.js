// The panel of each tab: looks at the controls, asks the server, and lets the parts draw.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Panel = class {
    constructor(tab, root) {
        const {Controls, TimeChart, UnetMap, TileGrid, Summary, Comparison, PresetButtons,
            ControlNotes, ControlHelp, Choices, MachineCosts, Lazy, Strength, MomentChoice} =
            slothfulAttention;
        this.root = root;
        this.controls = new Controls(tab, JSON.parse(root.dataset.controls));
        slothfulAttention.messages.learn(this.controls.declarations);
        this.name = `${tab}-${Math.random().toString(36).slice(2)}`;
        this.answer = {passes: [], sites: [], plans: []};
        this.site = null;
        this.moment = new MomentChoice(() => this.changed());
        this.chart = new TimeChart(
            (time) => this.controls.set("peak_time",
                slothfulAttention.formulas.onStep(time, this.controls.byName.peak_time)),
            (pass, time) => this.moment.choose(pass, time));
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
        this.strength = new Strength(this.controls);
        this.notes = new ControlNotes(this.controls);
        this.help = new ControlHelp(this.controls);
        this.choices = new Choices(this.controls);
        this._lay();
    }

    /** Put the parts in their order: what answers the first questions, and the details. */
    _lay() {
        const {make} = slothfulAttention.elements;
        const details = this.controls.element("details");
        this.chart.root.append(this.moment.root);
        this.parts = make("div", {class: "slothful-parts"}, this.chart.root, this.map.root);
        this.root.replaceChildren(
            this.comparison.root, this.lazy.root, this.strength.root,
            make("div", {class: "slothful-saving"},
                make("div", {}, this.summary.saved, this.costs.root),
                make("div", {class: "slothful-buttons"}, this.costs.button, this.comparison.button)),
            this.costs.problem, this.comparison.note, this.summary.notes,
            this.presets.root, this.parts);
        details.replaceChildren(this.presets.folded, this.tiles.root, this.summary.root);
        for (const part of [this.root, details]) {
            part.addEventListener("input", () => this.changed());
        }
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
        if (!this.visible) {
            return;
        }
        this.choices.look();
        this.lazy.look();
        if (!this.seen) { // what was asked while the page was being built may have been lost
            this.seen = true;
            this.help.look();
            this.refresh();
            return;
        }
        const {values, key} = this._state();
        this.presets.look(values);
        if (key !== this.drawn) {
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
        return {values, body, image, key: [body, image?.src, this.chart.root.clientWidth].join()};
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

    _draw() {
        const {values, body, image, key} = this._state();
        this.drawn = key;
        this._ask(body);
        const {passes, sites, negative} = this.answer;
        const strides = new slothfulAttention.Strides(this.answer);
        const moment = this.moment.find(
            passes, (pass, step) => strides.most(pass, step), values.peak_time);
        const shown = passes[moment.pass];
        const plan = (name) => strides.plan(moment.pass, moment.step, name);
        this.map.root.hidden = this.tiles.root.hidden = sites.length === 0;
        // two passes need the whole width
        this.parts.classList.toggle("slothful-wide", passes.length > 1);
        this.chart.draw({
            moment, peakTime: values.peak_time, agents: strides.agents, series: strides.series(),
            passes: passes.length ? passes : [{name: "base", times: [], acts: true, asleep: [],
                one_sided: [], width: "", height: ""}],
            peak: this.controls.used("peak_time", values) ? this.controls.byName.peak_time : null,
        });
        this.root.classList.toggle("slothful-stale", Boolean(this.answer.error));
        this.moment.draw(moment, negative);
        const finest = sites.filter((s) => s.depth === 1);
        const site = sites.find((s) => s.name === this.site) || finest[finest.length - 1];
        if (site && shown) {
            this.map.draw({sites, values, plan, selected: site.name, agents: strides.agents,
                weights: (name) => this.controls.byName[name]});
            this.tiles.draw({site: site.name, plan: plan(site.name), image,
                width: shown.width, height: shown.height});
        }
        this.strength.draw(values, this.answer.idle);
        this.summary.draw(this.answer);
        this.costs.draw(this.answer);
        this.notes.draw(this.answer, values);
    }
};
