// One control that chooses: buttons for a wish, which set all values for the image that the fields ask
// for, until one of them is moved by hand.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Lazy = class {
    constructor(controls) {
        const {make, text} = slothfulAttention.elements;
        this.controls = controls;
        this.level = "custom";
        this.fields = ""; // those for which it was chosen
        this.settings = null; // what was chosen, once it is known
        this.settled = false; // whether the controls have been seen to show it
        this.asks = 0;
        const wishes = [
            ["off", text("off"), text("Nothing is changed.")],
            ["gentle", text("gentle"), text("Close to the original image.")],
            ["balanced", text("balanced"), text("The image changes a little.")],
            ["strong", text("strong"), text("For drafts: the image changes visibly.")],
            ["custom", text("custom"), text("The values below stay as they are.")],
        ];
        this.buttons = wishes.map(([level, label, title]) => make("button", {type: "button",
            class: "slothful-button", title, "data-level": level,
            click: () => this._wish(level)}, label));
        const group = make("div", {class: "slothful-lazy", role: "group",
            "aria-label": text("Lazy")}, ...this.buttons);
        this.words = make("p", {class: "slothful-caption", "aria-live": "polite"});
        this.root = make("div", {class: "slothful-wish"},
            make("strong", {class: "slothful-name"}, text("Lazy")), group, this.words);
        this._draw();
    }

    _wish(level) {
        this.level = level;
        this.settings = null;
        if (level !== "custom") {
            this._ask();
        }
        this._draw();
    }

    /** Let the server choose for the fields as they are. */
    _ask() {
        this.asks += 1;
        this.settled = false;
        this.fields = JSON.stringify(this.controls.fields());
        // counted, for gradio tells the server of nothing but what has changed
        const box = this.controls.element("lazy_ask").querySelector("textarea, input");
        box.value = JSON.stringify({level: this.level, ask: this.asks,
            fields: JSON.parse(this.fields)});
        updateInput(box);
    }

    /** Follow what was chosen, the fields, and whoever moves a value. Cheap: it runs several times a
     *  second. */
    look() {
        if (this.level === "custom") {
            return;
        }
        const box = this.controls.element("lazy_chosen").querySelector("textarea, input");
        if (this.settings === null || !this.settled) {
            const chosen = box.value && JSON.parse(box.value);
            this.settings = chosen && chosen.ask === this.asks ? chosen.settings : null;
        }
        if (this.settings === null) {
            return;
        }
        if (this.controls.shows(this.settings)) {
            this.settled = true;
            if (JSON.stringify(this.controls.fields()) !== this.fields) {
                this.settings = null;
                this._ask();
            }
        } else if (this.settled) {
            this._wish("custom");
        }
    }

    _draw() {
        const {change, write} = slothfulAttention.elements;
        for (const button of this.buttons) {
            const pressed = button.dataset.level === this.level;
            change(button, {"aria-pressed": String(pressed)});
            if (pressed) {
                write(this.words, button.title);
            }
        }
    }
};
