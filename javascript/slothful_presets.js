// The presets as a row of buttons, from safe to strong, with what saves one and what resets.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).PresetButtons = class {
    constructor(controls) {
        const {make, text} = slothfulAttention.elements;
        this.controls = controls;
        this.presets = [];
        this.asks = 0;
        this.pressed = null; // the preset whose values the controls show
        const button = (words, click) => make("button",
            {type: "button", class: "slothful-button", click}, words);
        this.row = make("div", {class: "slothful-presets", role: "group",
            "aria-label": text("Presets")});
        this.others = make("div", {class: "slothful-presets", role: "group",
            "aria-label": text("More presets")});
        this.words = make("p", {class: "slothful-caption", "aria-live": "polite", hidden: ""});
        this.saving = button(text("Save as"), () => this._open(this.form.hidden));
        this.deleting = button(text("Delete"), () => this._ask("preset_delete", this.pressed.name));
        this.names = make("datalist", {id: `slothful-names-${controls.tab}`});
        this.name = make("input", {type: "text", maxlength: 64, list: this.names.id,
            "aria-label": text("Name of the preset"), placeholder: text("Name of the preset")});
        this.form = make("form", {class: "slothful-form", hidden: "",
            submit: (event) => this._save(event), keydown: (event) => this._key(event)},
        this.name, make("button", {class: "slothful-button"}, text("Save")), this.names);
        this.deleting.hidden = true;
        this.root = make("section", {id: `${controls.element("drawings").id.slice(0, -8)}preset_buttons`,
            "aria-label": text("Presets")},
        make("div", {class: "slothful-head"}, make("strong", {}, text("Presets")),
            make("span", {class: "slothful-caption"}, text("from safe to strong")),
            make("span", {class: "slothful-buttons"}, this.deleting, this.saving,
                button(text("Reset"), () => controls.element("preset_reset").click()))),
        this.form, this.row, this.words);
        this.folded = make("section", {"aria-label": text("More presets")},
            make("p", {class: "slothful-caption"}, text("More presets")), this.others);
    }

    /** Draw `presets`: [{name, own, folded, brief, description, settings}]. */
    draw(presets) {
        const {make} = slothfulAttention.elements;
        if (presets.some(({name, own}) => own && name === this.name.value.trim())) {
            this._open(false); // it has been saved
        }
        this.presets = presets;
        this.names.replaceChildren(...presets.filter(({own}) => own).map(
            ({name}) => make("option", {value: name})));
        for (const [place, folded] of [[this.row, false], [this.others, true]]) {
            place.replaceChildren(...presets.filter((one) => one.folded === folded).map(
                (preset) => this._button(preset)));
        }
        this.look(this.controls.values());
    }

    _button({name, own, brief, description, settings}) {
        const {make, text} = slothfulAttention.elements;
        const words = text(description) || text("A preset of your own.");
        return make("button", {
            type: "button", class: "slothful-preset", title: words, "data-preset": name,
            "aria-label": `${own ? name : text(name)}: ${words}`,
            click: () => this._ask("preset_load", name),
        }, slothfulAttention.icons.icon(this.controls, settings),
        make("b", {}, own ? name : text(name)), make("small", {}, own ? text("your own") : text(brief)));
    }

    /** Hand a name to the server, which does the rest. */
    _ask(what, name) {
        this.asked = name;
        this.asks += 1;
        // counted, for gradio tells the server of nothing but what has changed
        const box = this.controls.element(what).querySelector("textarea, input");
        box.value = `${name}/${this.asks}`;
        updateInput(box);
    }

    _open(open) {
        this.form.hidden = !open;
        slothfulAttention.elements.change(this.saving, {"aria-expanded": String(open)});
        if (open) {
            this.name.value = this.pressed && this.pressed.own ? this.pressed.name : "";
            this.name.focus();
        }
    }

    _save(event) {
        event.preventDefault();
        this._ask("preset_save", this.name.value);
    }

    _key(event) {
        if (event.key === "Escape") {
            event.stopPropagation(); // the webui's own meaning is to interrupt
            this._open(false);
            this.saving.focus();
        }
    }

    /** Press the button of the preset that the controls show, as long as they do. */
    look(values) {
        const {change, write, text} = slothfulAttention.elements;
        const shown = this.presets.filter((one) => this.controls.shows(one.settings, values));
        // of several with the same values the one that was asked for, or one's own
        this.pressed = shown.find(({name}) => name === this.asked)
            || shown.find(({own}) => own) || shown[0] || null;
        for (const button of [...this.row.children, ...this.others.children]) {
            const pressed = this.pressed !== null && button.dataset.preset === this.pressed.name;
            change(button, {"aria-pressed": String(pressed)});
        }
        this.deleting.hidden = !(this.pressed && this.pressed.own);
        this.words.hidden = !(this.pressed && this.pressed.description);
        write(this.words, this.pressed ? text(this.pressed.description) : "");
    }
};
