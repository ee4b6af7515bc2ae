{
  const [files, filter, count] = ["files", "filter", "count"].map(id => document.getElementById(id));
  const heads = [...files.querySelectorAll("th")];
  // The server has sorted by name, so the order by name is the order in the page.
  const entries = Array.from(files.querySelectorAll("tbody:not(.up) tr"), (row, index) => ({
    row, index,
    isFolder: !row.title,
    size: Number(row.title.replace(/\D/g, "")),
    date: Date.parse(row.querySelector("time").dateTime),
  }));
  let shown = entries;
  if (matchMedia("(hover)").matches) filter.placeholder += " ( / )";
  const keys = [entry => entry.index, entry => entry.size, entry => entry.date];
  const plain = text => text.normalize().toLowerCase();
  const nameOf = entry => entry.name ??= plain(entry.row.querySelector("a").textContent);
  const number = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

  const show = () => {
    const wanted = plain(filter.value);
    shown = wanted ? entries.filter(entry => nameOf(entry).includes(wanted)) : entries;
    count.textContent = wanted ? `${shown.length.toLocaleString("en")} of ${number(entries.length, "name")}` : all;
    for (const group of files.querySelectorAll("tbody:not(.up)")) group.remove();
    for (let at = 0; at < shown.length; at += 256) {
      const group = document.createElement("tbody"), rows = shown.slice(at, at + 256).map(entry => entry.row);
      group.style.setProperty("--rows", rows.length);
      group.append(...rows);
      files.append(group);
    }
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button"), key = keys[column];
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      // By name from A, by size and by date from the largest; then the other way.
      const order = head.ariaSort ? head.ariaSort === "descending" : !column, way = order ? 1 : -1;
      for (const head of heads) head.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order ? "ascending" : "descending");
      entries.sort((a, b) => b.isFolder - a.isFolder || way * (key(a) - key(b)) || a.index - b.index);
      show();
    };
  });

  filter.oninput = show;
  document.onkeydown = event => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { key, target } = event, isFilter = target === filter;
    if (key === "/" && !isFilter) filter.focus();
    else if (key === "Escape" && filter.value) filter.value = "", show();
    else if (key === "Enter" && isFilter && filter.value) shown[0]?.row.querySelector("a").click();
    else return;
    event.preventDefault();
  };

  const folders = entries.filter(entry => entry.isFolder).length, others = entries.length - folders;
  const all = `${number(folders, "folder")}, ${number(others, "file")}`;
  count.textContent = all;
  count.hidden = filter.hidden = !entries.length;

  // Local times, a few thousand rows at a time. Swedish writes a date and a time as ISO 8601 does.
  const local = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "short" }), inPage = [...entries];
  const tell = from => {
    for (const { row, date } of inPage.slice(from, from + 3000)) row.querySelector("time").textContent = local.format(date);
    if (from + 3000 < inPage.length) setTimeout(tell, 0, from + 3000);
  };
  tell(0);
  files.querySelector("small").remove();
}
