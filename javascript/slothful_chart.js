// Strength over time: a curve for the input and one for the output blocks, a dot for each step.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).TimeChart = class {
    /** `onPeak(time)` and `onMoment(pass, time)` are called while the pointer or a key moves them. */
    constructor(onPeak, onMoment) {
        const {make, text} = slothfulAttention.elements;
        this.onPeak = onPeak;
        this.onMoment = onMoment;
        this.height = 132;
        this.margin = {left: 26, right: 8, top: 22, bottom: 18, gap: 22};
        this.back = make("g", {"aria-hidden": "true"});
        this.front = make("g", {"aria-hidden": "true"});
        this.peak = make("g", {
            class: "slothful-peak", role: "slider", tabindex: 0, "aria-label": text("Peak time"),
            keydown: (event) => this._key(event),
        });
        this.svg = make("svg", {
            class: "slothful-chart", height: this.height, role: "group",
            "aria-label": text("Strength over time"),
            pointerdown: (event) => this._grab(event),
        }, this.back, this.front, this.peak);
    }

    /** Draw `view`: {width, values, passes, moment: {pass, step}, peak: limits of the peak time or
     *  null, curves: whether the method has strengths, stride(pass, step)}. */
    draw(view) {
        const {change} = slothfulAttention.elements;
        this.view = view;
        const {left, right, gap} = this.margin;
        const count = view.passes.length;
        this.span = (view.width - left - right - gap * (count - 1)) / count;
        this.top = this._ceiling();
        change(this.svg, {width: view.width, viewBox: `0 0 ${view.width} ${this.height}`});
        this.back.replaceChildren(...view.passes.flatMap((pass, index) => this._frame(pass, index)));
        this.front.replaceChildren(
            ...view.passes.flatMap((pass, index) => this._marks(pass, index)));
        this._drawPeak();
    }

    x(index, time) {
        return this.margin.left + index * (this.span + this.margin.gap) + time * this.span;
    }

    y(strength) {
        const {top, bottom} = this.margin;
        return this.height - bottom - (strength / this.top) * (this.height - top - bottom);
    }

    /** The top of the scale: in wide steps, so that curves move and not the scale. */
    _ceiling() {
        const {values, curves, passes, stride} = this.view;
        const most = curves ? Math.max(values.in_slothful, values.out_slothful)
            : Math.max(1, ...passes.flatMap((p, i) => p.times.map((_, step) => stride(i, step))));
        return [2, 4, 8, 16, 32].find((top) => most <= top) ?? 50;
    }

    _frame(pass, index) {
        const {make, text, number} = slothfulAttention.elements;
        const [from, to, floor] = [this.x(index, 0), this.x(index, 1), this.y(0)];
        const begin = pass.times.length ? Math.min(...pass.times) : 0;
        const faded = pass.acts ? "" : "slothful-faded";
        const parts = [
            make("rect", {class: "slothful-field", x: from, y: this.y(this.top),
                width: this.span, height: floor - this.y(this.top)}),
            make("line", {class: "slothful-one", x1: from, x2: to, y1: this.y(1), y2: this.y(1)}),
            make("text", {x: from, y: 13, class: faded}, text("{pass} {width}x{height}", {
                pass: text(pass.name), width: pass.width, height: pass.height})),
        ];
        // where there is room beside the mark of the start
        const room = this.span > 200 ? 0.28 : 0.5;
        if (begin <= 0.02 || begin > room) {
            parts.push(make("text", {x: from, y: this.height - 4}, text("noise")));
        }
        if (begin < 1 - room) {
            parts.push(make("text", {x: to, y: this.height - 4, "text-anchor": "end"},
                text("image")));
        }
        if (!pass.acts) {
            parts.push(make("text", {x: to, y: 13, "text-anchor": "end"}, text("skipped")));
        }
        if (begin > 0.02) { // an img2img or hires pass on the axis of the noise level
            parts.push(
                make("rect", {class: "slothful-before", x: from, y: this.y(this.top),
                    width: begin * this.span, height: floor - this.y(this.top)}),
                make("line", {class: "slothful-start", x1: this.x(index, begin),
                    x2: this.x(index, begin), y1: this.y(this.top), y2: floor}),
                make("text", {x: this.x(index, begin), y: this.height - 4,
                    "text-anchor": "middle"}, text("start")));
        }
        if (index === 0) {
            for (const value of [1, this.top]) {
                parts.push(make("text", {x: from - 5, y: this.y(value) + 4,
                    "text-anchor": "end"}, number(value)));
            }
        }
        return parts;
    }

    _marks(pass, index) {
        const {make} = slothfulAttention.elements;
        const {strength, finest} = slothfulAttention.formulas;
        const {values, curves, moment, stride} = this.view;
        const faded = pass.acts ? "" : " slothful-faded";
        const parts = [];
        const dot = (time, step, value, name) => make("circle", {
            class: `slothful-dot ${name}${faded}${pass.asleep[step] ? " slothful-asleep" : ""}`,
            cx: this.x(index, time), cy: this.y(Math.min(value, this.top)), r: 2.5});
        for (const side of curves ? ["in", "out"] : []) {
            const points = Array.from({length: 61}, (_, i) => i / 60).map((time) =>
                `${this.x(index, time).toFixed(1)},` +
                this.y(strength(values, finest(side), time)).toFixed(1));
            const name = `slothful-${side}`;
            parts.push(make("path", {class: `slothful-curve ${name}${faded}`,
                d: `M${points.join("L")}`}));
            parts.push(...pass.times.map((time, step) =>
                dot(time, step, strength(values, finest(side), time), name)));
        }
        if (!curves) {
            parts.push(...pass.times.map((time, step) => dot(time, step, stride(index, step), "slothful-in")));
        }
        const sided = pass.times.filter((_, step) => pass.one_sided[step]);
        parts.push(...sided.map((time) => make("line", {class: `slothful-one-sided${faded}`,
            x1: this.x(index, time), x2: this.x(index, time), y1: this.y(0) - 7, y2: this.y(0)})));
        if (moment.pass === index && pass.times.length) {
            const x = this.x(index, pass.times[moment.step]);
            parts.unshift(make("line", {class: "slothful-moment-line", x1: x, x2: x,
                y1: this.y(this.top), y2: this.y(0)}));
        }
        return parts;
    }

    _drawPeak() {
        const {make, change, number} = slothfulAttention.elements;
        const {peak, values, passes} = this.view;
        change(this.peak, {display: peak ? undefined : "none"});
        if (!peak) {
            return;
        }
        change(this.peak, {"aria-valuemin": peak.minimum, "aria-valuemax": peak.maximum,
            "aria-valuenow": number(values.peak_time, 2)});
        this.peak.replaceChildren(...passes.flatMap((_, index) => {
            const x = this.x(index, values.peak_time);
            const line = {x1: x, x2: x, y1: this.y(this.top), y2: this.y(0)};
            return [
                make("line", {class: "slothful-grip", ...line}),
                make("line", {class: "slothful-peak-line", ...line}),
                make("circle", {class: "slothful-knob", cx: x, cy: this.y(this.top), r: 6}),
            ];
        }));
    }

    /** The pass and the time in [0, 1] under a pointer. */
    _under(event) {
        const x = event.clientX - this.svg.getBoundingClientRect().left;
        const index = Math.floor((x - this.margin.left + this.margin.gap / 2)
            / (this.span + this.margin.gap));
        const pass = Math.min(Math.max(index, 0), this.view.passes.length - 1);
        const time = (x - this.x(pass, 0)) / this.span;
        return {x, pass, time: Math.min(Math.max(time, 0), 1)};
    }

    /** Near the peak's line the pointer moves the peak, elsewhere the moment that is looked at. */
    _grab(event) {
        const start = this._under(event);
        const distance = Math.abs(start.x - this.x(start.pass, this.view.values.peak_time));
        const peak = this.view.peak && distance < 12;
        const move = (moved) => {
            const {pass, time} = this._under(moved);
            peak ? this.onPeak(time) : this.onMoment(pass, time);
        };
        const release = () => {
            this.svg.removeEventListener("pointermove", move);
        };
        this.svg.setPointerCapture(event.pointerId);
        this.svg.addEventListener("pointermove", move);
        for (const end of ["pointerup", "pointercancel"]) {
            this.svg.addEventListener(end, release, {once: true});
        }
        if (!peak) {
            move(event);
        }
    }

    _key(event) {
        const {peak, values} = this.view;
        const to = {
            ArrowLeft: values.peak_time - peak.step, ArrowDown: values.peak_time - peak.step,
            ArrowRight: values.peak_time + peak.step, ArrowUp: values.peak_time + peak.step,
            Home: peak.minimum, End: peak.maximum,
        }[event.key];
        if (to !== undefined) {
            event.preventDefault();
            this.onPeak(to);
        }
    }
};
