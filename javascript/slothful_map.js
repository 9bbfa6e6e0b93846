// The U-Net as a map: a button for each site, coloured by its stride, that edits its block weight.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).UnetMap = class {
    /** `onSelect(site)` is called with a site's name when it is chosen, `onWeight(name, value)`
     *  while its weight is moved. */
    constructor(onSelect, onWeight) {
        const {make, text} = slothfulAttention.elements;
        this.onSelect = onSelect;
        this.cells = {};
        this.grid = make("div", {class: "slothful-cells"});
        this.label = make("span");
        this.range = make("input", {type: "range", "aria-label": text("Block weight"),
            input: () => onWeight(this.selected, Number(this.range.value))});
        this.shown = make("output");
        this.editor = make("div", {class: "slothful-editor", hidden: "", keydown: (event) => {
            if (event.key === "Escape") {
                event.stopPropagation(); // the webui's own meaning is to interrupt
                this._close();
            }
        }}, this.label, this.range, this.shown,
        make("button", {type: "button", class: "slothful-small", "aria-label": text("Close"),
            click: () => this._close()}, "\u00d7"));
        this.caption = make("p", {class: "slothful-caption"});
        this.root = make("section", {class: "slothful-map", "aria-label": text("U-Net map")},
            this.caption, this.grid, this.editor);
    }

    /** Draw `view`: {sites, values, weights: limits, plan(name): the site's plan or null at the
     *  moment, selected, agents: whether keys are agents}. */
    draw(view) {
        const {change, write, text, number} = slothfulAttention.elements;
        this.view = view;
        const names = view.sites.map((site) => site.name).join();
        if (names !== this.names) {
            this.names = names;
            this._build(view.sites);
        }
        const words = [view.agents ? text("Tokens per agent; click to change a weight.")
            : text("Tokens per key; click to change a weight.")];
        if (view.sites.some((site) => view.plan(site.name)?.asleep)) {
            words.push(text("z: asleep"));
        }
        write(this.caption, words.join(" \u00b7 "));
        for (const site of view.sites) {
            const plan = view.plan(site.name);
            const weight = view.values[site.name] ?? 1;
            const [cell, value] = this.cells[site.name];
            const words = this._words(plan);
            write(value, !plan ? text("off") : plan.asleep ? "z" : number(plan.stride));
            // strides are perceived by their ratio: 1 is the page's own colour, 16 and more the full one
            const heat = plan && !plan.asleep ? Math.min(Math.max(Math.log(plan.stride) / Math.log(16), 0), 1) : 0;
            cell.style.setProperty("--slothful-heat", (plan && !plan.asleep ? 0.12 + 0.88 * heat : 0).toFixed(2));
            change(cell, {
                "aria-label": text("{site}: {words}, weight {weight}", {
                    site: site.name, words: words, weight: number(weight, 2)}),
                title: `${site.name}: ${words}`,
                "aria-pressed": String(site.name === view.selected),
                "data-weighted": weight === 1 ? undefined : "",
                "data-asleep": plan && plan.asleep ? "" : undefined,
            });
        }
        if (this.selected) {
            const weight = view.values[this.selected] ?? 1;
            this.range.value = weight;
            write(this.shown, number(weight, 2));
        }
    }

    /** What happens at a site. */
    _words(plan) {
        const {text, number} = slothfulAttention.elements;
        if (!plan || plan.asleep) {
            return plan ? text("asleep") : text("off");
        }
        const values = {tokens: number(plan.stride), keys: plan.keys};
        const words = plan.agents ? text("{tokens} tokens per agent, {keys} agents", values)
            : text("{tokens} tokens per key, {keys} keys", values);
        return !plan.channels ? words : text("{words}, {share} % of the channels", {
            words: words, share: number(100 * plan.channels, 0)});
    }

    /** A row for each level; input blocks lead down on the left, output blocks up on the right. */
    _build(sites) {
        const {make, text} = slothfulAttention.elements;
        this._close();
        this.cells = {};
        const levels = [...new Set(sites.map((site) => site.level))].sort((a, b) => a - b);
        const rows = levels.map((level) => {
            const sides = ["in", "middle", "out"].map((side) => {
                const here = sites.filter((site) => site.level === level && site.side === side);
                return make("div", {class: `slothful-side slothful-side-${side}`},
                    ...here.map((site) => this._cell(site)));
            });
            const middle = sites.some((site) => site.level === level && site.side === "middle");
            return make("div", {role: "group",
                class: `slothful-level${middle ? " slothful-level-middle" : ""}`,
                "aria-label": text("1/{level} of the latent's size", {level: level})}, ...sides);
        });
        this.grid.replaceChildren(...rows);
    }

    _cell(site) {
        const {make} = slothfulAttention.elements;
        const value = make("b");
        const cell = make("button", {type: "button", class: "slothful-cell",
            click: () => this._open(site.name)}, make("span", {}, site.name), value);
        this.cells[site.name] = [cell, value];
        return cell;
    }

    _open(name) {
        const {change, write} = slothfulAttention.elements;
        const {minimum, maximum, step} = this.view.weights(name) ?? {};
        this.selected = minimum === undefined ? null : name;
        this.onSelect(name);
        if (!this.selected) {
            return; // a block that the page has no control for
        }
        write(this.label, name);
        change(this.range, {min: minimum, max: maximum, step: step});
        this.editor.hidden = false;
        this.draw(this.view);
        this.range.focus();
    }

    _close() {
        const cell = this.cells[this.selected]?.[0];
        const inside = this.editor.contains(document.activeElement);
        this.editor.hidden = true;
        this.selected = null;
        if (inside) {
            cell?.focus();
        }
    }
};
