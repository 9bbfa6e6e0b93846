// One slider for how strong a method is: of both sides, or of what else says it.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Strength = class {
    constructor(controls) {
        const {make} = slothfulAttention.elements;
        this.controls = controls;
        this.names = [];
        this.start = null; // the values from which a drag moves all
        const listeners = (read) => ({input: () => this._move(read()), change: () => this._release(),
            blur: () => this._release()});
        this.range = make("input", {type: "range", ...listeners(() => Number(this.range.value))});
        this.box = make("input", {type: "number", ...listeners(() => parseFloat(this.box.value))});
        this.label = make("strong", {class: "slothful-name"});
        this.words = make("output", {class: "slothful-caption"});
        this.root = make("div", {class: "slothful-strength"},
            this.label, this.range, this.box, this.words);
    }

    /** Draw the values of the controls. `idle`: by name, those without effect. */
    draw(values, idle = {}) {
        const {change, write, text, number} = slothfulAttention.elements;
        this.names = this.controls.strengths(values);
        const [first] = this.names.map((name) => this.controls.byName[name]);
        const isIdle = this.names.every((name) => idle[name]);
        const label = this.names.length > 1 || isIdle ? text("Strength") : text(first.label);
        write(this.label, label);
        const limits = {min: first.minimum, max: first.maximum, step: first.step, "aria-label": label,
            disabled: isIdle ? "" : undefined};
        this.values = this.names.map((name) => values[name]);
        for (const input of [this.range, this.box]) {
            change(input, limits);
            if (this.start === null) {
                input.value = Math.max(...this.values);
            }
        }
        const [low, high] = [Math.min(...this.values), Math.max(...this.values)];
        write(this.words, isIdle ? text("Nothing is applied.")
            : low < high ? text("input {input}, output {output}", {
                input: number(this.values[0]), output: number(this.values[1])})
            : this.names.length > 1 ? text("tokens per key") : "");
    }

    /** Move all by what the larger one is moved. */
    _move(to) {
        if (!Number.isFinite(to)) {
            return;
        }
        this.start = this.start || this.values;
        const by = to - Math.max(...this.start);
        this.names.forEach((name, index) => {
            this.controls.set(name, slothfulAttention.formulas.onStep(
                this.start[index] + by, this.controls.byName[name]));
        });
        for (const input of [this.range, this.box]) {
            if (input !== document.activeElement) {
                input.value = to;
            }
        }
    }

    _release() {
        this.start = null;
    }
};
