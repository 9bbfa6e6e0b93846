// The few globals of the webui's page that the extension's scripts use, and the host's own needs.

var opts = {};

function gradioApp() {
    return document;
}

/** Tell gradio that a script has changed an input. */
function updateInput(target) {
    target.dispatchEvent(new Event("input", {bubbles: true}));
}

const embeddedHost = (function() {
    const loaded = [];
    const optionsChanged = [];

    function setCheckpoint(name) {
        opts.sd_model_checkpoint = name;
        optionsChanged.forEach((callback) => callback());
    }

    function openTab(name) {
        const tabs = [...document.querySelectorAll("#tabs > .tab-nav button")];
        tabs.find((tab) => tab.textContent.trim() === name).click();
    }

    /** Put a check box into an accordion's header; gradio's own, hidden one follows it. */
    function addCheckbox(accordion) {
        const hidden = document.querySelector(`#${accordion.id}-checkbox input`);
        const heading = accordion.querySelector(".label-wrap");
        const box = document.createElement("input");
        box.type = "checkbox";
        box.id = `${accordion.id}-visible-checkbox`;
        box.addEventListener("click", (event) => event.stopPropagation());
        box.addEventListener("change", () => {
            hidden.checked = box.checked;
            hidden.dispatchEvent(new Event("change", {bubbles: true}));
        });
        heading.prepend(box);
    }

    /** gradio's hidden box has changed, as by a paste: so does the visible one, and what is on is
     *  unfolded. */
    function setChecked(id, on) {
        const box = document.getElementById(`${id}-visible-checkbox`);
        box.checked = on;
        const heading = box.closest(".label-wrap");
        if (on && !heading.classList.contains("open")) {
            heading.click();
        }
    }

    /** Texts, tooltips and placeholders in the page's language. */
    function translate(root) {
        const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const words = localization[texts.currentNode.textContent.trim()];
            if (words) {
                texts.currentNode.textContent = words;
            }
        }
    }

    function begin() {
        document.querySelectorAll(".input-accordion").forEach(addCheckbox);
        loaded.forEach((callback) => callback());
        if (Object.keys(localization).length) {
            translate(document.body);
            new MutationObserver((changes) => changes.forEach((change) => {
                change.addedNodes.forEach(translate);
            })).observe(document.body, {childList: true, subtree: true});
        }
    }

    document.addEventListener("DOMContentLoaded", () => {
        const observer = new MutationObserver(() => {
            if (document.querySelector("#txt2img_prompt")) {
                observer.disconnect();
                begin();
            }
        });
        observer.observe(document.body, {childList: true, subtree: true});
    });
    return {loaded, optionsChanged, setCheckpoint, openTab, setChecked};
})();

function onUiLoaded(callback) {
    embeddedHost.loaded.push(callback);
}

function onOptionsChanged(callback) {
    embeddedHost.optionsChanged.push(callback);
}
