// What is saved, what is left to compute of each pass, and what to be careful about.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Summary = class {
    constructor() {
        const {make, text} = slothfulAttention.elements;
        this.rows = make("tbody");
        this.held = make("p", {class: "slothful-caption"});
        const heads = [text("Remaining computation"), text("self-attention"), text("U-Net")];
        this.table = make("table", {},
            make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", {scope: "col"}, h)))),
            this.rows);
        this.notes = make("p", {class: "slothful-notes", role: "status"});
        this.bar = this._bar();
        this.words = make("strong");
        this.saved = make("p", {class: "slothful-saved", hidden: ""}, this.bar, this.words);
        this.root = make("section", {class: "slothful-summary",
            "aria-label": text("Remaining computation")}, this.table, this.held);
    }

    /** Draw `answer`, what the server said: {passes, model, nothing: why nothing will change, or
     *  null} or {error}. `notes` and `saved` are placed by whoever made this. */
    draw(answer) {
        const {make, write, text, number} = slothfulAttention.elements;
        const passes = (answer.passes || []).filter((pass) => pass.left);
        this.table.hidden = passes.length === 0 || Boolean(answer.nothing);
        const rows = passes.map(({name, left}) => ({name, left}));
        if (rows.length > 1) {
            rows.push({name: text("whole image"), left: answer.left});
        }
        const least = Boolean(answer.measured);
        const key = JSON.stringify([rows, least]);
        if (key !== this.key) {
            this.key = key;
            this.rows.replaceChildren(...rows.map(({name, left}) => make("tr", {},
                make("th", {scope: "row"}, text(name)),
                make("td", {}, this._share(left.attention, least)),
                make("td", {}, this._share(left.unet, least)))));
        }
        this._drawSaved(answer, least);
        this.held.hidden = !answer.held || this.table.hidden;
        write(this.held, text("Sleep holds about {size} MiB for each image of a batch.", {
            size: number(answer.held || 0, answer.held < 10 ? 1 : 0)}));
        const notes = this._notes(answer);
        this.notes.hidden = notes.length === 0;
        write(this.notes, notes.join(" "));
    }

    /** In one sentence, for the whole image. */
    _drawSaved({left, nothing}, least) {
        const {write, text, number} = slothfulAttention.elements;
        this.saved.hidden = !left || Boolean(nothing);
        if (this.saved.hidden) {
            return;
        }
        this._fill(this.bar, left.unet);
        const shares = {unet: number(100 * Math.abs(1 - left.unet), 0)};
        write(this.words, left.unet > 1 ? text("Adds {unet} % to the U-Net", shares)
            : least ? text("Saves at most {unet} % of the U-Net", shares)
                : text("Saves {unet} % of the U-Net", shares));
    }

    _bar() {
        return slothfulAttention.elements.make("span", {class: "slothful-bar", "aria-hidden": "true"});
    }

    _fill(bar, part) {
        bar.style.setProperty("--slothful-part", Math.min(part, 1).toFixed(3));
    }

    _share(part, least) {
        const {make, text} = slothfulAttention.elements;
        const bar = this._bar();
        this._fill(bar, part);
        const share = `${Math.round(part * 100)} %`;
        const cell = make("span", {class: "slothful-share"}, bar,
            least ? text("at least {share}", {share}) : share);
        return cell;
    }

    _notes({error, model, nothing, only_vae: onlyVae, measured, negative, passes}) {
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
        if (measured && passes.some((pass) => pass.asleep.includes(true))) {
            notes.push(text("At most the steps that are drawn so will sleep: what changes is " +
                "measured while the image is made."));
        }
        if (passes.some((pass) => pass.acts && pass.one_sided.includes(true))) {
            notes.push(negative === "in the attention"
                ? text("In steps with a mark below, the negative prompt acts in the attention.")
                : text("In steps with a mark below, the negative side sleeps."));
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
