// Copies the few files that the pages need from node_modules into web/static/vendor/, which git
// ignores, so that everything is served locally. Run `npm ci && npm run vendor`.
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = join(root, "web", "static", "vendor");
const files = {
  "htmx.org/dist/htmx.min.js": "htmx.js",
  "htmx.org/dist/ext/hx-sse.min.js": "hx-sse.js",
  "htmx.org/LICENSE": "htmx.LICENSE.txt",
  "uplot/dist/uPlot.iife.min.js": "uplot.js",
  "uplot/dist/uPlot.min.css": "uplot.css",
  "uplot/LICENSE": "uplot.LICENSE.txt",
  "@picocss/pico/css/pico.min.css": "pico.css",
  "@picocss/pico/LICENSE.md": "pico.LICENSE.txt",
};

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
for (const [from, to] of Object.entries(files)) {
  copyFileSync(join(root, "node_modules", from), join(target, to));
}
console.log(`${Object.keys(files).length} files in web/static/vendor`);
