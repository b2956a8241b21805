// Everything here is an addition: the pages work without it.
(() => {
  "use strict";

  const live = document.getElementById("live");

  // The live region is emptied first, so that the same words are read twice.
  const announce = (text) => {
    live.textContent = "";
    setTimeout(() => { live.textContent = text; }, 50);
  };

  // A list is copied line by line; a secret without the spaces that make it readable.
  const textOf = (source) => {
    const items = [...source.querySelectorAll("li")];
    return items.length > 0
      ? items.map((item) => item.textContent.trim()).join("\n")
      : source.textContent.replace(/\s/g, "");
  };

  // For browsers, and plain HTTP, that offer no clipboard to scripts.
  const copyOldWay = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    area.readOnly = true;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  };

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyOldWay(text);
    }
  };

  for (const button of document.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    const label = button.textContent;
    let timer;
    button.hidden = false;
    button.addEventListener("click", async () => {
      clearTimeout(timer);
      if (await copy(textOf(source))) {
        button.style.minWidth = `${button.offsetWidth}px`;
        button.textContent = "Copied";
        announce("Copied");
        timer = setTimeout(() => { button.textContent = label; }, 2000);
      } else {
        getSelection().selectAllChildren(source);
        announce("Selected. Copy it with your keyboard or menu.");
      }
      button.focus();
    });
  }

  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }

  // A second click must not send a form again: its code would count as used.
  for (const form of document.querySelectorAll("form")) {
    let sent = false;
    form.addEventListener("submit", (event) => {
      const question = form.dataset.confirm;
      if (sent || (question && !window.confirm(question))) {
        event.preventDefault();
        return;
      }
      sent = true;
      setTimeout(() => { sent = false; }, 5000);
    });
    window.addEventListener("pageshow", () => { sent = false; });
  }

  const words = (seconds) => {
    if (seconds === 1) return "1 second";
    if (seconds < 120) return `${seconds} seconds`;
    return `${Math.ceil(seconds / 60)} minutes (${seconds} seconds)`;
  };

  for (const line of document.querySelectorAll("[data-retry-after]")) {
    const time = line.querySelector(".wait-time");
    const end = Date.now() + Number(line.dataset.retryAfter) * 1000;
    const ticking = setInterval(() => {
      const left = Math.ceil((end - Date.now()) / 1000);
      if (left > 0) {
        time.textContent = words(left);
        return;
      }
      clearInterval(ticking);
      line.textContent = "You can try again now.";
      announce(line.textContent);
    }, 1000);
  }

  document.querySelector("[data-focus]")?.focus();

  // What was shown once must not come back with the browser's Back button,
  // which may keep a whole page in memory whatever its headers say.
  const secrets = document.querySelectorAll(
    "[data-testid=recovery-codes], [data-testid=totp-secret], [data-testid=totp-qr], .same-phone");
  if (secrets.length > 0) {
    window.addEventListener("pagehide", () => {
      for (const secret of secrets) secret.remove();
    });
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) location.replace(document.body.dataset.home);
    });
  }
})();
