// A small picture of numbers in a table: it shows the shape, and says the extremes.

import { count } from "./format.js";

const [WIDTH, HEIGHT, SVG] = [120, 24, "http://www.w3.org/2000/svg"];

/** Draw numbers, the oldest first, as bars in a cell; `unit` is what each is of, such as "hour". */
export function drawSparkline(cell, numbers, unit) {
  if (!numbers?.length) {
    cell.replaceChildren();
    return;
  }
  const most = Math.max(...numbers);
  const step = WIDTH / numbers.length;
  const picture = made("svg", {
    class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `at most ${count(most)} requests in ${unit === "hour" ? "an" : "a"} ${unit}`,
  });
  const bars = numbers.map((each, index) => {
    // What is there is seen, however little it is.
    const height = each ? Math.max(1, (each / most) * HEIGHT) : 0;
    return `M${(index * step).toFixed(2)} ${HEIGHT}v${(-height).toFixed(2)}h${(step * 0.8).toFixed(2)}v${height.toFixed(2)}z`;
  });
  picture.append(made("path", { d: bars.join("") }));
  cell.replaceChildren(picture);
}

function made(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) {
    node.setAttribute(attribute, value);
  }
  return node;
}
