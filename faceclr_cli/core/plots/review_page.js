"use strict";
// Names come from file names, which may contain anything: only set them as textContent.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const { tasks, columns } = data;
  const answers = tasks.map((task) => task.answer);
  let place = Math.max(0, answers.indexOf(""));
  let unsaved = false;

  const KEYS = { yes: ["y", "1"], no: ["n", "2"], first: ["1", "f"], second: ["2", "s"], neither: ["0", "n"] };
  const LABELS = {
    yes: "Same person", no: "Different people", first: "First", second: "Second", neither: "Neither",
  };

  function make(tag, text) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function picture(source, name) {
    if (source === null) {
      const empty = make("span");
      empty.title = "The picture cannot be read";
      return empty;
    }
    const image = make("img");
    image.src = source;
    image.alt = name;
    return image;
  }

  function showSide(id, side) {
    const count = side.size === 1 ? "1 face" : `${side.size} faces`;
    element(id).querySelector("h2").textContent = `${side.name} · ${count}`;
    element(id).querySelector(".faces").replaceChildren(...side.pictures.map((each) => picture(each, side.name)));
  }

  function show() {
    element("save").disabled = !tasks.length;
    if (!tasks.length) {
      element("question").textContent = "There are no open questions";
      for (const id of ["back", "skip"]) element(id).disabled = true;
      document.querySelector("main").hidden = true;
      return;
    }
    const task = tasks[place];
    const answered = answers.filter((answer) => answer).length;
    element("progress").textContent = `Question ${place + 1} of ${tasks.length}, ${answered} answered` + (unsaved ? ", not saved" : "");
    element("bar").max = tasks.length;
    element("bar").value = answered;
    element("question").textContent = task.face === null ? "Are these the same person?" : "Which person is this?";
    showSide("first", task.sides[0]);
    showSide("second", task.sides[1]);
    element("middle").hidden = task.face === null;
    element("middle").querySelector(".faces").replaceChildren(...(task.face === null ? [] : [picture(task.face, "this face")]));
    element("answers").replaceChildren(...task.answers.map((answer) => {
      const button = make("button", LABELS[answer]);
      button.type = "button";
      button.id = `answer-${answer}`;
      button.setAttribute("aria-pressed", String(answers[place] === answer));
      button.append(make("kbd", KEYS[answer][0]));
      button.addEventListener("click", () => give(answer));
      return button;
    }));
    element("back").disabled = place === 0;
    element("skip").disabled = place === tasks.length - 1;
    const keys = task.answers.map((answer) => `${KEYS[answer][0]} ${LABELS[answer].toLowerCase()}`).join(", ");
    element("help").textContent = `Keys: ${keys}, → skip, ← back, d save. Put the saved ${data.file} into ${data.folder} and run faceclr cluster again.`;
  }

  function give(answer) {
    answers[place] = answers[place] === answer ? "" : answer;
    unsaved = true;
    if (answers[place] && place < tasks.length - 1) place += 1;
    show();
  }

  function go(step) {
    place = Math.min(tasks.length - 1, Math.max(0, place + step));
    show();
  }

  const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

  function save() {
    const rows = [columns, ...tasks.map((task, number) => [...task.cells, answers[number]])];
    const text = rows.map((row) => row.map(quoted).join(",") + "\n").join("");
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = data.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    show();
  }

  element("back").addEventListener("click", () => go(-1));
  element("skip").addEventListener("click", () => go(1));
  element("save").addEventListener("click", save);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!tasks.length) return;
    const key = event.key.toLowerCase();
    const answer = tasks[place].answers.find((each) => KEYS[each].includes(key));
    if (answer) give(answer);
    else if (key === "arrowright") go(1);
    else if (key === "arrowleft") go(-1);
    else if (key === "d") save();
    else return;
    event.preventDefault();
  });
  addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });
  show();
})();
