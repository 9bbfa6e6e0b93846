// Compare: one request that makes each image twice, and the two images with a divider.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Comparison = class {
    constructor(tab, controls) {
        const {make, text} = slothfulAttention.elements;
        this.tab = tab;
        this.controls = controls;
        this.button = make("button", {type: "button", class: "slothful-button",
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
        this.root = make("section", {class: "slothful-compare", hidden: "",
            "aria-label": text("Comparison")}, this.pictures);
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
        const made = (index) => infotexts[index].includes("Slothful Attention: v");
        // a grid of all images, if there is one, lies before the first
        const on = infotexts.findIndex((_, index) => index >= first && made(index));
        const off = infotexts.findIndex((_, index) => index >= first && !made(index));
        if (images.length < infotexts.length) {
            return;
        }
        this.waiting = undefined;
        if (on < 0 || off < 0) { // it was refused, or nothing was applied: the host says why
            return;
        }
        this.off.src = images[off];
        this.on.src = images[on];
        this.root.hidden = false;
    }

    /** The addresses of the gallery's images in their order. */
    _images() {
        const gallery = gradioApp().getElementById(`${this.tab}_gallery`);
        const small = gallery.querySelectorAll(".thumbnail-item img");
        return [...small].map((image) => image.src);
    }
};
