// Help beside the controls: a line, and all of it for whoever asks.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).ControlHelp = class {
    constructor(controls) {
        this.controls = controls;
    }

    /** Put a button beside each line that has more to say; again where gradio has made it anew. */
    look() {
        for (const {name, kind, brief, help} of this.controls.declarations) {
            const control = this.controls.element(name);
            if (control && kind === "bool") { // the box above its help
                control.dataset.slothfulKind = kind;
            }
            if (control && help && !control.querySelector(".slothful-more")) {
                this._add(control, brief, help);
            }
        }
    }

    _add(control, brief, help) {
        const {make, change, write, text} = slothfulAttention.elements;
        const words = this._words(control, [brief, text(brief)]);
        if (!words) {
            return;
        }
        const toggle = (event) => {
            event.preventDefault(); // it lies in the label of the control
            const more = button.getAttribute("aria-expanded") === "false";
            words.data = text(more ? help : brief);
            write(button, more ? text("less") : text("more"));
            change(button, {"aria-expanded": String(more)});
        };
        // a real button would be what the label around it names
        const button = make("span", {role: "button", tabindex: 0, class: "slothful-more",
            "aria-expanded": "false", click: toggle, keydown: (event) => {
                if (event.key === "Enter" || event.key === " ") {
                    toggle(event);
                }
            }}, text("more"));
        words.parentElement.append(button);
    }

    /** The text of a control that is one of these. */
    _words(control, texts) {
        const nodes = document.createTreeWalker(control, NodeFilter.SHOW_TEXT);
        while (nodes.nextNode()) {
            if (texts.includes(nodes.currentNode.data.trim())) {
                return nodes.currentNode;
            }
        }
        return null;
    }
};
