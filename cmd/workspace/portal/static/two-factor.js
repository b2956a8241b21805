// Draws the profile page's card from the status document. Without this script,
// or without an answer, the card stays a plain link or says nothing definite.
const card = document.getElementById("two-factor");
const badge = document.getElementById("two-factor-badge");
const text = document.getElementById("two-factor-text");
const note = document.getElementById("two-factor-note");
const link = document.getElementById("two-factor-link");

const plural = (n, one, many) => n + " " + (n === 1 ? one : many);

const states = {
  "not-configured": () => ({
    badge: "Not configured",
    text: "Protect your account with a second step: a code from an app on your phone.",
    link: "Set up two-factor",
  }),
  pending: () => ({
    badge: "Pending confirmation",
    text: "You have started the set-up but not confirmed it. Your account is not protected yet.",
    link: "Set up two-factor",
  }),
  enabled: (status) => ({
    badge: "Enabled",
    text: "Every sign-in asks for a code from your authenticator app" + since(status.confirmedAt) + ".",
    link: "Manage",
  }),
};

function since(confirmedAt) {
  const date = new Date(confirmedAt ?? NaN);
  if (Number.isNaN(date.getTime())) {
    return "";
  }
  return ", since " + new Intl.DateTimeFormat("en-GB", { dateStyle: "long" }).format(date);
}

function remark(status) {
  if (status.state !== "enabled") {
    return status.required ? "Required by your organisation." : "";
  }
  const left = status.recoveryCodesRemaining;
  if (!Number.isInteger(left)) {
    return "";
  }
  return plural(left, "recovery code", "recovery codes") + " left." + (left <= 2 ? " Generate new ones soon." : "");
}

function draw(status) {
  const shown = states[status.state](status);
  card.dataset.state = status.state;
  badge.textContent = shown.badge;
  badge.dataset.state = status.state;
  badge.hidden = false;
  text.textContent = shown.text;
  link.textContent = shown.link;
  link.classList.toggle("quiet", status.state === "enabled");
  note.textContent = remark(status);
  note.hidden = note.textContent === "";
}

function drawUnavailable(gone) {
  card.dataset.state = "unavailable";
  badge.hidden = true;
  note.hidden = true;
  text.textContent = gone
    ? "Two-factor authentication is not offered in this workspace."
    : "The state of two-factor authentication is not available right now.";
  link.hidden = gone;
  link.textContent = "Open two-factor authentication";
  link.classList.add("quiet");
}

try {
  const answer = await fetch(card.dataset.status, { headers: { Accept: "application/json" } });
  const status = answer.ok ? await answer.json() : null;
  if (status && Object.hasOwn(states, status.state)) {
    draw(status);
  } else {
    drawUnavailable(answer.status === 404);
  }
} catch {
  drawUnavailable(false);
}
