// Reading and writing the host's gradio components, by their ids.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).Controls = class {
    /** `tab` is "txt2img" or "img2img", `declarations` what Python wrote into the panel. */
    constructor(tab, declarations) {
        this.tab = tab;
        this.declarations = declarations;
        this.byName = Object.fromEntries(declarations.map((d) => [d.name, d]));
        this.known = {};
    }

    /** An element of the accordion by its name. */
    element(name) {
        return gradioApp().getElementById(`script_${this.tab}_slothful_attention_${name}`);
    }

    /** The values of all controls by name. What cannot be read, as while somebody searches in a
     *  list of choices, keeps its last value. */
    values() {
        for (const {name, kind, choices} of this.declarations) {
            const input = this._input(this.element(name), kind);
            const value = kind === "bool" ? input?.checked
                : kind === "choice" ? input?.value : parseFloat(input?.value);
            const readable = kind === "choice" ? choices.includes(value)
                : kind === "bool" ? input : Number.isFinite(value);
            if (readable) {
                this.known[name] = value;
            }
        }
        return {...this.known};
    }

    /** Write a number into a control, as if it had been typed. */
    set(name, value) {
        const input = this._input(this.element(name), "float");
        if (parseFloat(input.value) !== value) {
            input.value = value;
            updateInput(input);
        }
    }

    /** Whether the controls show these settings, those of a preset or of a wish. */
    shows(settings, values = this.values()) {
        return this.declarations.every(({name, kind, site}) => {
            const weight = settings.block_weights[name];
            const wanted = site ? (weight === undefined ? 1 : weight) : settings[name];
            return kind === "bool" || kind === "choice" ? values[name] === wanted
                : Math.abs(values[name] - wanted) < 1e-6;
        });
    }

    /** Whether the chosen method uses a control. */
    used(name, values) {
        const {methods = []} = this.byName[name] || {};
        return methods.length === 0 || methods.includes(values.method);
    }

    /** Those which say how strong what is chosen is: the method's, or those of what stands alone. */
    strengths(values) {
        const marked = this.declarations.filter(({strength}) => strength);
        const own = marked.filter(({methods}) => methods.includes(values.method));
        return (own.length ? own : marked.filter(({methods}) => methods.length === 0)).map(
            ({name}) => name);
    }

    /** Whether the chosen method has parameters of its own in a group of the page. */
    usesGroup(group, values) {
        return this.declarations.some((declared) => declared.group === group
            && declared.methods.includes(values.method));
    }

    /** The host's own fields, under the names that the server knows. */
    fields() {
        const {tab} = this;
        const fields = {
            img2img: tab === "img2img",
            hires: Boolean(this._own("hr-checkbox", "bool")?.checked),
            sampler: this._own("sampling", "choice")?.value,
            scheduler: this._own("scheduler", "choice")?.value,
            hr_sampler: this._hires("hr_sampler"),
            hr_scheduler: this._hires("hr_scheduler"),
        };
        const numbers = {
            steps: "steps", width: "width", height: "height", hr_steps: "hires_steps",
            denoising_strength: "denoising_strength", hr_scale: "hr_scale",
            hr_resize_x: "hr_resize_x", hr_resize_y: "hr_resize_y",
        };
        for (const [name, id] of Object.entries(numbers)) {
            const value = parseFloat(this._own(id, "float")?.value);
            if (Number.isFinite(value)) {
                fields[name] = value;
            }
        }
        const scale = this._own("scale", "float");
        const image = this.image();
        if (image && scale?.offsetParent) { // "Resize by" is chosen
            fields.width = Math.floor(image.naturalWidth * scale.value);
            fields.height = Math.floor(image.naturalHeight * scale.value);
        }
        return fields;
    }

    /** The image that img2img begins with, null if there is none. */
    image() {
        const images = this.tab === "img2img"
            ? gradioApp().querySelectorAll("#mode_img2img img") : [];
        return [...images].find((image) => image.offsetParent && image.naturalWidth) || null;
    }

    /** A choice of the hires pass, whose fields the host names alike in all tabs. */
    _hires(id) {
        return this._input(gradioApp().getElementById(id), "choice")?.value;
    }

    _own(id, kind) {
        return this._input(gradioApp().getElementById(`${this.tab}_${id}`), kind);
    }

    _input(element, kind) {
        const types = {bool: "input[type=checkbox]", choice: "input:checked"};
        return element?.querySelector(types[kind] ?? "input[type=number]")
            ?? (kind === "choice" ? element?.querySelector("input") : null);
    }
};
