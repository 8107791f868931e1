// The window's title: what is selected.

import { $, onChange } from "./picture.js";

onChange(() => $.key || $.prefix, (name) => (document.title = name ? `${name} – Signalbox` : "Signalbox"));
