// The image with the windows, or the cells, of one site at one moment.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).TileGrid = class {
    constructor() {
        const {make, text} = slothfulAttention.elements;
        this.image = make("img", {alt: "", hidden: ""});
        this.lines = make("path", {"vector-effect": "non-scaling-stroke"});
        this.halo = make("path", {class: "slothful-halo", "vector-effect": "non-scaling-stroke"});
        this.svg = make("svg", {preserveAspectRatio: "none", "aria-hidden": "true"},
            this.halo, this.lines);
        this.frame = make("div", {class: "slothful-frame"}, this.image, this.svg);
        this.caption = make("p", {class: "slothful-caption"});
        this.root = make("section", {class: "slothful-tiles", "aria-label": text("Tile grid")},
            this.frame, this.caption);
    }

    /** Draw `view`: {site, plan: the site's plan or null, width, height in pixels, image}. */
    draw({site, plan, width, height, image}) {
        const {change, write} = slothfulAttention.elements;
        const [rows, columns] = plan?.grid ?? [1, 1];
        change(this.svg, {viewBox: `0 0 ${columns} ${rows}`});
        const across = Math.min(110 * Math.min(width / height, 2), 150 * width / height);
        this.frame.style.width = `${Math.round(across)}px`;
        this.frame.style.height = `${Math.round(across * height / width)}px`;
        change(this.image, {hidden: image ? undefined : "", src: image?.src});
        const lying = this._borders(plan, "rows", 0);
        const standing = this._borders(plan, "columns", 1);
        const path = lying.map((y) => `M0 ${y}H${columns}`).join("")
            + standing.map((x) => `M${x} 0V${rows}`).join("");
        for (const lines of [this.lines, this.halo]) {
            change(lines, {d: path});
        }
        change(this.lines, {class: plan?.rows ? "slothful-windows" : "slothful-fine"});
        write(this.caption, this._words(site, plan));
    }

    /** Where lines go along an axis, in tokens: between windows, or between cells. */
    _borders(plan, name, axis) {
        if (plan?.[name]) {
            return plan[name].slice(1, -1);
        }
        if (!plan?.cell) {
            return [];
        }
        const size = plan.cell[axis];
        const count = Math.ceil(plan.grid[axis] / size) - 1;
        return Array.from({length: count}, (_, index) => Number(((index + 1) * size).toFixed(2)));
    }

    _words(site, plan) {
        const {text, number} = slothfulAttention.elements;
        if (!plan) {
            return text("{site}: off", {site});
        }
        if (plan.asleep) {
            return text("{site}: asleep", {site});
        }
        if (plan.rows) {
            return text("{site}: {down}x{across} tiles on {rows}x{columns} tokens", {
                site, down: plan.rows.length - 1, across: plan.columns.length - 1,
                rows: plan.grid[0], columns: plan.grid[1]});
        }
        if (plan.cell) {
            return text("{site}: cells of {rows}x{columns} tokens", {
                site, rows: number(plan.cell[0]), columns: number(plan.cell[1])});
        }
        return text("{site}: {keys} keys for {tokens} tokens", {
            site, keys: plan.keys, tokens: plan.grid[0] * plan.grid[1]});
    }
};
