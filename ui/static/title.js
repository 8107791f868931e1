// The window's title: what is selected.

import { $, onChange } from "./signals.js";

onChange(() => $.key || $.prefix, (name) => (document.title = name ? `${name} – Signalbox` : "Signalbox"));
