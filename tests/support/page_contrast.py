"""Text of a page whose contrast is too low (WCAG 2, 4.5 to 1), as a script for the browser."""

FIND_POOR_CONTRAST = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const colour = parse(getComputedStyle(e).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
    };
    const poor = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
        if (!own || !element.checkVisibility() || element.closest("[disabled]")) continue;
        const colours = [parse(getComputedStyle(element).color), ground(element)];
        const [one, other] = colours.map(luminance);
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (ratio < 4.5) poor.push([element.className, element.textContent.slice(0, 30), ratio]);
    }
    return poor;
}"""
