// What the server says, in the words and the language of the page.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).messages = (function() {
    const REFUSED = "{name} must be {range}, got {value}";
    const OWN = /^((?:\w*Error: )?Slothful Attention: )([^]+)$/;
    const controls = new Set();
    let labels = {};
    let forms = null;

    /** The labels of controls and of the host's fields, which stand for their names in what is
     *  said. */
    function learn(declarations) {
        const {text} = slothfulAttention.elements;
        // in words of our own: the host's labels have translations of others
        labels = {
            width: text("the width"), height: text("the height"),
            steps: text("the number of steps"), hr_steps: text("the number of hires steps"),
            denoising_strength: text("the denoising strength"),
            hr_scale: text("the upscale factor"),
            hr_resize_x: text("the width of the hires pass"),
            hr_resize_y: text("the height of the hires pass"),
        };
        for (const {name, label} of declarations) {
            controls.add(name);
            labels[name] = text(label);
        }
    }

    /** The control that a message refuses the value of, null if there is none. */
    function refused(message) {
        const [, name] = /^(?:block_weights\[)?(\w+)\]? must be /.exec(message) || [];
        return controls.has(name) ? name : null;
    }

    /** A message in the language of the page, with the labels of controls. */
    function say(message) {
        const {text} = slothfulAttention.elements;
        const [, before, own] = OWN.exec(message) || [];
        if (own) {
            return before + say(own);
        }
        const whole = text(message);
        if (whole !== message) {
            return whole;
        }
        forms = forms || read();
        for (const {form, names, pattern} of forms) {
            const found = pattern.exec(message);
            if (found) {
                const values = names.map((name, index) => [name, part(name, found[index + 1])]);
                return text(form, Object.fromEntries(values));
            }
        }
        return message;
    }

    /** A part of a message: what somebody typed stays, all else has words of its own. */
    function part(name, words) {
        const {text} = slothfulAttention.elements;
        if (name === "value") {
            return words;
        }
        if (name === "name") {
            const site = /^block_weights\[(\w+)\]$/.exec(words);
            return site ? `${text("Block weight")} ${site[1]}` : labels[words] || words;
        }
        return name === "choices" ? words.split(", ").map((one) => text(one)).join(", ")
            : say(words);
    }

    /** The translations that hold values, those of the most words first. */
    function read() {
        const keys = Object.keys(window.localization || {}).filter((key) => /\{\w+\}/.test(key));
        const known = [...new Set([REFUSED, ...keys])].map((form) => {
            const names = [];
            const pattern = form.split(/\{(\w+)\}/).map((words, index) => {
                if (index % 2 === 0) {
                    return words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
                }
                names.push(words);
                return "([^]+?)";
            });
            const literal = form.replace(/\{\w+\}/g, "");
            return {form, names, pattern: new RegExp(`^${pattern.join("")}$`), literal};
        });
        return known.filter(({literal}) => /[a-z]{2} ?\w/.test(literal))
            .sort((one, other) => other.literal.length - one.literal.length);
    }

    /** Say the texts in an element anew that begin with the extension's title, those that have come
     *  since the last time. */
    function sayIn(element) {
        const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const node = texts.currentNode;
            const message = node.data.trim();
            if (node.slothfulSaid !== node.data && OWN.test(message)) {
                const said = say(message);
                if (said !== message) {
                    node.data = node.data.replace(message, () => said);
                }
                node.slothfulSaid = node.data;
            }
        }
    }

    /** The extension's own notices, which gradio shows in quotation marks, what the host writes under
     *  the images of a tab, and what was left out of a paste. */
    function look() {
        const {write, text} = slothfulAttention.elements;
        const app = gradioApp();
        for (const place of app.querySelectorAll(".toast-text")) {
            const [, , quoted] = /^\s*(["'])([^]*)\1\s*$/.exec(place.textContent) || [];
            if (quoted && OWN.test(quoted)) {
                write(place, quoted.replace(/\\(['"\\])/g, "$1"));
            }
            const title = place.parentElement.querySelector(".toast-title");
            if (title && OWN.test(place.textContent)) {
                const kinds = {error: text("error"), warning: text("warning"), info: text("info")};
                write(title, kinds[title.textContent.trim()] || title.textContent);
            }
            sayIn(place);
        }
        app.querySelectorAll("[id^=html_log_], [id^=html_info_]").forEach(sayIn);
        app.querySelectorAll(".slothful-left-out li").forEach((reason) => {
            write(reason, say(reason.textContent));
        });
    }

    return {learn, refused, say, look};
})();
