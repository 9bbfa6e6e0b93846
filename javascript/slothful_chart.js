// Tokens per key over time: a curve for each side, or one for both, with a dot for each step.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).TimeChart = class {
    /** `onPeak(time)` and `onMoment(pass, time)` are called while the pointer or a key moves them. */
    constructor(onPeak, onMoment) {
        const {make, text} = slothfulAttention.elements;
        this.onPeak = onPeak;
        this.onMoment = onMoment;
        this.height = 116;
        this.margin = {left: 30, right: 8, top: 20, bottom: 18, gap: 22};
        this.back = make("g", {"aria-hidden": "true"});
        this.front = make("g", {"aria-hidden": "true"});
        this.peak = make("g", {
            class: "slothful-peak", role: "slider", tabindex: 0, "aria-label": text("Peak time"),
            keydown: (event) => this._key(event),
        });
        this.name = make("span");
        this.keys = make("span", {class: "slothful-keys"});
        this.svg = make("svg", {
            class: "slothful-chart", height: this.height, role: "group",
            pointerdown: (event) => this._grab(event),
        }, this.back, this.front, this.peak);
        this.root = make("section", {class: "slothful-time"},
            make("div", {class: "slothful-caption slothful-legend"}, this.name, this.keys), this.svg);
    }

    /** Draw `view`: {passes, moment: {pass, step}, peak: limits of the peak time or null, peakTime,
     *  agents: whether keys are agents, series: what `Strides.series` gives}. */
    draw(view) {
        const {change, write, text} = slothfulAttention.elements;
        this.view = view;
        const {left, right, gap} = this.margin;
        const count = view.passes.length;
        const width = Math.max(this.root.clientWidth, 200);
        this.span = (width - left - right - gap * (count - 1)) / count;
        this.top = this._ceiling();
        const name = view.agents ? text("Tokens per agent over time") : text("Tokens per key over time");
        write(this.name, name);
        this._legend();
        change(this.svg, {width: width, viewBox: `0 0 ${width} ${this.height}`, "aria-label": name});
        this.back.replaceChildren(...view.passes.flatMap((pass, index) => this._frame(pass, index)));
        this.front.replaceChildren(
            ...view.passes.flatMap((pass, index) => this._marks(pass, index)));
        this._drawPeak();
    }

    /** Words for what is drawn, and for nothing else. */
    _legend() {
        const {make, text} = slothfulAttention.elements;
        const {series, passes} = this.view;
        const keys = series.filter(({curve}) => curve).map(({side, words}) => [side, words]);
        if (series.length && passes.some((pass) => pass.asleep.includes(true))) {
            keys.push(["asleep", text("asleep")]);
        }
        if (JSON.stringify(keys) !== this.shown) {
            this.shown = JSON.stringify(keys);
            this.keys.replaceChildren(...keys.map(([name, words]) =>
                make("span", {class: `slothful-key slothful-key-${name}`}, words)));
        }
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
        const most = Math.max(...this.view.series.flatMap(({values}) => values.flat()));
        let top = 2;
        while (top < most) {
            top *= 2;
        }
        return top;
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
            parts.push(make("text", {x: to, y: 13, "text-anchor": "end"}, text("off")));
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
        const {moment, series} = this.view;
        const parts = [];
        const at = (step) => this.x(index, pass.times[step]);
        for (const {side, curve, values} of series) {
            const awake = values[index].map((value, step) => [step, value])
                .filter(([, value]) => value !== null);
            if (curve && awake.length) {
                const points = awake.map(([step, value]) =>
                    `${at(step).toFixed(1)},${this.y(value).toFixed(1)}`);
                parts.push(make("path", {class: `slothful-curve slothful-${side}`,
                    d: `M${points.join("L")}`}));
            }
            parts.push(...values[index].map((value, step) => make("circle", {
                class: `slothful-dot slothful-${side}${pass.asleep[step] ? " slothful-asleep" : ""}`,
                cx: at(step), cy: this.y(value ?? 1), r: 2.5})));
        }
        const sided = pass.times.filter((_, step) => pass.one_sided[step]);
        parts.push(...sided.map((time) => make("line", {class: "slothful-one-sided",
            x1: this.x(index, time), x2: this.x(index, time), y1: this.y(0) - 7, y2: this.y(0)})));
        if (moment.pass === index && pass.times.length) {
            parts.unshift(make("line", {class: "slothful-moment-line", x1: at(moment.step),
                x2: at(moment.step), y1: this.y(this.top), y2: this.y(0)}));
            parts.push(this._momentLabel(index, at(moment.step), moment.step));
        }
        return parts;
    }

    /** What the moment's line is, with the numbers that the curves have there. */
    _momentLabel(index, x, step) {
        const {text, number} = slothfulAttention.elements;
        const values = this.view.series.filter(({curve}) => curve).map(
            (one) => one.values[index][step]).filter((value) => Number.isFinite(value));
        const words = values.length ? text("moment: {value}", {
            value: values.map((value) => number(value)).join(" / ")}) : text("moment");
        return this._label(index, x, this.y(0) - 10, words);
    }

    /** A word beside a line, on the side where there is room. */
    _label(index, x, y, words) {
        const {make} = slothfulAttention.elements;
        const right = x < this.x(index, 0.55);
        return make("text", {class: "slothful-word", x: x + (right ? 8 : -8), y: y,
            "text-anchor": right ? "start" : "end"}, words);
    }

    _drawPeak() {
        const {make, change, number, text} = slothfulAttention.elements;
        const {peak, peakTime, passes} = this.view;
        change(this.peak, {display: peak ? undefined : "none"});
        if (!peak) {
            return;
        }
        change(this.peak, {"aria-valuemin": peak.minimum, "aria-valuemax": peak.maximum,
            "aria-valuenow": number(peakTime, 2)});
        this.peak.replaceChildren(...passes.flatMap((_, index) => {
            const x = this.x(index, peakTime);
            const line = {x1: x, x2: x, y1: this.y(this.top), y2: this.y(0)};
            return [
                make("line", {class: "slothful-grip", ...line}),
                make("line", {class: "slothful-peak-line", ...line}),
                make("circle", {class: "slothful-knob", cx: x, cy: this.y(this.top), r: 6}),
                this._label(index, x, this.y(this.top) + 13, text("peak")),
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
        const distance = Math.abs(start.x - this.x(start.pass, this.view.peakTime));
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
        const {peak, peakTime} = this.view;
        const to = {
            ArrowLeft: peakTime - peak.step, ArrowDown: peakTime - peak.step,
            ArrowRight: peakTime + peak.step, ArrowUp: peakTime + peak.step,
            Home: peak.minimum, End: peak.maximum,
        }[event.key];
        if (to !== undefined) {
            event.preventDefault();
            this.onPeak(to);
        }
    }
};
