// What a person with poor sight, or with a keyboard alone, needs of every control and text; gives what is wrong.
(() => {
  const wrong = [];
  const seen = one => one.getClientRects().length && getComputedStyle(one).visibility === "visible";
  for (const one of document.querySelectorAll("input, select, textarea, button, meter, progress")) {
    const labels = [...(one.labels || [])].map(label => label.textContent).join();
    const named = one.ariaLabel || labels || one.textContent;
    if (!seen(one)) continue;
    if (!named.trim()) wrong.push("no name: " + one.outerHTML);
    if (one.tabIndex < 0 && !one.matches("meter, progress")) wrong.push("not by keyboard: " + one.outerHTML);
  }
  // Contrast as WCAG 2 has it: 4.5 at least.
  const part = value => value / 255 <= .04045 ? value / 255 / 12.92 : ((value / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  const colour = (one, which) => getComputedStyle(one)[which].match(/[\d.]+/g).map(Number);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), one = walker.currentNode.parentElement;
    if (!text || !seen(one) || one.closest("svg, .skip, option")) continue;
    let under = one;
    while ((colour(under, "backgroundColor")[3] ?? 1) < .9) under = under.parentElement;
    const shades = [colour(one, "color"), colour(under, "backgroundColor")].map(light).sort((a, b) => b - a);
    const contrast = (shades[0] + .05) / (shades[1] + .05);
    if (contrast < 4.5) wrong.push(contrast.toFixed(1) + ": " + text);
  }
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("wider than the screen");
  const ids = [...document.querySelectorAll("[id]")].map(one => one.id);
  if (new Set(ids).size < ids.length) wrong.push("an id twice");
  return wrong;
})()
