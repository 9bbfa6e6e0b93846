// Notes beside controls: why one has no effect now, or why its value is refused.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).ControlNotes = class {
    constructor(controls) {
        this.controls = controls;
        this.notes = {};
        this.opened = null;
    }

    /** Show what the server said: `idle`, by a control's name those that stand in its way, and
     *  `error`, its message about a value that it refuses. */
    draw({idle = {}, error}, values) {
        const {messages} = slothfulAttention;
        const refused = error ? messages.refused(error) : null;
        for (const {name} of this.controls.declarations) {
            const words = name === refused ? messages.say(error)
                : idle[name] ? this._idleWords(name, idle[name], values) : "";
            this._write(name, words, name === refused);
        }
        if (refused !== this.opened) {
            this.opened = refused;
            this._reveal(refused);
        }
    }

    _idleWords(name, reasons, values) {
        const {text} = slothfulAttention.elements;
        const {byName} = this.controls;
        // what the control's own label says before its colon is not said again
        const [own] = /^.*[:\uff1a]\s*/.exec(text(byName[name].label)) || [""];
        const label = (reason) => {
            const whole = text(byName[reason].label);
            return own && whole.startsWith(own) ? whole.slice(own.length) : whole;
        };
        const words = reasons.map((reason) => text("{label} is {value}", {
            label: label(reason), value: this._word(values[reason])}));
        return text(byName[name].idle, {reason: words.join(text(" and "))});
    }

    _word(value) {
        const {text, number} = slothfulAttention.elements;
        return typeof value === "boolean" ? text(value ? "on" : "off")
            : typeof value === "number" ? number(value, 2) : text(value);
    }

    _write(name, words, refused) {
        const {make, change, write} = slothfulAttention.elements;
        const control = this.controls.element(name);
        let note = this.notes[name];
        if (!control || (!note && !words)) {
            return;
        }
        if (!note || !control.contains(note)) {
            const id = `${control.id}_note`;
            note = this.notes[name] = make("p", {class: "slothful slothful-note", id: id});
            control.append(note);
            control.querySelectorAll("input").forEach(
                (input) => input.setAttribute("aria-describedby", id));
        }
        note.hidden = !words;
        write(note, words);
        change(note, {"data-refused": refused ? "" : undefined,
            role: refused ? "status" : undefined});
        change(control, {"data-slothful": refused ? "refused" : words ? "idle" : undefined});
    }

    /** Make a control visible: unfold the groups that it is in, and show it if it was hidden. */
    _reveal(name) {
        const control = name && this.controls.element(name);
        if (!control) {
            return;
        }
        control.classList.remove("hidden", "hide");
        const top = this.controls.element("enable");
        for (let around = control.parentElement; around && around !== top;
            around = around.parentElement) {
            const heading = [...around.children].find(
                (child) => child.classList.contains("label-wrap"));
            if (heading && !heading.classList.contains("open")) {
                heading.click();
            }
        }
    }
};
