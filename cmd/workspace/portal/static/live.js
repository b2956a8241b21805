// The clock (server-sent events) and the echo chat (WebSocket).
const clock = document.getElementById("clock");
const clockState = document.getElementById("clock-state");
const chatState = document.getElementById("chat-state");
const log = document.getElementById("chat-log");
const form = document.getElementById("chat-form");
const field = document.getElementById("chat-text");
const send = form.querySelector("button");

function show(badge, state, label) {
  if (badge.dataset.state !== state) {
    badge.dataset.state = state;
    badge.textContent = label;
  }
}

const events = new EventSource("/events/clock");
events.addEventListener("tick", (event) => {
  show(clockState, "enabled", "Connected");
  clock.textContent = new Date(JSON.parse(event.data).time).toLocaleTimeString("en-GB");
});
events.addEventListener("error", () => {
  const closed = events.readyState === EventSource.CLOSED;
  show(clockState, closed ? "off" : "pending", closed ? "Disconnected" : "Reconnecting");
});

const address = new URL("/ws/echo-chat", location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
const socket = new WebSocket(address);
socket.addEventListener("open", () => {
  show(chatState, "enabled", "Connected");
  send.disabled = false;
});
socket.addEventListener("close", () => {
  show(chatState, "off", "Disconnected");
  send.disabled = true;
});
socket.addEventListener("message", (event) => add("The portal", event.data, "theirs"));

function add(who, text, kind) {
  const item = document.createElement("p");
  item.className = kind;
  const name = document.createElement("span");
  name.className = "muted small";
  name.textContent = who;
  const body = document.createElement("span");
  body.className = "bubble";
  body.textContent = text;
  item.append(name, body);
  log.append(item);
  log.scrollTop = log.scrollHeight;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) {
    return;
  }
  add("You", field.value, "mine");
  socket.send(field.value);
  form.reset();
});
