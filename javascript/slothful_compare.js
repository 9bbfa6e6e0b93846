// Compare: one request that makes each image twice, and the two images with a divider.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Comparison = class {
    constructor(tab, controls) {
        const {make, text} = slothfulAttention.elements;
        this.tab = tab;
        this.controls = controls;
        this.button = make("button", {type: "button", class: "slothful-button slothful-large",
            title: text("Generates each image twice with the same seed, without and with the effect."),
            click: () => this._begin()}, text("Compare off / on"));
        this.off = make("img", {alt: text("The image without the effect")});
        this.on = make("img", {alt: text("The image with the effect"), class: "slothful-on"});
        this.range = make("input", {type: "range", min: 0, max: 100, value: 50, step: 1,
            "aria-label": text("Divider between off and on"), input: () => this._divide()});
        this.pictures = make("div", {class: "slothful-pictures"}, this.off, this.on,
            make("span", {class: "slothful-tag"}, text("off")),
            make("span", {class: "slothful-tag slothful-tag-on"}, text("on")),
            this.range, make("span", {class: "slothful-divider", "aria-hidden": "true"}));
        this.note = make("p", {class: "slothful-hint", role: "status", hidden: ""});
        this.place = make("output");
        const step = (words, sign, by) => make("button", {type: "button", class: "slothful-button",
            "aria-label": words, click: () => this._show(this.index + by)}, sign);
        this.steps = make("div", {class: "slothful-buttons"},
            step(text("Previous pair"), "\u2039", -1), this.place, step(text("Next pair"), "\u203a", 1));
        this.root = make("section", {class: "slothful-compare", hidden: "",
            "aria-label": text("Comparison")},
        make("div", {class: "slothful-head"}, make("strong", {}, text("Comparison")), this.steps,
            make("button", {type: "button", class: "slothful-button",
                "aria-label": text("Close"), click: () => {
                    this.root.hidden = true;
                }}, "\u00d7")), this.pictures);
        this._divide();
    }

    /** Whether a comparison has been asked for and not been seen yet: look again soon. */
    get waits() {
        return this.waiting !== undefined;
    }

    _divide() {
        this.pictures.style.setProperty("--slothful-cut", `${this.range.value}%`);
    }

    /** Tick the hidden box, press the host's own button, and untick it again. */
    _begin() {
        const box = this.controls.element("compare").querySelector("input");
        const tick = (on) => {
            if (box.checked !== on) {
                box.click();
            }
        };
        this.waiting = this._info();
        this.batch = parseInt(gradioApp().querySelector(
            `#${this.tab}_batch_size input[type=number]`)?.value, 10) || 1;
        tick(true);
        // gradio 3 takes the values of a request when the button is pressed, from what has been
        // rendered by then; gradio 4 a frame later, once what else changes is rendered too
        setTimeout(() => {
            gradioApp().getElementById(`${this.tab}_generate`).click();
            requestAnimationFrame(() => setTimeout(() => tick(false), 200));
        }, 100);
    }

    /** What the host says about the images in its gallery, as text. */
    _info() {
        return gradioApp().querySelector(`#generation_info_${this.tab} textarea`)?.value || "";
    }

    /** The script that is chosen in the host's list, "" if there is none. A script makes requests
     *  of its own, of which pairs cannot be made. */
    _script() {
        const list = gradioApp().querySelector(`#${this.tab}_script_container #script_list input`);
        return list && list.value !== "None" ? list.value : "";
    }

    /** Offer a comparison where there can be one, and show the pair as soon as the gallery has it.
     */
    look() {
        const {change, write, text} = slothfulAttention.elements;
        const script = this._script();
        change(this.button, {disabled: script ? "" : undefined});
        this.note.hidden = !script;
        write(this.note, text("Off and on cannot be compared while the script {script} is chosen.",
            {script}));
        const info = this._info();
        if (!this.waits || !info || info === this.waiting) {
            return;
        }
        const {infotexts, index_of_first_image: first = 0} = JSON.parse(info);
        const images = this._images();
        if (images.length < infotexts.length) {
            return;
        }
        this.waiting = undefined;
        const made = (index) => infotexts[index].includes("Slothful Attention: v");
        // batches are made off and on in turns; a grid of all, if there is one, lies before the first
        const starts = Array.from({length: infotexts.length - first}, (_, index) => first + index)
            .filter((index) => (index - first) % (2 * this.batch) < this.batch);
        this.pairs = starts.map((off) => [off, off + this.batch])
            .filter(([off, on]) => on < infotexts.length && made(on) && !made(off))
            .map((pair) => pair.map((index) => images[index]));
        if (this.pairs.length === 0) { // it was refused, or nothing was applied: the host says why
            return;
        }
        this._show(0);
        this.root.hidden = false;
        this.root.scrollIntoView({block: "nearest"});
    }

    /** Show a pair by its number; behind the last comes the first. */
    _show(number) {
        const count = this.pairs.length;
        this.index = (number + count) % count;
        [this.off.src, this.on.src] = this.pairs[this.index];
        this.steps.hidden = count === 1;
        slothfulAttention.elements.write(this.place, `${this.index + 1} / ${count}`);
    }

    /** The addresses of the gallery's images in their order. */
    _images() {
        const gallery = gradioApp().getElementById(`${this.tab}_gallery`);
        const small = gallery.querySelectorAll(".thumbnail-item img");
        return [...small].map((image) => image.src);
    }
};
