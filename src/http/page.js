// Makes old like fresh and touches nothing else, so that focus, selection and the reader's place stay, and a live
// region speaks only when its words change.
function renew(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) return void (old.data = fresh.data);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const next = [...fresh.childNodes];
  next.forEach((part, i) => i < old.childNodes.length ? renew(old.childNodes[i], part) : old.append(part));
  while (old.childNodes.length > next.length) old.lastChild.remove();
}
// In a hidden tab too, where the browser asks less often by itself: its title and icon are what is seen of it.
async function look() {
  try {
    // Not location.href: a password in it would make fetch refuse.
    const answer = await fetch(location.origin + location.pathname, { cache: "no-store", signal: AbortSignal.timeout(4000) });
    if (!answer.ok) throw answer.status;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["title", "link", "main"]) renew(document.querySelector(part), fresh.querySelector(part));
  } catch {
    const lost = document.getElementById("lost");
    document.title = "no answer · sidepulse";
    document.querySelector("link").href = lost.dataset.icon;
    lost.hidden = false;
  }
}
setInterval(look, 5000);
document.addEventListener("visibilitychange", look);
