"use strict";
// Seconds by kind, of what the meter stores itself.
const STORED = {"load-profile": 900, events: 60, alarms: 3, "self-reads": 86400, mbus: 3600};
const ITERATIONS = 50000, CONSENT = "yes, without encryption", PIECE = 4096;
const $ = id => document.getElementById(id), all = (what, root = document) => [...root.querySelectorAll(what)];
const el = (tag, props = {}, ...inside) => {
  const one = document.createElement(tag);
  one.append(...inside);
  return Object.assign(one, props);
};
const svg = (tag, props) => {
  const one = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in props) one.setAttribute(name, props[name]);
  return one;
};
const kept = {  // some captive browsers keep nothing
  get: name => { try { return JSON.parse(sessionStorage.getItem(name)); } catch { return null; } },
  set: (name, value) => { try { sessionStorage.setItem(name, JSON.stringify(value)); } catch {} },
};

// Words: the page is written in English; a catalogue has what else there is, by the English text.
let words = {}, language = "en";
const t = (text, ...values) => (words[text] || text).replace(/%/g, () => values.shift());
const texts = [];
function collect() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    if (text) texts.push([walker.currentNode, "data", text]);
  }
  for (const one of all("[aria-label]")) texts.push([one, "ariaLabel", one.ariaLabel]);
}
async function speak(which) {
  language = which;
  words = which === "de" ? await fetch("de.json").then(answer => answer.json(), () => ({})) : {};
  for (const [node, field, text] of texts) if (node !== $("name").firstChild) node[field] = t(text);
  document.documentElement.lang = which;
  $("language").textContent = which === "de" ? "English" : "Deutsch";
  $("language").lang = which === "de" ? "en" : "de";
  hint();
  if (shown) show(shown);
}

// Requests, one after the other: each session counts them.
let session = kept.get("session"), setup = false, line = Promise.resolve();
function api(path, body, secrets) {
  const next = line.then(() => ask(path, body, secrets));
  line = next.catch(() => {});
  return next;
}
async function ask(path, body, secrets) {
  const method = body === undefined ? "GET" : "POST";
  if (session) {
    session.number++;
    kept.set("session", session);
  }
  if (secrets) body = {settings: body, secrets: session && Object.keys(secrets).length ? Proof.seal(session, session.number, JSON.stringify(secrets)) : secrets};
  const data = body instanceof Uint8Array ? body : new TextEncoder().encode(body === undefined ? "" : JSON.stringify(body));
  const headers = {"X-Gateway": session ? Proof.header(session, method, "/api/" + path, data) : "setup"};
  const stop = new AbortController(), timer = setTimeout(() => stop.abort(), 30000);
  let answer, said;
  try {
    answer = await fetch("api/" + path, {method, headers, body: method === "POST" ? data : undefined, signal: stop.signal});
    said = await answer.json();
  } catch {
    throw Object.assign(new Error(t("The board does not answer. Is this device in the same network?")), {lost: true});
  } finally {
    clearTimeout(timer);
  }
  if (answer.status === 401 && session) {
    session = null;
    kept.set("session", null);
    ask_password();
  }
  if (!answer.ok) throw Object.assign(new Error(said.error || said.problems.join("\n")), said);
  return said;
}
function trouble(error) {
  $("trouble").hidden = !error;
  $("trouble").textContent = error ? error.message : "";
}
async function busy(button, work) {
  button.disabled = true;
  try { await work(); } finally { button.disabled = false; }
}

// What stands where.
let shown = "";
function show(view) {
  shown = view;
  for (const id of ["login", "live", "settings", "log", "update"]) $(id).hidden = id !== view;
  for (const tab of all("nav button")) {
    if (tab.dataset.view === view) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  $("tabs").hidden = setup || view === "login";
  if (view !== "login" && !setup) look();
  if (view === "settings" && !loaded) load();
}
function ask_password() {
  show("login");
  $("password").focus();
}
async function enter() {
  let hello;
  try {
    hello = await fetch("api/hello").then(answer => answer.json());
    setup = hello.setup;
    $("name").textContent = document.title = hello.name;
    $("version").textContent = hello.version && t("Version %", hello.version);
    trouble();
  } catch {
    trouble(new Error(t("The board does not answer. Is this device in the same network?")));
    return setTimeout(enter, 3000);
  }
  if (setup) {
    session = null;
    $("welcome").hidden = false;
    $("before").textContent = hello.problems || "";
    show("settings");
  } else if (session) show("live");
  else ask_password();
}
$("login").onsubmit = event => {
  event.preventDefault();
  const button = $("login").querySelector("button");
  busy(button, async () => {
    $("denied").textContent = "";
    try {
      const hello = await fetch("api/hello").then(answer => answer.json());
      if (hello.wait) throw Object.assign(new Error(), {wait: hello.wait});
      const {given, done} = Proof.login($("password").value, hello);
      const answer = await fetch("api/login", {method: "POST", body: JSON.stringify(given)});
      const said = await answer.json();
      if (!answer.ok) throw said;
      session = done(said);
      if (!session) throw new Error(t("This is not your board: it does not know the password."));
      kept.set("session", session);
      $("password").value = "";
      points = [];
      show("live");
    } catch (error) {
      $("denied").textContent = error.wait ? t("Too many wrong passwords. Try again in % seconds.", error.wait) :
        t(error.error ? "This is not the password." : error.message || "The board does not answer.");
    }
  });
};

// How everything is, in words that say what to do.
const STATES = {
  meter: {
    starting: ["warn", "Connecting to the meter."],
    working: ["good", "The meter answers."],
    idle: ["good", "The port is left alone at this time of day, as set."],
    "link-gone": ["bad", "The line to the meter is not there.", "Check the board's plug and the kind of port under Settings."],
    silent: ["bad", "The meter does not answer.", "Check the cable, and that the meter's port has power. A reading head on the optical port shuts out the MEP port of older meters."],
    "key-refused": ["bad", "The meter refuses the key.", "Ask your utility for the right one and set it under Settings. It is not tried often: meters lock their port."],
    replaced: ["bad", "Another meter answers.", "Was it replaced? Then set the board up anew."],
    failing: ["warn", "Readings fail now and then.", "Mostly noise: a shorter cable, firm terminals and distance to mains wires help."],
    stopped: ["warn", "The gateway has stopped.", "Restart the board."],
  },
  broker: {
    starting: ["warn", "Connecting to the broker."],
    working: ["good", "The broker takes the readings."],
    gone: ["bad", "The broker can't be reached.", "Does it run? Are its address and port right? Readings are kept until it is back."],
    unresolved: ["bad", "The broker's address is not known.", "Check its spelling under Settings, and that your router has internet."],
    untrusted: ["bad", "The broker's certificate is not to be trusted.", "Check the CA certificate and the broker's name under Settings, and that the certificate is still valid."],
    refused: ["bad", "The broker refuses user or password.", "Set the right ones under Settings."],
    failing: ["warn", "The broker's connection fails.", "It is tried again by itself."],
  },
  wifi: {
    working: ["good", "Connected to %."],
    starting: ["warn", "Connecting to %."],
    "no-network": ["bad", "The network % is not in reach.", "Is it on? Is its name right? The board knows 2.4 GHz only."],
    "wrong-password": ["bad", "The network % refuses the password.", "Hold the board's button for three seconds and set the right one."],
    "no-address": ["bad", "The network % gives no address.", "Restart the router, or set a fixed address."],
    gone: ["bad", "The network % was lost.", "It is tried again by itself. If it stays away: is the router too far?"],
  },
  outbox: {
    working: ["good", "Readings are kept until they are stored."],
    starting: ["good", "Readings are kept until they are stored."],
    failing: ["bad", "The board's memory fails.", "Nothing is lost while it has power. Its flash may be worn: replace the board."],
  },
};
function wifi({connected, reason}) {
  const states = {starting: /^starting/, "wrong-password": /password/, "no-network": /not on the air/, "no-address": /address/};
  return connected ? "working" : Object.keys(states).find(state => states[state].test(reason)) || "gone";
}
const SEEN = {wifi: "Wi-Fi", meter: "Meter", broker: "Broker", outbox: "Memory"};
const LABELS = {
  "OBIS_1.8.0": "Energy drawn", "OBIS_2.8.0": "Energy fed in", "OBIS_14.7.0": "Frequency", "OBIS_13.7.0": "Power factor",
  "OBIS_3.7.0": "Reactive power drawn", "OBIS_4.7.0": "Reactive power fed in",
};
const PHASES = [["Voltage", [32, 52, 72]], ["Current", [31, 51, 71]], ["Power drawn", [21, 41, 61]], ["Power fed in", [22, 42, 62]]];

// Exact: mantissa and exponent come as integers.
function number([, mantissa, exponent, unit], digits) {
  let value = mantissa * 10 ** exponent;
  if (/^k/.test(unit) && Math.abs(value) < 10 && unit !== "kWh") {
    value *= 1000;
    unit = unit.slice(1);
    digits = 0;
  }
  return value.toLocaleString(language, {maximumFractionDigits: digits ?? Math.max(0, Math.min(3, -exponent))}) + (unit ? "\u00a0" + unit : "");
}
const watts = one => Math.round(one[1] * 10 ** one[2] * (/^k/.test(one[3]) ? 1000 : 1));
const clock = (ms, what = {hour: "2-digit", minute: "2-digit"}) => new Date(ms).toLocaleTimeString(language, what);
function span(seconds) {
  const [size, unit] = seconds < 120 ? [1, "second"] : seconds < 7200 ? [60, "minute"] : seconds < 172800 ? [3600, "hour"] : [86400, "day"];
  return Math.floor(seconds / size).toLocaleString(language, {style: "unit", unit, unitDisplay: "long"});
}

let points = [], range = 600;
async function look() {
  clearTimeout(look.timer);
  if (shown === "login" || setup) return;
  try {
    if (shown === "live") {
      if (!points.length) {
        const {endMs, stepS, watts} = await api("history");
        points = watts.map((w, i) => [endMs - (watts.length - 1 - i) * stepS * 1000, w]).filter(([, w]) => w !== null);
      }
      const status = await api("status");
      trouble();
      paint(status);
    } else if (shown === "update") {
      const {application: {state, last} = {}} = await api("status");
      trouble();
      $("before-this").textContent = state === "trial" ? t("It is on trial until it reaches the broker.") :
        last && !last[2] ? t("Version % was tried and given up: %", last[1], last[3]) : "";
    } else if (shown === "log") {
      await more();
      trouble();
    }
  } catch (error) {
    if (session) trouble(error);
    if (error.lost) $("dot").className = "dot bad";
  }
  clearTimeout(look.timer);
  look.timer = setTimeout(look, document.hidden ? 60000 : 5000);
}
document.onvisibilitychange = () => document.hidden || look();

function paint(status) {
  const live = status.live || {values: []}, by = Object.fromEntries(live.values.map(one => [one[0], one]));
  const drawn = by["OBIS_1.7.0"], fed = by["OBIS_2.7.0"], old = status.nowMs - live.atMs > 120000;
  $("power").textContent = "–";
  $("direction").textContent = t("No reading yet.");
  if (drawn || fed) {
    const now = (drawn ? watts(drawn) : 0) - (fed ? watts(fed) : 0);
    if (!old && (!points.length || points.at(-1)[0] < live.atMs)) points.push([live.atMs, now]);
    while (points.length > 2000) points.splice(300, 1);
    $("power").textContent = Math.abs(now).toLocaleString(language);
    $("direction").textContent = (old ? t("Old: the last reading is of %.", clock(live.atMs)) : t(now < 0 ? "fed into the grid" : "drawn from the grid"));
  }
  draw(status.nowMs);
  rows(by, live.values);
  const seen = [];
  if (status.wifi) seen.push(["wifi", status.wifi, status.wifi.ssid]);
  if (status.broker) {
    for (const meter of status.meters) seen.push(["meter", meter]);
    seen.push(["broker", status.broker], ["outbox", status.outbox]);
  }
  let worst = "good";
  $("links").replaceChildren(...seen.map(([kind, one, name]) => {
    const state = kind === "wifi" ? wifi(one) : one.state, [tone, said, advice] = STATES[kind][state] || ["warn", state];
    if (tone === "bad" || worst === "good") worst = tone;
    const inside = el("div", {}, el("p", {}, el("b", {}, t(SEEN[kind])), " – ", t(said, name || "")));
    if (advice) inside.append(el("p", {}, t(advice)));
    if (one.reason && one.reason !== "starting") inside.append(el("details", {}, el("summary", {}, t("Details")), el("small", {}, one.reason)));
    if (kind === "meter" && one.identity) inside.append(el("p", {className: "hint"}, one.identity));
    if (kind === "wifi" && one.rssi) inside.append(el("p", {className: "hint"}, t("Signal % dBm", one.rssi) + (one.address ? ", " + one.address : "")));
    return el("li", {}, el("span", {className: "dot " + tone}), inside);
  }));
  $("dot").className = "dot " + worst;
  const safe = status.board?.mode === "safe mode";
  if (safe) trouble(new Error(t("Safe mode: the program crashed several times, so nothing is read. Look at the log, or install an update.")));
  const {usedBytes = 0, capacityBytes = 1} = status.outbox || {}, full = Math.round(100 * usedBytes / capacityBytes) || 0;
  $("fill").value = full;
  $("filled").textContent = t("% of % kB used", Math.ceil(usedBytes / 1024).toLocaleString(language), Math.round(capacityBytes / 1024).toLocaleString(language));
  const board = status.board || {};
  const facts = [
    ["Version", status.application?.version], ["Running for", board.uptimeS && span(board.uptimeS)], ["Last start", board.reset],
    ["Free memory", board.heapFree && Math.round(board.heapFree / 1024) + " kB"],
    ["Meter's clock", status.meters?.[0]?.driftMs != null && t("% s off", (status.meters[0].driftMs / 1000).toLocaleString(language))],
    ["Messages taken", status.broker?.published?.toLocaleString(language)],
  ];
  $("board").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, t(name)), el("dd", {}, value)]));
}

function rows(by, values) {
  const table = el("table"), used = new Set(["OBIS_1.7.0", "OBIS_2.7.0"]);
  const phases = PHASES.map(([name, codes]) => [name, codes.map(code => `OBIS_${code}.7.0`)]).filter(([, codes]) => codes.some(code => by[code]));
  if (phases.length) {
    table.append(el("tr", {}, el("td"), ...["L1", "L2", "L3"].map(name => el("th", {scope: "col"}, name))));
    for (const [name, codes] of phases) {
      codes.forEach(code => used.add(code));
      table.append(el("tr", {}, el("th", {scope: "row"}, t(name)), ...codes.map(code => el("td", {}, by[code] ? number(by[code], 1) : ""))));
    }
  }
  for (const one of values) {
    if (used.has(one[0]) || one[1] === null) continue;
    const label = LABELS[one[0]] ? t(LABELS[one[0]]) : one[0].replace(/^O..._/, "").replaceAll("_", " ");
    table.append(el("tr", {}, el("th", {scope: "row"}, label), el("td", {colSpan: 3}, number(one))));
  }
  $("values").replaceChildren(values.length ? table : t("No reading yet."));
}

function draw(now) {
  const chart = $("chart"), from = now - range * 1000, some = points.filter(([ms]) => ms >= from);
  chart.replaceChildren();
  chart.ariaLabel = some.length ? t("Power, lowest % W, highest % W", Math.min(...some.map(p => p[1])), Math.max(...some.map(p => p[1]))) : t("No reading yet.");
  let low = Math.min(0, ...some.map(p => p[1])), high = Math.max(100, ...some.map(p => p[1]));
  const step = [50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000].find(size => (high - low) / size <= 4) || 50000;
  low = Math.floor(low / step) * step;
  high = Math.ceil(high / step) * step;
  const wide = chart.clientWidth || 600, left = 48;
  const x = ms => left + (wide - left) * (ms - from) / (now - from), y = w => 8 + 155 * (high - w) / (high - low);
  const write = (text, at, under, anchor) => {
    const one = svg("text", {x: at, y: under, "text-anchor": anchor});
    one.textContent = text;
    chart.append(one);
  };
  for (let w = low; w <= high; w += step) {
    chart.append(svg("line", {x1: left, x2: wide, y1: y(w), y2: y(w)}));
    write(w.toLocaleString(language), left - 6, y(w) + 4, "end");
  }
  for (const [part, anchor] of [[0, "start"], [.5, "middle"], [1, "end"]]) write(clock(from + (now - from) * part), left + (wide - left) * part, 184, anchor);
  // A gap in time is a gap in the line.
  const gap = range > 3600 ? 900000 : 60000, runs = [];
  some.forEach((point, i) => i && point[0] - some[i - 1][0] < gap ? runs.at(-1).push(point) : runs.push([point]));
  for (const run of runs) {
    const along = run.map(([ms, w]) => x(ms).toFixed(1) + "," + y(w).toFixed(1)).join(" ");
    chart.append(svg("path", {d: `M${x(run[0][0])},${y(0)} L${along} L${x(run.at(-1)[0])},${y(0)}`}), svg("polyline", {points: along}));
  }
  if (some.length) chart.append(svg("circle", {cx: x(some.at(-1)[0]), cy: y(some.at(-1)[1]), r: 4}));
}
for (const button of all("#span button")) {
  button.onclick = () => {
    range = +button.dataset.span;
    for (const one of all("#span button")) one.ariaPressed = one === button;
    look();
  };
  button.ariaPressed = +button.dataset.span === range;
}

let last = 0;
async function more() {
  const {lines} = await api("log?after=" + last);
  for (const [number, ms, level, text] of lines) {
    last = number;
    $("lines").prepend(el("li", {}, el("time", {}, clock(ms, {timeStyle: "medium"})), " ",
      ...(level === "info" ? [] : [el("b", {className: {error: "bad", warning: "warn"}[level] || ""}, t(level)), " "]), text));
  }
  while ($("lines").children.length > 300) $("lines").lastChild.remove();
}

// Settings: fields name where they belong; what is empty is left out.
let loaded = null;
const at = (tree, path) => path.split(".").reduce((one, name) => one?.[name], tree);
function put(tree, path, value) {
  const names = path.split("."), name = names.pop();
  const place = names.reduce((one, name) => one[name] ??= {}, tree);
  if (value === "") delete place[name];
  else place[name] = value;
}
async function load() {
  try {
    loaded = await api("settings");
  } catch (error) {
    return trouble(error);
  }
  for (const input of all("[data-path]")) {
    const value = at(loaded.settings, input.dataset.path);
    if (value !== undefined) input.value = value;
  }
  hint();
  if (at(loaded.settings, "broker.host") !== undefined) {
    $("tls").checked = loaded.secrets.includes("broker.ca_file");
    if (at(loaded.settings, "broker.port") === undefined) $("port").value = 1883;
  }
  $("home").checked = !!loaded.settings.home_assistant;
  $("kinds").value = loaded.settings.schedule && !Object.keys(STORED).some(kind => loaded.settings.schedule[kind]) ? "live" : "all";
  $("trial").hidden = !setup;
  changed();
}
function hint() {
  for (const input of all("[data-secret]")) {
    if (loaded?.secrets.includes(input.dataset.secret)) input.placeholder = t("set; leave empty to keep it");
  }
}
function changed() {
  for (const part of all("[data-only]")) part.hidden = part.dataset.only !== $("protocol").value;
  $("plain").hidden = $("tls").checked;
  $("authority").hidden = !$("tls").checked;
}
$("protocol").onchange = changed;
$("tls").onchange = () => {
  if (["8883", "1883"].includes($("port").value)) $("port").value = $("tls").checked ? 8883 : 1883;
  changed();
};
function typed() {
  const settings = structuredClone(loaded.settings), secrets = {};
  for (const input of all("[data-path]")) {
    const away = input.closest("[data-only]")?.hidden, value = input.value.trim();
    put(settings, input.dataset.path, away ? "" : input.type === "number" && value ? +value : value);
  }
  for (const input of all("[data-secret]")) {
    if (input.value.trim() && !input.closest("[data-only],#authority")?.hidden) secrets[input.dataset.secret] = input.value.trim();
  }
  for (const other of ["key_file", "password_file"]) if (at(settings, other) && other.startsWith("k") !== (settings.protocol === "mep")) delete settings[other];
  put(settings, "home_assistant", $("home").checked ? settings.home_assistant || "homeassistant" : "");
  const schedule = settings.schedule ??= {}, everything = $("kinds").value === "all";
  for (const kind in STORED) {
    if (everything) schedule[kind] ||= STORED[kind];
    else delete schedule[kind];
  }
  settings.broker ??= {};
  settings.broker.client_id ??= "gateway-" + Proof.hex(crypto.getRandomValues(new Uint8Array(4)));
  delete settings.broker.allow_plain;
  if (!$("tls").checked) {
    settings.broker.allow_plain = CONSENT;
    delete settings.broker.ca_file;
  }
  if (secrets["broker.ca_file"]) secrets["broker.ca_file"] = secrets["broker.ca_file"].replace(/-----[^-]+-----|\s/g, "");
  return [settings, secrets];
}
for (const input of all("#settings input[type=password]")) {
  const button = el("button", {type: "button", className: "plain show", ariaPressed: "false"}, "Show");
  button.setAttribute("aria-controls", input.id);
  button.onclick = () => {
    const hidden = input.type === "password";
    input.type = hidden ? "text" : "password";
    button.ariaPressed = hidden;
  };
  const frame = el("span", {className: "secret"});
  input.replaceWith(frame);
  frame.append(input, button);
}
$("ca-file").onchange = async () => {
  const [file] = $("ca-file").files, data = new Uint8Array(await file.arrayBuffer());
  $("ca").value = data[0] === 0x30 ? btoa(String.fromCharCode(...data)) : new TextDecoder().decode(data);
};
$("scan").onclick = () => busy($("scan"), async () => {
  try {
    const {networks} = await api("scan");
    networks.sort((a, b) => b.rssi - a.rssi);
    $("networks").replaceChildren(...networks.map(one => el("option", {value: one.ssid})));
    $("found").replaceChildren(...networks.map(one => {
      const button = el("button", {type: "button", className: "plain"}, el("span", {}, one.ssid), el("span", {className: "hint"}, t(one.rssi > -60 ? "strong" : one.rssi > -75 ? "medium" : "weak") + (one.open ? ", " + t("open") : "")));
      button.onclick = () => {
        $("ssid").value = one.ssid;
        $("found").replaceChildren();
        $("wifi-password").focus();
      };
      return el("li", {}, button);
    }));
    if (!networks.length) $("found").replaceChildren(el("li", {}, t("No network in reach. The board knows 2.4 GHz only.")));
    trouble();
  } catch (error) {
    trouble(error);
  }
});
$("try").onclick = () => busy($("try"), async () => {
  const said = $("tried");
  said.className = "said";
  said.textContent = t("Asking the meter, up to half a minute …");
  try {
    const {serial, watts} = await api("meter", ...typed());
    said.className = "said good";
    said.textContent = t("The meter answers: number %", serial) + (watts == null ? "." : t(", % W right now.", watts.toLocaleString(language)));
  } catch (error) {
    const [, text, advice] = STATES.meter[error.state] || [, error.message, ""];
    said.className = "said bad";
    said.textContent = [text, advice].filter(Boolean).map(one => t(one)).join(" ");
  }
});
const FIELDS = {
  "wifi.ssid": "ssid", "wifi.hostname": "hostname", "wifi.address": "address", "wifi.gateway": "router", "wifi.password_file": "wifi-password", key_file: "key", password_file: "optical", idle: "idle",
  "broker.host": "host", "broker.ca_file": "ca", "broker.client_id": "client", "broker.password_file": "broker-password",
};
function wrong() {
  const found = [], secret = name => loaded.secrets.includes(name), mep = $("protocol").value === "mep";
  const need = (id, text) => $(id).value.trim() || found.push([id, text]);
  need("ssid", "Name the Wi-Fi network.");
  if (!secret(mep ? "key_file" : "password_file")) need(mep ? "key" : "optical", mep ? "Type the meter's key." : "Type the meter's password.");
  need("host", "Name the broker.");
  if ($("tls").checked && !secret("broker.ca_file")) need("ca", "Give the broker's CA certificate, or do without TLS.");
  if (setup && !secret("page.password_file") && !$("new").value) found.push(["new", "Choose a password for this page."]);
  if ($("new").value && $("new").value.length < 8) found.push(["new", "The page's password needs 8 characters."]);
  if ($("new").value !== $("again").value) found.push(["again", "The two passwords differ."]);
  return found;
}
$("settings").onsubmit = event => {
  event.preventDefault();
  busy($("save"), async () => {
    const found = wrong();
    if (!found.length) {
      const [settings, secrets] = typed();
      if ($("new").value) secrets["page.password_file"] = JSON.stringify(Proof.verifier($("new").value, ITERATIONS));
      try {
        await api("settings", settings, secrets);
        $("problems").replaceChildren();
        for (const input of all("[data-secret], #new, #again")) input.value = "";
        $("saved").textContent = setup
          ? t("Saved. The board restarts and joins %. Put this device into the same network and open http://%.local", settings.wifi.ssid, settings.wifi.hostname || "osgp-gateway")
          : t("Saved. The board restarts; this takes some seconds.");
        await api("restart", {}).catch(() => {});
        if (!setup) setTimeout(() => location.reload(), 12000);
        return;
      } catch (error) {
        for (const text of error.problems || [error.message]) {
          const [field] = text.split(": ", 1);
          found.push([FIELDS[field], text]);
        }
      }
    }
    for (const input of all("[aria-invalid]")) input.removeAttribute("aria-invalid");
    $("problems").replaceChildren(...found.map(([id, text]) => {
      if (id) $(id).ariaInvalid = true;
      return el("li", {}, t(text));
    }));
    if (found[0][0]) $(found[0][0]).focus();
  });
};

$("send").onclick = () => busy($("send"), async () => {
  const [file] = $("bundle").files, said = $("updated"), bar = $("progress");
  said.className = "said";
  if (!file) return void (said.textContent = t("Choose a file first."));
  said.textContent = "";
  bar.hidden = false;
  try {
    await api("update", {size: file.size});
    for (let from = 0; from < file.size; from += PIECE) {
      const piece = new Uint8Array(await file.slice(from, from + PIECE).arrayBuffer());
      await api("update/data?at=" + from, piece);
      bar.value = 100 * (from + piece.length) / file.size;
    }
    await api("update/finish", {});
    await api("restart", {}).catch(() => {});
    said.className = "said good";
    said.textContent = t("The update is in place. The board restarts with it; this takes some seconds.");
  } catch (error) {
    said.className = "said bad";
    said.textContent = error.message;
  }
  bar.hidden = true;
});
$("restart").onclick = () => confirm(t("Restart the board now?")) && api("restart", {}).catch(trouble);
for (const tab of all("nav button")) tab.onclick = () => show(tab.dataset.view);
$("language").onclick = () => speak(language === "de" ? "en" : "de");
collect();
speak(/^de/.test(navigator.language) ? "de" : "en").then(enter);
