// A button on each block of code that copies it: without prompts, and without what was printed.
const prompt = /^(>>>|\.\.\.|\$)( |$)/;
const blocks = navigator.clipboard ? document.querySelectorAll("[class*='highlight-'] pre") : [];

for (const pre of blocks) {
    const code = pre.textContent;
    if (pre.closest(".sphx-glr-script-out, .highlight-text, .highlight-none")) {
        continue;
    }
    const typed = code.split("\n").filter((line) => prompt.test(line));
    const text = prompt.test(code) ? typed.map((line) => line.replace(prompt, "")).join("\n") : code;
    const button = document.createElement("button");
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    pre.parentElement.append(button);
}
