// Saves an export as a file: fetched, since a link cannot have the secret, and given to the browser.

import { reason } from "./commands.js";

const REVOKE_AFTER_MS = 60_000; // by then every browser has taken it

/** Save what `/queries/export` answers; why it was not saved, or empty. */
export async function save(parameters, name) {
  try {
    const answer = await fetch(`/queries/export?${new URLSearchParams(parameters)}`);
    if (!answer.ok) return reason({ status: "rejected", ...(await answer.json()) });
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(await answer.blob()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), REVOKE_AFTER_MS);
    return "";
  } catch {
    return "The server does not answer.";
  }
}
