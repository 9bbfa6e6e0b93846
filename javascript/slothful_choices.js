// Choices of dropdowns in the page's language. What is sent stays English: the words lie over the
// field, and in the list each choice keeps its value.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Choices = class {
    constructor(controls) {
        this.controls = controls;
        this.names = controls.declarations
            .filter(({kind}) => kind === "choice").map(({name}) => name);
        this.covers = {};
    }

    /** Write the words of the chosen ones, and of those in an open list. */
    look() {
        for (const name of this.names) {
            const control = this.controls.element(name);
            const input = control && control.querySelector("input");
            if (input) {
                this._cover(name, input);
                control.querySelectorAll("li[data-value]").forEach((item) => this._item(item));
            }
        }
    }

    _cover(name, input) {
        const {make, write, text} = slothfulAttention.elements;
        const words = text(input.value);
        let cover = this.covers[name];
        if (!cover || cover.parentElement !== input.parentElement) {
            cover = make("span", {class: "slothful-choice", "aria-hidden": "true"});
            this.covers[name] = cover;
            input.after(cover);
        }
        cover.hidden = words === input.value;
        write(cover, words);
    }

    _item(item) {
        const {write, text} = slothfulAttention.elements;
        const words = [...item.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE
            && node.data.trim()).pop();
        if (words) {
            write(words, text(item.dataset.value));
        }
    }
};
