// The presets as buttons, each with a tiny drawing of its schedule.

(globalThis.slothfulAttention ??= {}).PresetButtons = class {
    constructor(controls) {
        const {make, text} = slothfulAttention.elements;
        this.controls = controls;
        this.row = make("div", {class: "slothful-presets", role: "group",
            "aria-label": text("Presets")});
        this.words = make("p", {class: "slothful-caption", "aria-live": "polite"});
        controls.element("preset_buttons").replaceChildren(
            make("div", {class: "slothful"}, this.row, this.words));
    }

    /** Draw `presets`: [{name, description, settings}]. */
    draw(presets) {
        const {make, text} = slothfulAttention.elements;
        this.words.textContent = text("Point at a preset to read what it does.");
        this.row.replaceChildren(...presets.map(({name, description, settings}) => {
            const words = text(description) || text("A preset of your own.");
            const explain = () => {
                this.words.textContent = words;
            };
            return make("button", {
                type: "button", class: "slothful-preset", title: words, "data-preset": name,
                "aria-label": `${text(name)}: ${words}`,
                click: () => this._pick(name), mouseenter: explain, focus: explain,
            }, this._icon(settings), make("span", {}, text(name)));
        }));
    }

    /** Hand the name to the server, which answers with the values of all controls. */
    _pick(name) {
        const box = this.controls.element("preset_pick").querySelector("textarea, input");
        box.value = name;
        updateInput(box);
    }

    /** Both curves, and tiles where the method has them. */
    _icon(settings) {
        const {make} = slothfulAttention.elements;
        const {strength, finest} = slothfulAttention.formulas;
        const icon = make("svg", {viewBox: "0 0 32 18", width: 32, height: 18,
            "aria-hidden": "true"});
        if (this.controls.used("tiling_max_depth", settings)) {
            icon.append(make("path", {class: "slothful-tiny-tiles",
                d: "M8 0V18M16 0V18M24 0V18M0 6H32M0 12H32"}));
        }
        for (const side of this.controls.used("in_slothful", settings) ? ["in", "out"] : []) {
            const points = Array.from({length: 17}, (_, i) => i / 16).map((time) => {
                const height = Math.min(strength(settings, finest(side), time) / 10, 1);
                return `${(time * 32).toFixed(1)},${(17 - 16 * height).toFixed(1)}`;
            });
            icon.append(make("path", {class: `slothful-curve slothful-${side}`,
                d: `M${points.join("L")}`}));
        }
        return icon;
    }
};
