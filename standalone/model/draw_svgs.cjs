// Draws the SVGs of an iconify package as PNGs of 384 px:
// node draw_svgs.cjs FOLDER icons.json chars.json OUT, with the code points to draw as lines of input.
const fs = require("fs");
const path = require("path");

const [folder, icons, chars, out] = process.argv.slice(2);
const { Resvg } = require(path.join(path.resolve(folder), "node_modules/@resvg/resvg-js"));
const set = JSON.parse(fs.readFileSync(icons));
const names = JSON.parse(fs.readFileSync(chars));

fs.mkdirSync(out, { recursive: true });
for (const code of fs.readFileSync(0, "utf8").trim().split("\n")) {
  const name = names[code] || names[code.replace("-fe0f", "")] || names[`${code}-fe0f`];
  const icon = set.icons[name] || set.icons[set.aliases[name].parent];
  const [width, height] = [icon.width || set.width || 16, icon.height || set.height || 16];
  const head = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"';
  const svg = `<svg ${head} viewBox="0 0 ${width} ${height}">${icon.body}</svg>`;
  const drawn = new Resvg(svg, { fitTo: { mode: "width", value: 384 } }).render();
  fs.writeFileSync(path.join(out, `${code}.png`), drawn.asPng());
}
