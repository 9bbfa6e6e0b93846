// What is left to compute, pass by pass, and what to be careful about.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Summary = class {
    constructor() {
        const {make, text} = slothfulAttention.elements;
        this.rows = make("tbody");
        const heads = [text("Remaining computation"), text("self-attention"), text("U-Net")];
        this.table = make("table", {},
            make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", {scope: "col"}, h)))),
            this.rows);
        this.notes = make("p", {class: "slothful-notes", role: "status"});
        this.root = make("section", {class: "slothful-summary",
            "aria-label": text("Remaining computation")}, this.table);
    }

    /** Draw `answer`, what the server said: {passes, model, nothing: why nothing will change, or
     *  null} or {error}. `notes` is placed by whoever made this. */
    draw(answer) {
        const {make, write, text} = slothfulAttention.elements;
        const passes = (answer.passes || []).filter((pass) => pass.left);
        this.table.hidden = passes.length === 0 || Boolean(answer.nothing);
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

    _notes({error, model, nothing, only_vae: onlyVae, passes}) {
        const {text} = slothfulAttention.elements;
        const {say} = slothfulAttention.messages;
        if (error) {
            const words = say(error);
            return [words[0].toUpperCase() + words.slice(1)];
        }
        if (nothing) {
            const values = {reason: say(nothing)};
            return [onlyVae ? text("Only the VAE will be tiled: {reason}.", values)
                : text("Nothing will change: {reason}.", values)];
        }
        const notes = model === "none" ? [text("No model is loaded yet.")] : [];
        if (model === "loaded" && passes.some((pass) => !pass.exact)) {
            notes.push(text("The schedule of this sampler is not known; evenly spaced steps are shown."));
        }
        const few = passes.map((pass) => pass.few).filter(Boolean)
            .sort((one, other) => one.keys - other.keys)[0];
        if (few) {
            notes.push(text("Too few keys: {site} keeps only {keys}; below {enough}, parts of " +
                "the image can disappear. Use larger tiles, less strength or a higher global ratio.",
            few));
        }
        return notes;
    }
};
