setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    const page = document.getElementById("page"), next = fresh.getElementById("page");
    // Whoever reads or tabs through the page keeps the place: only what differs is replaced.
    [...next.children].forEach((part, i) => {
      const old = page.children[i];
      if (!old) page.append(part);
      else if (!old.isEqualNode(part) && !old.contains(document.activeElement)) old.replaceWith(part);
    });
    while (page.children.length > next.children.length) page.lastElementChild.remove();
  } catch { document.title = "no answer · sidepulse"; }
}, 5000);
