// What is left to compute, pass by pass, and what to be careful about.

(globalThis.slothfulAttention ??= {}).Summary = class {
    constructor() {
        const {make, text} = slothfulAttention.elements;
        this.rows = make("tbody");
        const heads = [text("Left to compute"), text("self-attention"), text("U-Net")];
        this.table = make("table", {},
            make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", {scope: "col"}, h)))),
            this.rows);
        this.notes = make("p", {class: "slothful-notes", role: "status"});
        this.root = make("section", {class: "slothful-summary",
            "aria-label": text("Left to compute")}, this.table, this.notes);
    }

    /** Draw `answer`, what the server said: {passes, model} or {error}. */
    draw(answer) {
        const {make, write, text} = slothfulAttention.elements;
        const passes = (answer.passes ?? []).filter((pass) => pass.left);
        this.table.hidden = passes.length === 0;
        const key = JSON.stringify(passes.map((pass) => [pass.name, pass.left]));
        if (key !== this.key) {
            this.key = key;
            this.rows.replaceChildren(...passes.map((pass) => make("tr", {},
                make("th", {scope: "row"}, text(pass.name)),
                make("td", {}, this._share(pass.left.attention)),
                make("td", {}, this._share(pass.left.unet)))));
        }
        const notes = this._notes(answer);
        this.notes.hidden = notes.length === 0;
        write(this.notes, notes.join(" "));
    }

    _share(part) {
        const {make} = slothfulAttention.elements;
        const bar = make("span", {class: "slothful-bar", "aria-hidden": "true"});
        bar.style.setProperty("--slothful-part", Math.min(part, 1).toFixed(3));
        const cell = make("span", {class: "slothful-share"}, bar, `${Math.round(part * 100)} %`);
        return cell;
    }

    _notes({error, model, passes}) {
        const {text} = slothfulAttention.elements;
        if (error) {
            return [error];
        }
        const notes = {
            none: [text("No model is loaded yet.")],
            unsupported: [text("Nothing can be applied to the loaded model.")],
        }[model] ?? [];
        if (model === "loaded" && passes.some((pass) => !pass.exact)) {
            notes.push(text("This sampler's own schedule is not known; even steps are drawn."));
        }
        const few = passes.map((pass) => pass.few).filter(Boolean)
            .sort((one, other) => one.keys - other.keys)[0];
        if (few) {
            notes.push(text("Few keys: {site} is left with {keys}, and below {enough} parts of " +
                "the picture get lost. Use larger tiles, less strength or a higher global ratio.",
            few));
        }
        return notes;
    }
};
