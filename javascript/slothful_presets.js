// The presets as buttons, each with a tiny drawing of its schedule, and the name of the loaded one.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).PresetButtons = class {
    constructor(controls) {
        const {make, text} = slothfulAttention.elements;
        this.controls = controls;
        this.presets = [];
        this.clicks = 0;
        this.loaded = null; // the name in the box, once the controls have been seen to agree
        this.row = make("div", {class: "slothful-presets", role: "group",
            "aria-label": text("Presets")});
        this.words = make("p", {class: "slothful-caption", "aria-live": "polite"});
        controls.element("preset_buttons").replaceChildren(this.row, this.words);
        this.box = controls.element("preset").querySelector("input, textarea");
        this.names = make("datalist", {id: `slothful-names-${controls.tab}`});
        this.box.setAttribute("list", this.names.id);
        this.row.after(this.names);
        this.box.addEventListener("input", (event) => {
            if (event.isTrusted) { // typed by a person, who is about to save under this name
                this.loaded = null;
            }
        });
    }

    /** Draw `presets`: [{name, own, description, settings}]. */
    draw(presets) {
        const {make, text} = slothfulAttention.elements;
        // those of one's own come last
        this.presets = [...presets.filter(({own}) => !own), ...presets.filter(({own}) => own)];
        this.words.textContent = text("Hover over a preset to see what it does.");
        this.names.replaceChildren(...this.presets.map(({name, own}) => make("option", {
            value: name, label: own ? text("your own") : text(name)})));
        this.row.replaceChildren(...this.presets.map((preset) => this._button(preset)));
    }

    _button({name, own, description, settings}) {
        const {make, text} = slothfulAttention.elements;
        const words = text(description) || text("A preset of your own.");
        const explain = () => {
            this.words.textContent = words;
        };
        const mark = make("small", {class: "slothful-own"}, text("your own"));
        return make("button", {
            type: "button", class: "slothful-preset", title: words, "data-preset": name,
            "aria-label": `${text(name)}: ${words}`,
            click: () => this._pick(name), mouseenter: explain, focus: explain,
        }, this._icon(settings), make("span", {}, own ? name : text(name)), ...(own ? [mark] : []));
    }

    /** Hand the name to the server, which answers with the values of all controls. */
    _pick(name) {
        this.clicks += 1;
        // counted, for gradio tells the server of nothing but what has changed
        this._write(this.controls.element("preset_pick").querySelector("textarea, input"),
            `${name}/${this.clicks}`);
    }

    _write(box, content) {
        box.value = content;
        updateInput(box);
    }

    /** Take the name out of the box once the controls no longer show what it names. */
    look() {
        const name = this.box.value;
        const preset = name && this.presets.find((one) => one.name === name);
        if (!preset) {
            this.loaded = null;
        } else if (this.controls.shows(preset.settings)) {
            this.loaded = name;
        } else if (this.loaded === name) {
            this.loaded = null;
            this._write(this.box, "");
        }
        for (const button of this.row.children) {
            slothfulAttention.elements.change(button,
                {"aria-pressed": String(button.dataset.preset === this.loaded)});
        }
    }

    /** What the method does to the tokens, and over it how it changes in time. */
    _icon(settings) {
        const {make} = slothfulAttention.elements;
        const {strength, finest, timeRatio} = slothfulAttention.formulas;
        const signs = {
            tiling: "M8 0V18M16 0V18M24 0V18M0 6H32M0 12H32",
            merging: "M4 3L12 9L4 15M4 9H28M20 3L28 9L20 15",
            downsampling: "M2 2H14V16H2ZM20 5H28V13H20ZM14 9H20",
        };
        const icon = make("svg", {viewBox: "0 0 32 18", width: 32, height: 18,
            "aria-hidden": "true"});
        for (const [group, sign] of Object.entries(signs)) {
            if (this.controls.usesGroup(group, settings)) {
                icon.append(make("path", {class: "slothful-sign", d: sign}));
            }
        }
        if (settings.sleep !== "nothing") {
            icon.append(make("path", {class: "slothful-sign", d: "M10 4H22L10 14H22"}));
        }
        if (settings.negative !== "computed") {
            icon.append(make("path", {class: "slothful-sign", d: "M2 9H12M20 9H30M25 4V14"}));
        }
        const add = (side, height) => {
            const points = Array.from({length: 17}, (_, i) => i / 16).map((time) =>
                `${(time * 32).toFixed(1)},${(17 - 16 * Math.min(height(time), 1)).toFixed(1)}`);
            icon.append(make("path", {class: `slothful-curve slothful-${side}`,
                d: `M${points.join("L")}`}));
        };
        if (this.controls.used("in_slothful", settings)) {
            for (const side of ["in", "out"]) {
                add(side, (time) => strength(settings, finest(side), time) / 10);
            }
        } else if (this.controls.used("peak_time", settings) && settings.time_decay > 0) {
            add("in", (time) =>
                0.9 * timeRatio(time, settings.peak_time, settings.time_decay));
        }
        return icon;
    }
};
