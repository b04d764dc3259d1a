"use strict";
// Sends files in small requests, so that answers appear one after the other and every request stays below the limits.

const PER_REQUEST = 8;
const AT_ONCE = 2;
const element = (id) => document.getElementById(id);
const state = { token: "", models: [], limits: null, items: [], queue: [], running: 0 };

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

async function ask(path, options = {}) {
  const headers = state.token ? { Authorization: `Bearer ${state.token}` } : {};
  const response = await fetch(path, { ...options, headers });
  const type = response.headers.get("content-type") || "";
  const content = type.includes("json") ? await response.json() : { detail: await response.text() };
  if (response.ok) return content;
  const detail = typeof content.detail === "string" ? content.detail : `status ${response.status}`;
  throw Object.assign(new Error(detail), { status: response.status, retry: response.headers.get("retry-after") });
}

// ---- beginning

async function begin() {
  // Behind the # it is sent to nobody.
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  state.token = sessionStorage.getItem("token") || "";
  try {
    const found = await ask("api/models");
    state.models = found.models;
    state.limits = found.limits;
  } catch (error) {
    element("access").hidden = error.status !== 401;
    if (error.status === 401 && state.token) element("access-error").textContent = "That is not the token.";
    if (error.status !== 401) document.querySelector("main").prepend(make("p", "error", error.message));
    return;
  }
  element("access").hidden = true;
  element("work").hidden = false;
  showModels();
}

function showModels() {
  const several = state.models.length > 1;
  element("models").replaceChildren(...state.models.map((model) => {
    const chip = make("span", "model");
    const classes = `${model.classes.length} class${model.classes.length === 1 ? "" : "es"}`;
    const kind = model.task === "anomaly" ? `defects from ${model.threshold.toFixed(3)} on` : model.task === "segment" ? `masks of ${classes}` : model.task === "detect" ? `boxes of ${classes} from ${model.threshold.toFixed(3)} on` : classes;
    chip.append(make("b", "", model.name), ` ${kind}, ${model.image_size[1]}\u00d7${model.image_size[0]}`);
    chip.title = `${model.description}\n${model.classes.slice(0, 40).join(", ")}`;
    return chip;
  }));
  const { bytes, pixels } = state.limits;
  element("limits").textContent = `up to ${Math.round(pixels / 1e6)} megapixels and ${Math.round(bytes / 1e6)} MB each`;
  element("heat-label").hidden = !state.models.some((model) => model.heat_map);
  const drawing = state.models.filter((model) => model.heat_map).map((model) => ({ segment: " Masks over the images", detect: " Boxes over the images" })[model.task] || " Heat maps");
  element("heat-label").lastChild.textContent = new Set(drawing).size > 1 ? " Answers over the images" : drawing[0] || "";
  if (!state.models.some((model) => model.task === "anomaly")) element("only").querySelector("[value=defective]").remove();
  if (state.models.every((model) => ["segment", "detect", "anomaly"].includes(model.task))) element("only").querySelector("[value=unsure]").remove();
  element("which-label").hidden = !several;
  const choices = state.models.map((model) => [model.name, model.name]);
  if (several) choices.unshift(["all", state.models.length === 2 ? "both, and compare" : "all, and compare"]);
  element("which").replaceChildren(...choices.map(([value, text]) => Object.assign(make("option", "", text), { value })));
  if (!several) element("only").querySelector("[value=differ]").remove();
}

// ---- files in

async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    if (entry.fullPath.split("/").length === 2 || file.type.startsWith("image/")) found.push(file);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return;
    for (const inner of part) await walk(inner, found);
  }
}

function add(files) {
  for (const file of files) {
    const item = { file, name: file.name, url: URL.createObjectURL(file), result: null, error: null, card: make("article", "card") };
    state.items.push(item);
    element("results").append(item.card);
    if (file.size > state.limits.bytes * 0.98) item.error = `more than ${Math.round(state.limits.bytes / 1e6)} MB`;
    else state.queue.push(item);
    draw(item);
  }
  update();
  while (state.running < AT_ONCE && state.queue.length) work();
}

function take() {
  const most = Math.min(PER_REQUEST, state.limits.images);
  const part = [];
  let bytes = 0;
  while (part.length < most && state.queue.length && (!part.length || bytes + state.queue[0].file.size < state.limits.bytes * 0.9)) {
    bytes += state.queue[0].file.size;
    part.push(state.queue.shift());
  }
  return part;
}

async function work() {
  state.running += 1;
  while (state.queue.length) {
    const part = take();
    await send(part);
    part.forEach(draw);
    update();
  }
  state.running -= 1;
  update();
}

async function send(part) {
  const form = new FormData();
  part.forEach((item) => form.append("files", item.file, item.name));
  const query = new URLSearchParams({ model: element("which").value || state.models[0].name, heat_map: element("heat").checked, mask: false, top: 5 });
  for (let attempt = 0; ; attempt += 1) {
    try {
      const found = await ask(`api/predict?${query}`, { method: "POST", body: form });
      found.images.forEach((image, index) => {
        if (image.error) part[index].error = image.error;
        else part[index].result = image;
      });
      return;
    } catch (error) {
      if (error.status === 503 && attempt < 20) {
        await new Promise((resolve) => setTimeout(resolve, 500 * (attempt + 1)));
      } else if (part.length > 1 && error.status >= 400 && error.status < 500) {
        // Every file on its own, so that each says what is wrong with it.
        for (const item of part) await send([item]);
        return;
      } else {
        const line = error.status ? error.message : "the server cannot be reached";
        part.forEach((item) => { item.error = line.replace(`${item.name}: `, ""); });
        return;
      }
    }
  }
}

// ---- answers out

function counted(boxes) {
  const counts = new Map();
  for (const { label } of boxes) counts.set(label, (counts.get(label) || 0) + 1);
  return [...counts].map(([label, count]) => `${count} ${label}`);
}

function names(answer) {
  if (answer.detection) return counted(answer.detection.boxes);
  if (answer.anomaly) return [answer.anomaly.defective ? "defective" : "good"];
  if (answer.segmentation) return answer.segmentation.areas.map((area) => area.label);
  return answer.labels.map((share) => share.label);
}
const isDefective = (item) => Boolean(item.result) && item.result.answers.some((answer) => answer.anomaly && answer.anomaly.defective);
const isUnsure = (item) => Boolean(item.result) && item.result.answers.some((answer) => answer.unsure);
// Boxes, masks, defects and labels answer different questions: those of one kind are compared.
const kindOf = (answer) => ["detection", "anomaly", "segmentation"].find((kind) => answer[kind]) || "labels";
function saidByKind(item) {
  const kinds = new Map();
  for (const answer of item.result ? item.result.answers : []) kinds.set(kindOf(answer), [...(kinds.get(kindOf(answer)) || []), [...names(answer)].sort().join("\n")]);
  return [...kinds.values()];
}
const isCompared = (item) => saidByKind(item).some((said) => said.length > 1);
const differs = (item) => saidByKind(item).some((said) => new Set(said).size > 1);
const percent = (share) => (share >= 0.99995 || share < 0.00005 ? `${(100 * share).toFixed(1)}%` : `${(100 * share).toFixed(share < 0.01 ? 2 : 1)}%`);

function picture(url, caption) {
  const figure = make("figure");
  const image = make("img");
  image.alt = caption;
  image.src = url;
  // Browsers do not show every kind of image that the server reads.
  image.onerror = () => image.replaceWith(make("div", "none", "no preview"));
  figure.append(image);
  if (caption) figure.append(make("figcaption", "", caption));
  return figure;
}

function bar(share, text, note, className = "share") {
  const row = make("div", className);
  const track = make("div", "bar");
  const fill = make("i");
  fill.style.width = `${100 * share}%`;
  track.append(fill, make("em", "", text));
  row.append(track, make("span", "", note));
  return row;
}

function drawAreas(box, areas) {
  for (const area of areas.slice(0, 8)) {
    const row = bar(area.share, area.label, percent(area.share));
    // The color of the class in the picture.
    const mark = make("b", "color");
    mark.style.background = area.color;
    row.querySelector("em").prepend(mark);
    box.append(row);
  }
  if (areas.length > 8) box.append(make("div", "by", `and ${areas.length - 8} more`));
}

function drawVerdict(box, found) {
  const said = make("div", "said");
  said.append(make("span", `badge ${found.defective ? "bad" : "good"}`, found.defective ? "defective" : "good"));
  const count = found.defects.length;
  if (count) said.append(make("span", "by", `${count} place${count === 1 ? "" : "s"}`));
  const row = bar(found.score, `score, defective from ${found.threshold.toFixed(3)} on`, found.score.toFixed(3), found.defective ? "share named" : "share");
  const limit = make("s");
  limit.style.left = `${100 * Math.min(1, found.threshold)}%`;
  row.querySelector(".bar").append(limit);
  box.append(said, row);
}

function drawBoxes(box, found) {
  box.append(make("div", "said", found.length ? counted(found).join(", ") : "nothing found"));
  for (const each of found.slice(0, 8)) {
    const row = bar(each.score, each.label, each.score.toFixed(2));
    const mark = make("b", "color");
    mark.style.background = each.color;
    row.querySelector("em").prepend(mark);
    box.append(row);
  }
  if (found.length > 8) box.append(make("div", "by", `and ${found.length - 8} more`));
}

function drawAnswer(answer, compared) {
  const box = make("div", "answer");
  if (compared) box.append(make("div", "by", answer.model));
  if (answer.segmentation) drawAreas(box, answer.segmentation.areas);
  else if (answer.detection) drawBoxes(box, answer.detection.boxes);
  else if (answer.anomaly) drawVerdict(box, answer.anomaly);
  else drawLabels(box, answer);
  return box;
}

function drawLabels(box, answer) {
  const said = make("div", "said");
  if (answer.labels.length) said.append(names(answer).join(", "));
  else if (answer.unsure) said.append(make("span", "badge unsure", "unsure"), `${answer.top[0].label}?`);
  else said.append("none of its labels");
  box.append(said);
  const labels = new Set(answer.labels.map((share) => share.label));
  for (const share of answer.top) {
    box.append(bar(share.probability, share.label, percent(share.probability), labels.has(share.label) ? "share named" : "share"));
  }
}

function caption(answer, compared) {
  if (answer.segmentation || answer.detection || answer.anomaly) return compared ? answer.model : "";
  return compared ? `${answer.model}: ${answer.top[0].label}` : `looked at for ${answer.top[0].label}`;
}

function draw(item) {
  const { card, result } = item;
  card.replaceChildren();
  card.classList.toggle("failed", Boolean(item.error));
  const pictures = make("div", "pictures");
  const compared = Boolean(result) && result.answers.length > 1;
  // Boxes cover little of an image, which need not be shown twice.
  if (!result || compared || !result.answers[0].detection || !result.answers[0].heat_map) pictures.append(picture(item.url, ""));
  if (result) {
    for (const answer of result.answers) {
      if (answer.heat_map) pictures.append(picture(answer.heat_map, caption(answer, compared)));
    }
  }
  const body = make("div", "body");
  const line = make("div", "file");
  const name = make("b", "", item.name);
  name.title = item.name;
  line.append(name);
  if (result) line.append(make("span", "", `${result.width}\u00d7${result.height}`));
  body.append(line);
  if (item.error) body.append(make("p", "error", item.error));
  else if (!result) body.append(make("div", "said", "\u2026"));
  else {
    if (isCompared(item)) body.append(differs(item) ? make("span", "badge differ", "models differ") : make("span", "badge agree", "models agree"));
    const answers = make("div", "answers");
    answers.append(...result.answers.map((answer) => drawAnswer(answer, compared)));
    body.append(answers);
  }
  card.append(pictures, body);
}

function update() {
  const { items } = state;
  const done = items.filter((item) => item.result || item.error);
  const failed = items.filter((item) => item.error).length;
  const unsure = items.filter(isUnsure).length;
  const defective = items.filter(isDefective).length;
  const apart = items.filter(differs).length;
  const compares = items.some(isCompared);
  const words = [`${done.length - failed} image${done.length - failed === 1 ? "" : "s"}`];
  if (unsure) words.push(`${unsure} unsure`);
  if (state.models.some((model) => model.task === "anomaly")) words.push(`${defective} defective`);
  if (compares) words.push(`models differ on ${apart}`);
  if (failed) words.push(`${failed} not readable`);
  element("summary").textContent = items.length ? words.join(", ") : "";
  element("progress").hidden = done.length === items.length;
  element("progress").value = items.length ? done.length / items.length : 0;
  element("save").disabled = !done.length;
  element("clear").disabled = !items.length || state.running > 0;
  element("results").classList.toggle("compare", compares);
  const only = element("only").value;
  const shown = { all: () => true, unsure: isUnsure, defective: isDefective, differ: differs, error: (item) => Boolean(item.error) }[only];
  items.forEach((item) => { item.card.hidden = !shown(item); });
}

// Of masks the largest class with its share, of boxes the surest with its score, of defects the score.
function foremost(answer) {
  if (answer.segmentation) return [answer.segmentation.areas[0].label, answer.segmentation.areas[0].share];
  if (answer.detection) return answer.detection.boxes.length ? [answer.detection.boxes[0].label, answer.detection.boxes[0].score] : ["", ""];
  if (answer.anomaly) return ["", answer.anomaly.score];
  return [answer.top[0].label, answer.top[0].probability];
}

function save() {
  // A cell that begins like a formula would be one in a spreadsheet.
  const cell = (value) => {
    const text = String(value);
    return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  const rows = [["file", "model", "answer", "unsure", "most probable", "probability, share or score", "error"]];
  for (const item of state.items) {
    if (item.error) rows.push([item.name, "", "", "", "", "", item.error]);
    for (const answer of item.result ? item.result.answers : []) {
      rows.push([item.name, answer.model, names(answer).join(";"), answer.unsure, ...foremost(answer), ""]);
    }
  }
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n"], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
  URL.revokeObjectURL(link.href);
}

function clear() {
  state.items.forEach((item) => URL.revokeObjectURL(item.url));
  state.items = [];
  element("results").replaceChildren();
  update();
}

const drop = element("drop");
addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (state.limits) add(await filesOf(event.dataTransfer));
});
addEventListener("paste", (event) => { if (state.limits && event.clipboardData.files.length) add([...event.clipboardData.files]); });
drop.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); element("picker").click(); } });
element("picker").addEventListener("change", (event) => { add([...event.target.files]); event.target.value = ""; });
element("only").addEventListener("change", update);
element("save").addEventListener("click", save);
element("clear").addEventListener("click", clear);
element("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", element("token").value);
  begin();
});
element("openapi").addEventListener("click", async (event) => {
  if (!state.token) return;
  event.preventDefault();
  const text = JSON.stringify(await ask("openapi.json"), null, 1);
  location.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
});
begin();
