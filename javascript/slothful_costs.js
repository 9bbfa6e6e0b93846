// What an image takes on this machine, and the button that measures it.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).MachineCosts = class {
    /** `measured` is called when a measurement has ended. */
    constructor(measured) {
        const {make, text} = slothfulAttention.elements;
        this.measured = measured;
        this.words = make("span", {class: "slothful-caption"});
        this.problem = make("p", {class: "slothful-caption", role: "status"});
        this.button = make("button", {type: "button", class: "slothful-button",
            click: () => this._start()}, text("Measure this machine"));
        this.bar = make("progress", {max: 1, value: 0, hidden: true,
            "aria-label": text("Measure this machine")});
        this.root = make("p", {class: "slothful-costs"}, this.words, this.bar);
        this.error = "";
    }

    /** Draw `answer`, what the server said: {model, seconds: {left, without} or null,
     *  costs_problem, nothing}. */
    draw({model, seconds, costs_problem: problem, nothing}) {
        const {write, text} = slothfulAttention.elements;
        this.root.hidden = this.button.hidden = model !== "loaded";
        const values = seconds && {left: this._number(seconds.left),
            without: this._number(seconds.without)};
        write(this.words, !seconds
            ? text("How many seconds is not known yet.")
            : nothing ? text("U-Net of this image: about {without} s", values)
                : text("U-Net of this image: about {left} s, without {without} s; measured on this machine",
                    values));
        const said = this.error || (problem ? text(problem.text, problem) : "");
        write(this.button, this.measuring ? text("Measuring; this takes about half a minute.")
            : seconds ? text("Measure again") : text("Measure this machine"));
        this.problem.hidden = said === "";
        write(this.problem, said);
    }

    _number(seconds) {
        return slothfulAttention.elements.number(seconds, seconds < 100 ? 1 : 0);
    }

    async _start() {
        const {write, text, change} = slothfulAttention.elements;
        const {say} = slothfulAttention.messages;
        this.measuring = true;
        this.bar.hidden = false;
        change(this.button, {disabled: true});
        write(this.button, text("Measuring; this takes about half a minute."));
        let state = {};
        try {
            state = await this._ask("POST");
            while (state.running) {
                this.bar.value = state.share;
                await new Promise((go) => setTimeout(go, 500));
                state = await this._ask("GET");
            }
        } catch (error) {
            state = {error: String(error.message || error)};
        }
        this.error = state.error ? text("This machine could not be measured: {reason}.",
            {reason: say(state.error)}) : "";
        this.measuring = false;
        this.bar.hidden = true;
        change(this.button, {disabled: false});
        write(this.button, text("Measure this machine"));
        this.measured();
    }

    async _ask(method) {
        const reply = await fetch("./slothful-attention/measure", {method});
        if (!reply.ok) {
            throw new Error(reply.status);
        }
        return reply.json();
    }
};
