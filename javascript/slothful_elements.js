// Making and updating elements of the page, and texts in the page's language.

(globalThis.slothfulAttention || (globalThis.slothfulAttention = {})).elements = (function() {
    const SVG = "http://www.w3.org/2000/svg";
    const SVG_TAGS = new Set(["svg", "g", "path", "line", "circle", "rect", "text", "desc"]);

    /** A new element with attributes and children (elements or texts). A function as an attribute
     *  is a listener of that event; undefined and false leave an attribute out. */
    function make(tag, attributes = {}, ...children) {
        const element = SVG_TAGS.has(tag)
            ? document.createElementNS(SVG, tag) : document.createElement(tag);
        change(element, attributes);
        element.append(...children);
        return element;
    }

    /** Set attributes of an element; what is undefined or false is taken away. */
    function change(element, attributes) {
        for (const [name, value] of Object.entries(attributes)) {
            if (typeof value === "function") {
                element.addEventListener(name, value);
            } else if (value === undefined || value === false) {
                element.removeAttribute(name);
            } else if (element.getAttribute(name) !== String(value)) {
                element.setAttribute(name, value);
            }
        }
        return element;
    }

    /** Write a text into an element, if it is another one than before: assistive technology
     *  announces every change. */
    function write(element, content) {
        if (element.textContent !== content) {
            element.textContent = content;
        }
    }

    /** A text in the page's language, with {name} replaced by values. `localization` is the
     *  dictionary that the host puts into the page. */
    function text(english, values = {}) {
        const template = (window.localization || {})[english] || english;
        return template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
    }

    /** A number as people read it: at most `digits` digits after the point. */
    function number(value, digits = 1) {
        return String(Number(value.toFixed(digits)));
    }

    return {make, change, write, text, number};
})();
