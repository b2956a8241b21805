// The dashboard's list of tasks.
const list = document.getElementById("tasks");
const status = document.getElementById("tasks-status");
const form = document.getElementById("task-form");
const field = document.getElementById("task-title");
const endpoint = "/api/tasks";
const day = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" });

async function call(method, path, body) {
  const options = { method, headers: { Accept: "application/json" } };
  if (body) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  if (answer.status === 401) {
    throw new SignedOut();
  }
  if (!answer.ok) {
    throw new Error(String(answer.status));
  }
  return answer.status === 204 ? null : answer.json();
}

class SignedOut extends Error {}

// A link and not a redirect: whoever is in the middle of a sentence keeps it.
function explain(error, text) {
  status.hidden = false;
  if (!(error instanceof SignedOut)) {
    status.textContent = text;
    return;
  }
  const link = document.createElement("a");
  link.href = "/login?next=" + encodeURIComponent(location.pathname);
  link.textContent = "Sign in again";
  status.replaceChildren("Your sign-in has ended. ", link);
}

function row(task) {
  const item = document.createElement("li");
  item.dataset.testid = "task";
  const text = document.createElement("div");
  const title = document.createElement("strong");
  title.textContent = task.title;
  text.append(title);
  if (task.due) {
    const due = document.createElement("p");
    due.className = "muted";
    due.textContent = "Due " + day.format(new Date(task.due + "T00:00:00Z"));
    text.append(due);
  }
  const done = document.createElement("button");
  done.type = "button";
  done.className = "button quiet small";
  done.textContent = "Done";
  done.setAttribute("aria-label", "Done: " + task.title);
  done.addEventListener("click", async () => {
    done.disabled = true;
    try {
      await call("DELETE", endpoint + "/" + encodeURIComponent(task.id));
      item.remove();
      field.focus();
      announceEmpty();
    } catch (error) {
      done.disabled = false;
      explain(error, "The task could not be finished. Please try again.");
    }
  });
  item.append(text, done);
  return item;
}

function announceEmpty() {
  status.hidden = list.children.length > 0;
  status.textContent = "Nothing is waiting for you.";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    list.append(row(await call("POST", endpoint, { title: field.value })));
    form.reset();
    announceEmpty();
  } catch (error) {
    explain(error, "The task could not be added. Please try again.");
  }
});

try {
  const { tasks } = await call("GET", endpoint);
  list.replaceChildren(...tasks.map(row));
  announceEmpty();
  form.hidden = false;
} catch (error) {
  explain(error, "Your tasks could not be loaded. Please reload the page.");
}
